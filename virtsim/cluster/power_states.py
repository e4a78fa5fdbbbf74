"""Hosts that wake and go to sleep."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import numpy as np
import simpy
from simpy.events import Event

from virtsim.cluster.part import Part
from virtsim.cluster.plant import HostState

if TYPE_CHECKING:
    from virtsim.cluster.simulation import Simulation


class PowerStates(Part):
    """The hosts of a simulation as they wake for guests and stop without them."""

    def __init__(self, simulation: Simulation) -> None:
        super().__init__(simulation)
        self._woken: dict[int, Event] = {}
        # When the change that each host is in is done: it may fail, be repaired and begin another meanwhile.
        self._done_ns = [0] * len(self._hosts.names)

    def when_on(self, host: int) -> Generator[Event, Any, None]:
        """Wait until a host is on; wake it if nobody has."""
        while self._plant.state[host] != HostState.ON:
            state = self._plant.state[host]
            if state == HostState.FAILED:
                raise simpy.Interrupt("failed")
            if host not in self._woken:
                self._woken[host] = Event(self._env)
            if state in (HostState.ASLEEP, HostState.OFF):
                self.wake(host)
            yield self._woken[host]

    def wake(self, host: int) -> None:
        """Let a host that is asleep or off come up."""
        self._simulation.sync()
        delay = self._hosts.resume_ns if self._plant.state[host] == HostState.ASLEEP else self._hosts.boot_ns
        self._plant.set_state(host, HostState.WAKING)
        self._env.process(self._wake(host, int(delay[host])))

    def _wake(self, host: int, delay_ns: int) -> Generator[Event, Any, None]:
        self._counts["boots"] += 1
        self._counts["state_changes"] += 1
        if (yield from self._lasts(host, delay_ns, HostState.WAKING)):
            self._simulation.sync()
            self._plant.set_state(host, HostState.ON)
            self.tell(host)
            self.maybe_stop(host)

    def _lasts(self, host: int, delay_ns: int, state: int) -> Generator[Event, Any, bool]:
        """Wait until a change of state is done; whether it came to its end."""
        done_ns = self._done_ns[host] = self._env.now + delay_ns
        yield self._env.delay(delay_ns)
        return bool(self._plant.state[host] == state) and self._done_ns[host] == done_ns

    def tell(self, host: int) -> None:
        """Let those go on that wait for a host; they look at its state."""
        event = self._woken.pop(host, None)
        if event is not None:
            event.succeed()

    def maybe_stop(self, host: int) -> None:
        """Let a host without guests go to sleep, unless it is a spare one or told to stay on."""
        policy = self._scenario.policy
        if policy.idle_hosts == "on" or not self._is_idle(host):
            return
        if policy.spare:
            idle = sum(self._is_idle(h) for h in np.flatnonzero(self._plant.state == HostState.ON).tolist())
            if idle <= policy.spare:
                return
        self._simulation.sync()
        self._plant.set_state(host, HostState.STOPPING)
        self._env.process(self._stop(host))

    def _is_idle(self, host: int) -> bool:
        return (
            self._plant.state[host] == HostState.ON
            and not self._plant.on[host]
            and not self._simulation.moves.incoming[host]
        )

    def _stop(self, host: int) -> Generator[Event, Any, None]:
        asleep = self._scenario.policy.idle_hosts == "asleep"
        self._counts["shutdowns"] += 1
        self._counts["state_changes"] += 1
        delay = self._hosts.suspend_ns if asleep else self._hosts.shutdown_ns
        if (yield from self._lasts(host, int(delay[host]), HostState.STOPPING)):
            self._simulation.sync()
            self._plant.set_state(host, HostState.ASLEEP if asleep else HostState.OFF)
            # Whoever waits for the host wakes it again.
            self.tell(host)
