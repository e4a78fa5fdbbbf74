"""Replays what a kernel did and asks the fair queue at every wake-up what it would have done.

The kernel's own history (switches, wake-ups, ticks) is followed, so that one other decision does not lead
to other situations, as it does when two runs are compared. ``python -m tests.scheduling.decisions`` prints
a line for each recorded run; it needs the interpreted heart, whose queue can be called from outside.
"""

from __future__ import annotations

import gzip
import json
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from virtsim.scheduling.cpu import Cpu
from virtsim.scheduling.eevdf import EevdfQueue
from virtsim.scheduling.fair import Entity
from virtsim.scheduling.group import Group
from virtsim.scheduling.settings import Kernel
from virtsim.scheduling.weight import NICE_0_LOAD

RECORDED = Path(__file__).with_name("decisions.json.gz")
#: A woken task that runs within this time has preempted, ns.
AT_ONCE_NS = 200_000
TICK, WAKE, SWITCH = range(3)


class Decision(NamedTuple):
    """One wake-up: when, how long after a tick, and whether the queue and the kernel let it preempt."""

    time_ns: int
    after_tick_ns: int
    queue: bool
    kernel: bool


class Replay:
    """Two groups of equal weight on one CPU: a sleeper and a hog."""

    def __init__(self, recorded: dict[str, Any]) -> None:
        self.tick_ns, self.phase_ns = recorded["tick_ns"], recorded["phase_ns"]
        self.starts = [start for start, _, sleeper in recorded["slices"] if sleeper]
        self.slices, self.wakes = recorded["slices"], recorded["wakes"]
        group = Group("", None, 0, frozenset([0]), None)
        self.queue = EevdfQueue(Cpu(0), group, Kernel(self.tick_ns, recorded["base_slice_ns"]))
        self.sleeper, self.hog = (Entity(NICE_0_LOAD, recorded["base_slice_ns"]) for _ in range(2))
        self.accounted_ns = 0

    def decisions(self) -> Iterator[Decision]:
        """Follow the history to its end."""
        for time_ns, kind, sleeper in self._events():
            if kind == TICK:
                self._tick(time_ns)
            elif kind == SWITCH:
                self._switch(time_ns, self.sleeper if sleeper else self.hog)
            elif self._wakes(time_ns):
                kernel = self._runs_soon(time_ns)
                after = (time_ns - self.phase_ns) % self.tick_ns
                yield Decision(time_ns, after, self.queue.pick() is self.sleeper, kernel)

    def _events(self) -> list[tuple[int, int, bool]]:
        end_ns = self.slices[-1][1]
        ticks = [(time_ns, TICK, False) for time_ns in range(self.phase_ns, end_ns, self.tick_ns)]
        wakes = [(time_ns, WAKE, True) for time_ns in self.wakes]
        return sorted(ticks + wakes + [(start, SWITCH, bool(sleeper)) for start, _, sleeper in self.slices])

    def _account(self, time_ns: int) -> None:
        running = self.queue.current
        if running is not None:
            running.vruntime += running.virtual(time_ns - self.accounted_ns)
            self.queue.renew_deadline(running)
        self.accounted_ns = time_ns

    def _tick(self, time_ns: int) -> None:
        self._account(time_ns)
        sleeper, running = self.sleeper, self.queue.current
        if not sleeper.delayed or running is not self.hog or running.protected:
            return
        if self.queue.pick() is sleeper:
            self.queue.settle_delayed(sleeper)

    def _wakes(self, time_ns: int) -> bool:
        """The sleeper joins; tells whether there is somebody to preempt."""
        if self.sleeper.delayed:
            self.queue.rejoin_delayed(self.sleeper)
            self._account(time_ns)
        elif self.sleeper.on_queue:
            return False
        else:
            self._account(time_ns)
            self.queue.join(self.sleeper)
        return self.queue.current is not None

    def _switch(self, time_ns: int, comes: Entity) -> None:
        if not comes.on_queue:
            self.queue.join(comes, True)
        self._account(time_ns)
        goes = self.queue.current
        if goes is comes:
            return
        if goes is not None and not (goes is self.sleeper and self._sleeps(time_ns)):
            self.queue.current = None
            self.queue.insert(goes)
        elif goes is not None:
            self._falls_asleep(goes)
        self.queue.take(comes)

    def _falls_asleep(self, entity: Entity) -> None:
        if self.queue.eligible(entity):
            self.queue.leave(entity, asleep=True)
            self.queue.current = None
        else:
            entity.delayed = True
            self.queue.current = None
            self.queue.insert(entity)

    def _sleeps(self, time_ns: int) -> bool:
        """Whether the sleeper, whose slice ends now, is woken before it runs again."""
        runs, wakes = bisect_left(self.starts, time_ns + 1000), bisect_left(self.wakes, time_ns - 1000)
        if wakes == len(self.wakes):
            return True
        return runs == len(self.starts) or self.wakes[wakes] <= self.starts[runs]

    def _runs_soon(self, time_ns: int) -> bool:
        next_start = bisect_left(self.starts, time_ns)
        return next_start < len(self.starts) and self.starts[next_start] - time_ns < AT_ONCE_NS


def recorded_runs() -> list[dict[str, Any]]:
    """The observations: name, ticks, wake-ups of the sleeper, slices as (start, end, is the sleeper's), ns."""
    runs: list[dict[str, Any]] = json.loads(gzip.decompress(RECORDED.read_bytes()))["runs"]
    return runs


if __name__ == "__main__":
    for recorded in recorded_runs():
        made = list(Replay(recorded).decisions())
        agreed = sum(decision.queue == decision.kernel for decision in made)
        late = sum(not decision.kernel for decision in made)
        print(json.dumps({"name": recorded["name"], "decisions": len(made), "agreed": agreed, "late": late}))
