"""Watches who runs where on the CPUs of one kernel, for a timeline."""

from __future__ import annotations

from virtsim.results.run import Slice, TaskThrottle, Throttle, Wakeup
from virtsim.scheduling.group import Group
from virtsim.scheduling.heart import Heart
from virtsim.scheduling.task import BLOCKED, ENDED, Task

#: How a task has left its CPU, by its state; one that could go on is ``R``.
_LEFT = {BLOCKED: "S", ENDED: "X"}


class Watch:
    """Keeps every slice, wake-up and throttling of a heart, from now on.

    Attributes
    ----------
    slices, wakeups, throttles, task_throttles : list
        As in a :class:`~virtsim.results.run.Run`; in order once :meth:`close` has been called.
    """

    def __init__(self, heart: Heart) -> None:
        self.heart = heart
        self.slices: list[Slice] = []
        self.wakeups: list[Wakeup] = []
        self.throttles: list[Throttle] = []
        self.task_throttles: list[TaskThrottle] = []
        self._running: dict[int, tuple[int, Task]] = {}
        heart.on_switch = self._switch
        heart.on_wakeup = self._wakeup
        heart.on_throttle = self._throttle
        heart.on_task_throttle = self._throttle_task

    def close(self) -> None:
        """The run is over: what is under way ends now."""
        now_ns = self.heart.now_ns
        for cpu in sorted(self._running):
            self._end_slice(cpu, now_ns)
        for group in self.heart.groups:
            for queue in group.bandwidth.throttled if group.bandwidth is not None else ():
                if queue.throttled_at_ns >= 0:
                    self._throttle(queue.throttled_at_ns, now_ns, queue.cpu.number, group)
        for task in self.heart.tasks:
            if task.throttled_at_ns >= 0:
                self._throttle_task(task.throttled_at_ns, now_ns, task)
        for pieces in (self.slices, self.throttles, self.task_throttles):
            pieces.sort(key=lambda piece: (piece.start_ns, piece.cpu))

    def _switch(self, time_ns: int, cpu: int, previous: Task | None, chosen: Task | None) -> None:
        if previous is not None:
            self._end_slice(cpu, time_ns, _LEFT.get(previous.state, "R"))
        if chosen is not None:
            self._running[cpu] = (time_ns, chosen)

    def _end_slice(self, cpu: int, time_ns: int, state: str = "") -> None:
        since_ns, task = self._running.pop(cpu, (time_ns, None))
        if task is not None and time_ns > since_ns:
            self.slices.append(Slice(cpu, since_ns, time_ns, *names_of(task), state))

    def _wakeup(self, time_ns: int, cpu: int, task: Task) -> None:
        self.wakeups.append(Wakeup(time_ns, cpu, *names_of(task)))

    def _throttle(self, from_ns: int, to_ns: int, cpu: int, group: Group) -> None:
        self.throttles.append(Throttle(cpu, from_ns, to_ns, group.name))

    def _throttle_task(self, from_ns: int, to_ns: int, task: Task) -> None:
        if to_ns > from_ns:
            self.task_throttles.append(TaskThrottle(task.cpu, from_ns, to_ns, *names_of(task)))


def names_of(task: Task) -> tuple[str, str]:
    """Guest and process of a task."""
    guest, _, process = task.name.partition("/")
    return guest, process
