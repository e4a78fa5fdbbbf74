"""Hosts that fail and are repaired."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from simpy.events import Event

from virtsim.cluster.part import Part
from virtsim.cluster.plant import HostState
from virtsim.core.errors import SpecError


class HostFailures(Part):
    """The failures of a simulation, planned and drawn."""

    def start(self) -> None:
        """Let them happen when their time comes."""
        env = self._env
        for host, at_ns, repair_ns in self._planned():
            env.process(self._at(host, at_ns, repair_ns))
        if self._scenario.failures.mean_time_between:
            for host in range(len(self._hosts.names)):
                env.process(self._at_random(host))

    def _planned(self) -> list[tuple[int, int, int]]:
        numbers = {name: i for i, name in enumerate(self._hosts.names)}
        planned = []
        for i, (name, at, repair) in enumerate(self._scenario.failures.at):
            if name not in numbers:
                raise SpecError(
                    f"failures.at[{i}]", f"no host is called {name!r}; the first is {self._hosts.names[0]!r}"
                )
            planned.append((numbers[name], int(at), int(repair)))
        return planned

    def _at(self, host: int, at_ns: int, repair_ns: int) -> Generator[Event, Any, None]:
        yield self._env.delay(at_ns)
        yield from self._fail(host, repair_ns)

    def _at_random(self, host: int) -> Generator[Event, Any, None]:
        failures = self._scenario.failures
        random = self._simulation.streams.generator(f"hosts.{self._hosts.names[host]}", "failures")
        while True:
            yield self._env.delay(max(1, round(random.exponential(failures.mean_time_between))))
            yield from self._fail(host, max(1, round(random.exponential(failures.mean_repair))))

    def _fail(self, host: int, repair_ns: int) -> Generator[Event, Any, None]:
        if self._plant.state[host] == HostState.FAILED:
            return
        self._simulation.sync()
        self._counts["state_changes"] += 1
        for guest in [
            g for g, (source, target, _) in self._simulation.moves.moving.items() if host in (source, target)
        ]:
            if self._plant.host_of[guest] != host:
                here = self._plant.host_of[guest] == self._simulation.moves.moving[guest][1]
                if here:
                    # Post-copy: what is still at the source is lost with it.
                    self._simulation.lose(guest)
                else:
                    self._simulation.moves.give_up(guest)
        self._plant.set_state(host, HostState.FAILED)
        self._simulation.power_states.tell(host)
        for guest in list(self._plant.on[host]):
            self._simulation.lose(guest)
        yield self._env.delay(repair_ns)
        self._simulation.sync()
        self._plant.set_state(host, HostState.OFF)
        self._simulation.images.lose(host)
        if self._scenario.policy.idle_hosts == "on":
            self._simulation.power_states.wake(host)
        self._simulation.place_waiting()
