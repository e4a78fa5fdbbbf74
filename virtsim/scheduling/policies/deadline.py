"""Linux's SCHED_DEADLINE: earliest deadline first, each task kept to its bandwidth by a constant bandwidth server.

References
----------
L. Abeni, G. Buttazzo, "Integrating Multimedia Applications in Hard Real-Time Systems", RTSS 1998.
L. Abeni, G. Lipari, J. Lelli, "Constant bandwidth server revisited", SIGBED Review 11(4), 2015.
Linux ``kernel/sched/deadline.c``: ``update_dl_entity``, ``dl_check_constrained_dl``, ``update_dl_revised_wakeup``,
``replenish_dl_entity``; Documentation/scheduler/sched-deadline.rst.
"""

from __future__ import annotations

from dataclasses import dataclass

from virtsim.core.errors import ModelError
from virtsim.scheduling.cpu import Cpu
from virtsim.scheduling.policies.waiting import Waiting
from virtsim.scheduling.policy import POLICIES, Policy
from virtsim.scheduling.task import Task

#: Part of all CPUs that may be promised (``sched_rt_runtime_us`` over ``sched_rt_period_us``), in percent.
ADMITTED_PERCENT = 95


@dataclass
class Server:
    """A deadline task's reservation and its state.

    Attributes
    ----------
    runtime_ns, deadline_ns, period_ns : int, ns
        What it is promised: ``runtime`` before ``deadline`` in every ``period``.
    left_ns, until_ns : int, ns
        Runtime left, and the current absolute deadline.
    throttled : bool
        Whether it waits for its next period.
    """

    runtime_ns: int
    deadline_ns: int
    period_ns: int
    left_ns: int = 0
    until_ns: int = -(1 << 60)
    throttled: bool = False

    @property
    def next_period_ns(self) -> int:
        """When the period after that of the current deadline begins."""
        return self.until_ns - self.deadline_ns + self.period_ns


@POLICIES.register("deadline")
class Deadline(Policy):
    """Global EDF with constant bandwidth servers; ``policy_data`` is a :class:`Server`.

    Parameters
    ----------
    precise : bool
        Whether a timer ends a runtime that is used up (``HRTICK_DL``); otherwise the next tick does, and the
        overrun is paid back in the next period.
    """

    def __init__(self, precise: bool = False) -> None:
        super().__init__()
        self.precise = precise
        self.ticks = True
        self.waiting = Waiting()
        #: CPU time that deadline tasks have had, by CPU.
        self.taken_ns: list[int] = []

    def attach(self) -> None:
        """Their time is counted on each CPU."""
        self.taken_ns = [0] * len(self.heart.cpus)

    def admit(self, asking: list[tuple[Server, frozenset[int]]]) -> None:
        """Refuse what no schedule could keep, of reservations and the CPUs that each may use.

        The kernel counts by root domain: a set of CPUs to which tasks are confined is one here.

        Raises
        ------
        ModelError
            If runtimes over periods add up to more than 95 % of the CPUs.
        """
        everywhere = frozenset(range(len(self.heart.cpus)))
        for cpus in {*(cpus for _, cpus in asking), everywhere}:
            asked = sum(server.runtime_ns / server.period_ns for server, mine in asking if mine <= cpus)
            if asked * 100 > ADMITTED_PERCENT * len(cpus):
                those = ", ".join(map(str, sorted(cpus)))
                raise ModelError(
                    f"deadline tasks ask for {asked:.2f} of {len(cpus)} CPUs ({those}); runtimes over periods may add "
                    f"up to {ADMITTED_PERCENT} % of them, as the kernel demands"
                )

    def enqueue(self, task: Task, woken: bool) -> None:
        """By absolute deadline; a new one where the old cannot be kept within the bandwidth."""
        server: Server = task.policy_data
        now = self.heart.now_ns
        if woken and not server.throttled:
            self._renew(server, now)
        if server.left_ns <= 0 and not server.throttled:
            self._throttle(task, server, now)
        self.waiting.add(task, server.until_ns)

    def pick(self, cpu: Cpu) -> Task | None:
        """The earliest deadline of those that have runtime left."""
        return self.waiting.take(cpu, lambda task: not task.policy_data.throttled)

    def charge(self, task: Task, delta_ns: int) -> None:
        """Use the runtime: less of it at a lower frequency, at which less gets done."""
        self.taken_ns[task.cpu] += delta_ns
        governor = self.heart.governor
        task.policy_data.left_ns -= delta_ns if governor is None else governor.scaled_ns(task.cpu, delta_ns)

    def blocked(self, task: Task) -> None:
        """One that sleeps with its runtime used up pays an overrun back, too, when its next period begins."""
        server: Server = task.policy_data
        if server.left_ns <= 0 and not server.throttled:
            self._throttle(task, server, self.heart.now_ns)

    def preempts(self, woken: Task, running: Task) -> bool:
        """An earlier deadline does."""
        data: Server = woken.policy_data
        return not data.throttled and data.until_ns < running.policy_data.until_ns

    def tick(self, task: Task) -> bool:
        """Whether its runtime is used up."""
        return bool(task.policy_data.left_ns <= 0)

    def reserved(self, task: Task) -> int:
        """Its bandwidth."""
        server: Server = task.policy_data
        return server.runtime_ns * 1024 // server.period_ns

    def quantum_ns(self, task: Task) -> int:
        """The runtime, where a timer watches over it."""
        return int(task.policy_data.left_ns) if self.precise else 0

    def place(self, task: Task, waker_cpu: int) -> int:
        """An idle CPU, else the one whose task has the latest deadline, or none."""
        home = super().place(task, waker_cpu)
        cpus = self.heart.cpus
        if cpus[home].is_idle():
            return home
        return max(sorted(task.cpus), key=lambda number: self._until_ns(cpus[number]))

    def _until_ns(self, cpu: Cpu) -> int:
        running = cpu.current
        return int(running.policy_data.until_ns) if running is not None and running.policy is self else 1 << 62

    def _renew(self, server: Server, now_ns: int) -> None:
        """Give one that wakes a new deadline where going on with the old would take more than its bandwidth.

        One whose deadline comes before its period's end (constrained) has no claim to another runtime before that:
        it waits for its next period, or goes on with as much as its density leaves until the deadline that it has.
        """
        over = server.until_ns < now_ns
        constrained = server.deadline_ns < server.period_ns
        if over and constrained and now_ns < server.next_period_ns:
            server.left_ns = min(server.left_ns, 0)
        elif over or server.left_ns * server.deadline_ns > (server.until_ns - now_ns) * server.runtime_ns:
            if constrained and not over:
                server.left_ns = server.runtime_ns * (server.until_ns - now_ns) // server.deadline_ns
            else:
                server.until_ns = now_ns + server.deadline_ns
                server.left_ns = server.runtime_ns

    def _throttle(self, task: Task, server: Server, now_ns: int) -> None:
        server.throttled = True
        self.heart.call_at(max(server.next_period_ns, now_ns), lambda: self._replenish(task, server))

    def _replenish(self, task: Task, server: Server) -> None:
        """The next period begins; an overrun of more than a runtime takes further ones."""
        heart = self.heart
        server.throttled = False
        while server.left_ns <= 0:
            server.until_ns += server.period_ns
            server.left_ns += server.runtime_ns
        if server.until_ns < heart.now_ns:
            server.until_ns = heart.now_ns + server.deadline_ns
            server.left_ns = server.runtime_ns
        if task in list(self.waiting):
            self.waiting.remove(task)
            self.waiting.add(task, server.until_ns)
            cpu = heart.cpus[self.place(task, task.cpu)]
            heart.reschedule(cpu)
