"""Linux's SCHED_FIFO and SCHED_RR: fixed priorities above the fair class, which is not starved for ever.

Until 6.11 all real-time tasks of a CPU together could use 950 ms of each second, and stood still for the rest;
where the kernel has real-time group scheduling, each group has a part of that and stands still by itself, still.
Before 5.10, and wherever ``RT_RUNTIME_SHARE`` is on, a CPU that has used up its part takes some from each other CPU
that has some left, up to the whole period, and keeps it: a real-time task may then run for ever.
Otherwise, since 6.12, a server gives waiting fair tasks 50 ms in each second, and nothing is taken away.

References
----------
Linux ``kernel/sched/rt.c``: ``task_tick_rt``, ``sched_rt_runtime_exceeded``, ``do_sched_rt_period_timer`` (6.11),
``do_balance_runtime`` (4.19);
``kernel/sched/deadline.c``, 6.12 and later: ``dl_server_start`` and what it says about a server's states; sched(7).
"""

from __future__ import annotations

from dataclasses import dataclass

from virtsim.scheduling.cpu import Cpu
from virtsim.scheduling.policies.deadline import Deadline
from virtsim.scheduling.policies.waiting import Waiting
from virtsim.scheduling.policy import POLICIES, Policy
from virtsim.scheduling.task import Task

#: ``sched_rt_period_us``, and the fair class's part: what ``sched_rt_runtime_us`` leaves, or the server's runtime.
PERIOD_NS = 1_000_000_000
FAIR_NS = 50_000_000
#: ``RR_TIMESLICE``: whole ticks of it are counted.
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
    left_ticks : int
        Of its turn; kept by the policy. 0 for a whole one.
    """

    priority: int
    round_robin: bool = False
    left_ticks: int = 0


class _FairServer:
    """A reservation of 50 ms in each second for the fair class on one CPU (``fair_server``).

    It waits until there is just enough time left before its deadline (zero laxity): meanwhile what fair tasks get
    anyway counts, and a runtime that was got without it begins a new period. Once it had to step in it no longer
    waits, but serves at the begin of each period, until fair tasks have run without it again.
    """

    def __init__(self) -> None:
        self.active = False
        #: Whether it waits for zero laxity, or until it may serve again.
        self.throttled = False
        #: Whether it had to step in: then it does not wait for zero laxity.
        self.stepped_in = False
        self.left_ns = 0
        self.deadline_ns = -1
        #: What fair tasks had had when it was looked at last, and when it is looked at next.
        self.seen_ns = 0
        self.due_ns = -1

    def consume(self, used_ns: int, now_ns: int, tick_ns: int) -> None:
        """Fair tasks have run; by itself the server is stopped at the tick after its runtime is used up."""
        self.left_ns -= used_ns
        if self.left_ns > 0:
            return
        if self.throttled or self.left_ns <= -tick_ns:
            over_ns = -self.left_ns % FAIR_NS
            self.stepped_in = False
            self.deadline_ns, self.left_ns = now_ns - over_ns + PERIOD_NS, FAIR_NS - over_ns
        self.throttled = True

    def start(self, now_ns: int) -> None:
        """Fair tasks are there again: with what is left if that does not take more than its bandwidth."""
        self.active = True
        left_until_ns = self.deadline_ns - now_ns
        if left_until_ns < 0 or self.left_ns * PERIOD_NS > left_until_ns * FAIR_NS:
            self.deadline_ns, self.left_ns = now_ns + PERIOD_NS, FAIR_NS
        self.throttled = not self.stepped_in or self.left_ns <= 0

    def advance(self, now_ns: int) -> None:
        """What its timer does: it steps in at zero laxity, or is given its next runtime."""
        if not self.throttled or now_ns < self.timer_ns:
            return
        self.throttled, self.stepped_in = False, True
        while self.left_ns <= 0:
            self.deadline_ns += PERIOD_NS
            self.left_ns += FAIR_NS
        if self.deadline_ns < now_ns:
            self.deadline_ns, self.left_ns = now_ns + PERIOD_NS, FAIR_NS

    @property
    def timer_ns(self) -> int:
        """When it steps in, or is given its next runtime, while it waits."""
        return self.deadline_ns if self.stepped_in else self.deadline_ns - self.left_ns


class _Ration:
    """What the real-time tasks of a group, or all, have used on one CPU, periods' runtimes taken off.

    Attributes
    ----------
    runtime_ns : int, ns
        What they may use in each period.
    used_ns : int, ns
        What is over the runtime at a period's end is taken into the next.
    throttled : bool
        Whether they have to wait for that.
    waits_for : int
        The period whose end is waited for, by how many were over before.
    """

    def __init__(self, runtime_ns: int) -> None:
        self.runtime_ns = runtime_ns
        self.used_ns = 0
        self.throttled = False
        self.waits_for = -1

    def borrow(self, everywhere: list[_Ration]) -> None:
        """Take its part, one by the number of CPUs, of what each of the others has left, up to a whole period."""
        for other in everywhere:
            left_ns = other.runtime_ns - other.used_ns
            if other is not self and left_ns > 0:
                part_ns = min(left_ns // len(everywhere), PERIOD_NS - self.runtime_ns)
                other.runtime_ns -= part_ns
                self.runtime_ns += part_ns

    def check(self, everywhere: list[_Ration], shares: bool) -> None:
        """Throttle if more has been used than there is; what is there for a whole period is never too little."""
        if self.throttled or self.runtime_ns >= PERIOD_NS:
            return
        if shares and self.used_ns > self.runtime_ns:
            self.borrow(everywhere)
        self.throttled = self.used_ns > self.runtime_ns

    def renew(self, everywhere: list[_Ration], shares: bool) -> None:
        """A period is over."""
        if shares and self.throttled and self.used_ns > self.runtime_ns:
            self.borrow(everywhere)
        self.used_ns = max(self.used_ns - self.runtime_ns, 0)
        if self.used_ns < self.runtime_ns:
            self.throttled = False


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
        self.servers: list[_FairServer] = []
        #: By group, if the time is divided among groups, and CPU.
        self.rations: dict[str, list[_Ration]] = {}
        #: CPU time that real-time tasks have had, by CPU, and how many are runnable.
        self.taken_ns: list[int] = []
        self.runnable = 0
        #: Since when periods have been counted, and how many of them are over.
        self.periods_from_ns = 0
        self.periods = 0
        self.shares = False
        self.slice_ticks = 1
        self._turn_over: Task | None = None

    def attach(self) -> None:
        """The fair class is served on each CPU."""
        self.servers = [_FairServer() for _ in self.heart.cpus]
        self.taken_ns = [0] * len(self.heart.cpus)
        self.slice_ticks = max(SLICE_NS // self.heart.tick_ns, 1)
        self.shares = self.heart.kernel.has("RT_RUNTIME_SHARE")

    def enqueue(self, task: Task, woken: bool) -> None:
        """Behind its equals if it wakes or its turn is over, before them if it was preempted."""
        data: Priority = task.policy_data
        over = self._turn_over is task
        if over:
            self._turn_over = None
        if woken:
            if self.runnable == 0 and not self.fair_server:
                self._begin_periods()
            self.runnable += 1
        self.waiting.add(task, -data.priority, first=not (woken or over))

    def pick(self, cpu: Cpu) -> Task | None:
        """The highest priority that may run here, unless it is the fair class's time."""
        if self.waiting.first_key(cpu) is None:
            return None
        if self.fair_server:
            return None if self._serves(cpu) else self.waiting.take(cpu)
        return self.waiting.take(cpu, lambda task: not self._is_used_up(cpu, task))

    def charge(self, task: Task, delta_ns: int) -> None:
        """It is counted on the CPU, and against the ration."""
        self.taken_ns[task.cpu] += delta_ns
        if not self.fair_server:
            self._rations(task)[task.cpu].used_ns += delta_ns

    def blocked(self, task: Task) -> None:
        """One less that could run."""
        self.runnable -= 1

    def preempts(self, woken: Task, running: Task) -> bool:
        """Only a higher priority does."""
        return bool(woken.policy_data.priority > running.policy_data.priority)

    def tick(self, task: Task) -> bool:
        """Whether its turn is over and an equal waits, or the fair class's time has come.

        Turns are counted in the ticks that a task meets while it runs, however long it has run before one.
        """
        data: Priority = task.policy_data
        cpu = self.heart.cpus[task.cpu]
        if data.round_robin:
            data.left_ticks = (data.left_ticks or self.slice_ticks) - 1
            if data.left_ticks == 0 and self.waiting.first_key(cpu) == -data.priority:
                self._turn_over = task
                return True
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
        """Whether it is the fair class's turn, which has been kept waiting for too long."""
        server = self.servers[cpu.number]
        now = self.heart.now_ns
        had_ns = self._fair_ns(cpu)
        used_ns, server.seen_ns = max(had_ns - server.seen_ns, 0), had_ns
        if server.active and used_ns:
            server.consume(used_ns, now, self.heart.tick_ns)
        if cpu.root.queued == 0:
            server.active = False
            return False
        if not server.active:
            server.start(now)
        server.advance(now)
        self._look_again(cpu, server, now)
        return not server.throttled

    def _fair_ns(self, cpu: Cpu) -> int:
        """What fair tasks have had of a CPU up to now."""
        heart = self.heart
        idle_ns = cpu.idle_ns + (heart.now_ns - cpu.idle_since_ns if cpu.current is None else 0)
        taken_ns = sum(policy.taken_ns[cpu.number] for policy in heart.policies if isinstance(policy, _COUNTING))
        return heart.now_ns - idle_ns - cpu.stolen_ns - taken_ns

    def _look_again(self, cpu: Cpu, server: _FairServer, now_ns: int) -> None:
        """Have the CPU decide anew when the server's timer is due, or at the tick at which its runtime is used up."""
        if server.throttled:
            due_ns = server.timer_ns
        else:
            tick_ns = self.heart.tick_ns
            due_ns = now_ns + server.left_ns
            due_ns += -(due_ns - self.heart.tick_phase_ns) % tick_ns
        if due_ns > now_ns and not now_ns < server.due_ns <= due_ns:
            server.due_ns = due_ns
            self._decide_again(cpu, due_ns - now_ns)

    def _is_used_up(self, cpu: Cpu, task: Task) -> bool:
        """Whether the task's group, or all tasks, have used their part of this period."""
        everywhere = self._rations(task)
        ration = everywhere[cpu.number]
        ration.check(everywhere, self.shares)
        if ration.throttled and ration.waits_for != self.periods:
            ration.waits_for = self.periods
            ends_ns = self.periods_from_ns + (self.periods + 1) * PERIOD_NS
            self._decide_again(cpu, ends_ns - self.heart.now_ns)
        return ration.throttled

    def _rations(self, task: Task) -> list[_Ration]:
        """Those of a task's group on all CPUs, brought up to the present period."""
        self._renew()
        group = task.group.name if self.groups else ""
        if group not in self.rations:
            runtime_ns = (PERIOD_NS - FAIR_NS) // max(self.groups, 1)
            self.rations[group] = [_Ration(runtime_ns) for _ in self.heart.cpus]
        return self.rations[group]

    def _renew(self) -> None:
        """What a timer does at each period's end, CPU by CPU; periods in which there was nothing to do are skipped."""
        periods = (self.heart.now_ns - self.periods_from_ns) // PERIOD_NS
        while self.periods < periods:
            self.periods = self.periods + 1 if self._is_used() else periods
            for everywhere in self.rations.values():
                for ration in everywhere:
                    ration.renew(everywhere, self.shares)

    def _is_used(self) -> bool:
        return any(ration.used_ns for everywhere in self.rations.values() for ration in everywhere)

    def _begin_periods(self) -> None:
        """The first real-time task for a while: unless the present period is one of earlier ones, it begins one."""
        self._renew()
        if not self._is_used():
            self.periods_from_ns, self.periods = self.heart.now_ns, 0
            for everywhere in self.rations.values():
                for ration in everywhere:
                    ration.waits_for = -1

    def _decide_again(self, cpu: Cpu, delay_ns: int) -> None:
        heart = self.heart
        heart.call_at(heart.now_ns + delay_ns, lambda: heart.reschedule(cpu))


#: Policies above the fair class that count what they take of each CPU.
_COUNTING = (RealTime, Deadline)
