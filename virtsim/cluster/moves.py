"""Migrations under way: their turns, what they load, and what becomes of guests."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import numpy as np
import simpy
from simpy.events import Event

from virtsim.cluster.migration import steps
from virtsim.cluster.part import Part
from virtsim.cluster.turns import Turns
from virtsim.core.errors import ModelError
from virtsim.core.units import NS_PER_S

if TYPE_CHECKING:
    from virtsim.cluster.simulation import Simulation


class Moves(Part):
    """The migrations of a simulation.

    Attributes
    ----------
    moving : dict
        Source, target and process by guest under way.
    incoming : list of dict
        Guests that are on their way to each host.
    moved_at : ndarray, ns
        When each guest was moved last.
    """

    def __init__(self, simulation: Simulation) -> None:
        super().__init__(simulation)
        self._links = simulation.links
        self._topology = simulation.topology
        self._storage = simulation.storage
        self._sums = simulation.sums
        self._capacity = simulation.capacity
        hosts = len(simulation.hosts.names)
        self._turns = Turns(hosts, simulation.scenario.concurrent_migrations)
        self.moving: dict[int, tuple[int, int, simpy.Process]] = {}
        self.incoming: list[dict[int, None]] = [{} for _ in range(hosts)]
        self.moved_at = np.full(len(simulation.guests.names), -(1 << 62), dtype=np.int64)

    def start(self, guest: int, target: int) -> None:
        """Move a guest that runs."""
        source = int(self._plant.host_of[guest])
        self._counts["migrations"] += 1
        self.incoming[target][guest] = None
        self.moved_at[guest] = self._env.now
        process = self._env.process(self._migrate(guest, source, target))
        self.moving[guest] = (source, target, process)

    def _migrate(self, guest: int, source: int, target: int) -> Generator[Event, Any, None]:
        names = self._hosts.names
        way = (
            f"{names[source]}:migrations",
            *self._topology.way(names[source], names[target]),
            f"{names[target]}:migrations",
        )
        began, transfer, copying, turn = self._env.now, None, False, Event(self._env)
        try:
            yield from self._simulation.power_states.when_on(target)
            self._turns.take(source, target, turn)
            yield turn
            expected = float(min(self._capacity[link] for link in way))
            moving = steps(
                self._scenario.migration,
                int(self._guests.own_memory[guest]),
                self._guests.dirtying[guest],
                expected,
            )
            ask = next(moving)
            began, copying = self._env.now, True
            self._load_hosts(source, target, 1)
            while True:
                self._simulation.sync()
                self._plant.touch(int(self._plant.host_of[guest]))
                if ask.running_at == "target" and self._plant.host_of[guest] == source:
                    self._hand_over(guest, target)
                self._plant.paused[guest] = ask.paused
                self._plant.copying[guest] = not ask.paused
                start = self._env.now
                transfer = self._links.transfer(ask.size_bytes, way)
                yield transfer
                transfer = None
                self._sums["migrated_bytes"] += ask.size_bytes
                seconds = (self._env.now - start) / NS_PER_S
                if ask.fixed_ns:
                    yield self._env.delay(ask.fixed_ns)
                if ask.paused:
                    self._sums["migration_downtime_s"] += (self._env.now - start) / NS_PER_S
                if ask.lost_s:
                    self._plant.work_migrating[guest] += ask.lost_s * self._plant.use[guest] * self._guests.limit[guest]
                ask = moving.send(seconds)
        except StopIteration:
            pass
        except simpy.Interrupt:
            if transfer is not None and transfer.due_ns is not None:
                self._links.withdraw(transfer)
            self._turns.end(source, target, turn)
            self._end_move(guest, source, target, copying)
            return
        self._simulation.sync()
        if self._plant.host_of[guest] == source:
            self._hand_over(guest, target)
        self._sums["migration_s"] += (self._env.now - began) / NS_PER_S
        self._turns.end(source, target, turn)
        self._end_move(guest, source, target, copying)
        self._simulation.power_states.maybe_stop(source)

    def _hand_over(self, guest: int, target: int) -> None:
        self._storage.stop(guest)
        self._plant.detach(guest)
        self._plant.attach(guest, target)
        if self._plant.running[guest]:
            self._storage.go_on(guest, target)

    def _load_hosts(self, source: int, target: int, sign: int) -> None:
        for host in (source, target):
            self._plant.touch(host)
            self._plant.migration_mips[host] += sign * self._scenario.migration_cores * self._hosts.core_mips[host]

    def _end_move(self, guest: int, source: int, target: int, copying: bool) -> None:
        self._simulation.sync()
        if copying:
            self._load_hosts(source, target, -1)
            # Sums of floats do not come back to exactly nothing.
            for host in (source, target):
                if self._plant.migration_mips[host] < 1e-6:
                    self._plant.migration_mips[host] = 0.0
        host = int(self._plant.host_of[guest])
        if host >= 0:
            self._plant.touch(host)
        self._plant.paused[guest] = self._plant.copying[guest] = False
        self.incoming[target].pop(guest, None)
        self.moving.pop(guest, None)

    def give_up(self, guest: int) -> None:
        """End a migration; the guest stays where it is."""
        _, target, process = self.moving[guest]
        self._counts["failed_migrations"] += 1
        if not process.is_alive:
            raise ModelError(f"the migration of guest {self._guests.names[guest]!r} has ended already")
        process.interrupt("given up")
        self.incoming[target].pop(guest, None)
        self.moving.pop(guest)
