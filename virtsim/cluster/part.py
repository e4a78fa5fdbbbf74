"""What the parts of a simulation, each in a file of its own, have of it at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from virtsim.cluster.simulation import Simulation


class Part:
    """A part of a simulation, with its clock, its scenario and its state."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._env = simulation.env
        self._scenario = simulation.scenario
        self._hosts = simulation.hosts
        self._guests = simulation.guests
        self._plant = simulation.plant
        self._counts = simulation.counts
