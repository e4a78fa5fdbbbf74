"""Linux's SCHED_FIFO and SCHED_RR: fixed priorities above the fair class, which is not starved for ever.

Until 6.11 all real-time tasks of a CPU together could use 950 ms of each second, and stood still for the rest;
where the kernel has real-time group scheduling, each group has a part of that and stands still by itself, still.
Otherwise, since 6.12, a server gives waiting fair tasks 50 ms in each second, and nothing is taken away.

References
----------
Linux ``kernel/sched/rt.c`` (``sched_rt_runtime``), ``kernel/sched/deadline.c`` (``fair_server``), sched(7).
"""

from __future__ import annotations

from dataclasses import dataclass

from virtsim.scheduling.cpu import Cpu
from virtsim.scheduling.policies.waiting import Waiting
from virtsim.scheduling.policy import POLICIES, Policy
from virtsim.scheduling.task import Task

#: ``sched_rt_period_us``, and the fair class's part: what ``sched_rt_runtime_us`` leaves, or the server's runtime.
PERIOD_NS = 1_000_000_000
FAIR_NS = 50_000_000
#: ``RR_TIMESLICE``.
SLICE_NS = 100_000_000


@dataclass
class Priority:
    """A real-time task's part.

    Attributes
    ----------
    priority : int
        1 to 99; higher runs first.
    round_robin : bool
        Whether it takes turns with others of its priority (SCHED_RR).
    left_ns : int, ns
        Of its turn; kept by the policy.
    """

    priority: int
    round_robin: bool = False
    left_ns: int = SLICE_NS


class _Service:
    """How long real-time tasks have kept the fair class waiting on one CPU, and until when it is served."""

    def __init__(self) -> None:
        self.starved_since_ns = -1
        self.serving_until_ns = -1


class _Ration:
    """What the real-time tasks of a group, or all, have used of the period on one CPU."""

    def __init__(self) -> None:
        self.used_ns = 0
        self.period_ends_ns = 0


@POLICIES.register("realtime")
class RealTime(Policy):
    """Real-time tasks on all CPUs together, as pushing and pulling makes them; ``policy_data`` is a :class:`Priority`.

    Parameters
    ----------
    fair_server : bool
        Whether waiting fair tasks are served, or real-time tasks throttled.
    groups : int
        With throttling, how many groups have equal parts of the time; 0: all tasks together have all of it.
    """

    def __init__(self, fair_server: bool = True, groups: int = 0) -> None:
        super().__init__()
        self.fair_server = fair_server
        self.groups = groups
        self.ticks = True
        self.urgent = True
        self.waiting = Waiting()
        self.services: list[_Service] = []
        self.rations: dict[tuple[int, str], _Ration] = {}

    def attach(self) -> None:
        """The fair class is served on each CPU."""
        self.services = [_Service() for _ in self.heart.cpus]

    def enqueue(self, task: Task, woken: bool) -> None:
        """Behind its equals if it wakes or its turn is over, before them if it was preempted."""
        data: Priority = task.policy_data
        over = data.round_robin and data.left_ns <= 0
        if over:
            data.left_ns = SLICE_NS
        self.waiting.add(task, -data.priority, first=not (woken or over))

    def pick(self, cpu: Cpu) -> Task | None:
        """The highest priority that may run here, unless it is the fair class's time."""
        if self.waiting.first_key(cpu) is None:
            return None
        if self.fair_server:
            return None if self._serves(cpu) else self.waiting.take(cpu)
        return self.waiting.take(cpu, lambda task: not self._is_used_up(cpu, task))

    def charge(self, task: Task, delta_ns: int) -> None:
        """Turns are counted in all the time a task runs."""
        task.policy_data.left_ns -= delta_ns
        if not self.fair_server:
            self._ration(self.heart.cpus[task.cpu], task).used_ns += delta_ns

    def blocked(self, task: Task) -> None:
        """The fair class is not starved any more."""
        self.services[task.cpu].starved_since_ns = -1

    def preempts(self, woken: Task, running: Task) -> bool:
        """Only a higher priority does."""
        return bool(woken.policy_data.priority > running.policy_data.priority)

    def tick(self, task: Task) -> bool:
        """Whether its turn is over and an equal waits, or the fair class's time has come."""
        data: Priority = task.policy_data
        cpu = self.heart.cpus[task.cpu]
        if data.round_robin and data.left_ns <= 0:
            if self.waiting.first_key(cpu) == -data.priority:
                return True
            data.left_ns = SLICE_NS
        return self._serves(cpu) if self.fair_server else self._is_used_up(cpu, task)

    def place(self, task: Task, waker_cpu: int) -> int:
        """An idle CPU, else its own if it may preempt there, else that of the least important task."""
        home = super().place(task, waker_cpu)
        cpus = self.heart.cpus
        if self._importance(cpus[home]) < task.policy_data.priority:
            return home
        return min(sorted(task.cpus), key=lambda number: self._importance(cpus[number]))

    def _importance(self, cpu: Cpu) -> int:
        """Priority of what runs: 0 for the fair class, -1 for nothing."""
        running = cpu.current
        if running is None:
            return -1
        return int(running.policy_data.priority) if running.policy is self else 0

    def _serves(self, cpu: Cpu) -> bool:
        """Whether the fair class has been kept waiting for too long, and is served now."""
        service = self.services[cpu.number]
        now = self.heart.now_ns
        if now < service.serving_until_ns:
            return cpu.root.queued > 0
        if cpu.root.queued == 0:
            service.starved_since_ns = -1
            return False
        if service.starved_since_ns < 0 or service.starved_since_ns < service.serving_until_ns:
            service.starved_since_ns = now
            self._decide_again(cpu, PERIOD_NS - FAIR_NS)
        if now - service.starved_since_ns < PERIOD_NS - FAIR_NS:
            return False
        service.serving_until_ns = now + FAIR_NS
        self._decide_again(cpu, FAIR_NS)
        return True

    def _is_used_up(self, cpu: Cpu, task: Task) -> bool:
        """Whether the task's group, or all tasks, have used their part of this period."""
        ration = self._ration(cpu, task)
        if ration.used_ns < (PERIOD_NS - FAIR_NS) // max(self.groups, 1):
            return False
        self._decide_again(cpu, ration.period_ends_ns - self.heart.now_ns)
        return True

    def _ration(self, cpu: Cpu, task: Task) -> _Ration:
        key = (cpu.number, task.group.name if self.groups else "")
        ration = self.rations.get(key)
        if ration is None:
            ration = self.rations[key] = _Ration()
        now = self.heart.now_ns
        if now >= ration.period_ends_ns:
            ration.period_ends_ns = now - now % PERIOD_NS + PERIOD_NS
            ration.used_ns = 0
        return ration

    def _decide_again(self, cpu: Cpu, delay_ns: int) -> None:
        heart = self.heart
        heart.call_at(heart.now_ns + delay_ns, lambda: heart.reschedule(cpu))
