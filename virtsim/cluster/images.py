"""Images that hosts pull from the store before they can start a guest."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import simpy
from simpy.events import Event

from virtsim.cluster.network import STORE
from virtsim.cluster.part import Part
from virtsim.engine.links import Transfer

if TYPE_CHECKING:
    from virtsim.cluster.simulation import Simulation


@dataclass
class _Pull:
    """An image on its way, and how many guests wait for it."""

    transfer: Transfer
    waiting: int = 0


class Images(Part):
    """Which images are on which hosts, and the pulls under way.

    A host pulls an image once: guests of one image that start together wait for the same pull. It is broken off when
    nobody waits for it any more.
    """

    def __init__(self, simulation: Simulation) -> None:
        super().__init__(simulation)
        self._there: set[tuple[int, str]] = set()
        self._pulls: dict[tuple[int, str], _Pull] = {}

    def keep(self, guest: int, host: int) -> None:
        """A guest's image is on a host already."""
        self._there.add((host, self._guests.image[guest][0]))

    def lose(self, host: int) -> None:
        """A host comes back without its images."""
        self._there = {entry for entry in self._there if entry[0] != host}

    def when_there(self, guest: int, host: int) -> Generator[Event, Any, None]:
        """Wait until a guest's image is on a host; pull it if nobody has."""
        name, size = self._guests.image[guest]
        key = (host, name)
        if not size or key in self._there:
            return
        if key not in self._pulls:
            way = self._simulation.topology.way(STORE, self._hosts.names[host])
            self._pulls[key] = _Pull(self._simulation.links.transfer(size, way))
        pull = self._pulls[key]
        pull.waiting += 1
        try:
            yield pull.transfer
        except simpy.Interrupt:
            pull.waiting -= 1
            if not pull.waiting:
                self._break_off(key, pull.transfer)
            raise
        if self._pulls.pop(key, None):
            self._there.add(key)
            self._simulation.sums["images_pulled_bytes"] += size

    def _break_off(self, key: tuple[int, str], transfer: Transfer) -> None:
        if self._pulls.pop(key, None) is not None and transfer.due_ns is not None:
            self._simulation.links.withdraw(transfer)
