"""Linux's SCHED_FIFO and SCHED_RR: fixed priorities above the fair class, which is not starved for ever.

Until 6.11 all real-time tasks of a CPU together could use 950 ms of each second, and stood still for the rest.
Since 6.12 a server gives waiting fair tasks 50 ms in each second, and otherwise nothing is taken away.

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


class _Ration:
    """What real-time tasks have left the fair class on one CPU."""

    def __init__(self) -> None:
        self.starved_since_ns = -1
        self.serving_until_ns = -1
        self.used_ns = 0
        self.period_ends_ns = 0


@POLICIES.register("realtime")
class RealTime(Policy):
    """Real-time tasks on all CPUs together, as pushing and pulling makes them; ``policy_data`` is a :class:`Priority`.

    Parameters
    ----------
    fair_server : bool
        Whether waiting fair tasks are served (since 6.12), or real-time tasks throttled (before).
    """

    def __init__(self, fair_server: bool = True) -> None:
        super().__init__()
        self.fair_server = fair_server
        self.ticks = True
        self.waiting = Waiting()
        self.rations: list[_Ration] = []

    def attach(self) -> None:
        """A ration for each CPU."""
        self.rations = [_Ration() for _ in self.heart.cpus]

    def enqueue(self, task: Task, woken: bool) -> None:
        """Behind its equals if it wakes or its turn is over, before them if it was preempted."""
        data: Priority = task.policy_data
        over = data.round_robin and data.left_ns <= 0
        if over:
            data.left_ns = SLICE_NS
        self.waiting.add(task, -data.priority, first=not (woken or over))

    def pick(self, cpu: Cpu) -> Task | None:
        """The highest priority that may run here, unless it is the fair class's time."""
        if self.waiting.first_key(cpu) is None or self._stands_back(cpu):
            return None
        return self.waiting.take(cpu)

    def charge(self, task: Task, delta_ns: int) -> None:
        """Turns are counted in all the time a task runs."""
        task.policy_data.left_ns -= delta_ns
        self.rations[task.cpu].used_ns += delta_ns

    def blocked(self, task: Task) -> None:
        """The fair class is not starved any more."""
        self.rations[task.cpu].starved_since_ns = -1

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
        return self._stands_back(cpu)

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

    def _stands_back(self, cpu: Cpu) -> bool:
        """Whether real-time tasks leave the CPU alone now."""
        ration = self.rations[cpu.number]
        return self._serves(cpu, ration) if self.fair_server else self._throttles(cpu, ration)

    def _serves(self, cpu: Cpu, ration: _Ration) -> bool:
        now = self.heart.now_ns
        if now < ration.serving_until_ns:
            return cpu.root.queued > 0
        if cpu.root.queued == 0:
            ration.starved_since_ns = -1
            return False
        if ration.starved_since_ns < 0 or ration.starved_since_ns < ration.serving_until_ns:
            ration.starved_since_ns = now
            self._decide_again(cpu, PERIOD_NS - FAIR_NS)
        if now - ration.starved_since_ns < PERIOD_NS - FAIR_NS:
            return False
        ration.serving_until_ns = now + FAIR_NS
        self._decide_again(cpu, FAIR_NS)
        return True

    def _throttles(self, cpu: Cpu, ration: _Ration) -> bool:
        now = self.heart.now_ns
        if now >= ration.period_ends_ns:
            ration.period_ends_ns = now - now % PERIOD_NS + PERIOD_NS
            ration.used_ns = 0
        if ration.used_ns < PERIOD_NS - FAIR_NS:
            return False
        self._decide_again(cpu, ration.period_ends_ns - now)
        return True

    def _decide_again(self, cpu: Cpu, delay_ns: int) -> None:
        heart = self.heart
        heart.call_at(heart.now_ns + delay_ns, lambda: heart.reschedule(cpu))
