"""Xen's second credit scheduler: the most credit runs, and all get new credit when the best has none left.

References
----------
Xen 4.x, ``xen/common/sched/credit2.c``: ``burn_credits``, ``reset_credit``, ``runq_candidate``, ``csched2_runtime``.
"""

from __future__ import annotations

from dataclasses import dataclass

from virtsim.scheduling.cpu import Cpu
from virtsim.scheduling.policy import POLICIES, Policy
from virtsim.scheduling.task import Task

#: Credit at each reset, which is also the longest slice; the shortest slice; the rate limit.
CREDIT_NS, SHORTEST_NS, RATE_LIMIT_NS = 10_000_000, 500_000, 1_000_000
#: How much more credit another CPU's vCPU must have to be fetched, and the least credit there is.
RESIST_NS, LEAST_NS = 500_000, -10_000_000
#: What may be kept over a reset (``CSCHED2_CARRYOVER_MAX``).
CARRY_NS = 500_000
#: Caps are kept in periods of this length.
CAP_PERIOD_NS = 10_000_000


@dataclass(eq=False)
class Domain2:
    """A virtual machine: ``weight``, ``cap`` in percent of one CPU (0 for none), and its budget in the period, ns."""

    weight: int = 256
    cap: int = 0
    budget_ns: int = 0
    period: int = -1


@dataclass(eq=False)
class Vcpu2:
    """A vCPU's ``policy_data``: its domain, its credit and how long it has run at a stretch, ns."""

    domain: Domain2
    credit_ns: int = CREDIT_NS
    ran_ns: int = 0


@POLICIES.register("credit2")
class Credit2(Policy):
    """One queue for all CPUs, ordered by credit, which runs down in inverse proportion to the weight.

    ``policy_data`` is a :class:`Vcpu2`.

    Parameters
    ----------
    rate_limit : int, ns
        A vCPU runs at least so long, if it wants to.
    """

    def __init__(self, rate_limit: int = RATE_LIMIT_NS) -> None:
        super().__init__()
        self.rate_limit = rate_limit
        self.waiting: list[Task] = []

    def enroll(self, task: Task, weight: int) -> None:
        """As the one vCPU of a domain: a domain's weight counts for each of its vCPUs."""
        task.policy_data = Vcpu2(Domain2(max(1, weight * 256 // 1024)))

    def enqueue(self, task: Task, woken: bool) -> None:
        """By credit when it is asked for."""
        if woken:
            task.policy_data.ran_ns = 0
        self.waiting.append(task)

    def pick(self, cpu: Cpu) -> Task | None:
        """The one with the most credit, with some reluctance to fetch it from another CPU."""
        best = self._best(cpu)
        if best is None:
            return None
        if best.policy_data.credit_ns <= 0:
            self._reset(best)
        self.waiting.remove(best)
        return best

    def blocked(self, task: Task) -> None:
        """Its next run begins anew."""
        task.policy_data.ran_ns = 0

    def charge(self, task: Task, delta_ns: int) -> None:
        """Burn credit, the faster the smaller the weight against the largest."""
        data: Vcpu2 = task.policy_data
        data.ran_ns += delta_ns
        data.credit_ns = max(LEAST_NS, data.credit_ns - delta_ns * self._max_weight() // data.domain.weight)
        if data.domain.cap:
            self._budget_ns(data.domain)
            data.domain.budget_ns -= delta_ns

    def preempts(self, woken: Task, running: Task) -> bool:
        """More credit does, once the running one has had its least."""
        data: Vcpu2 = running.policy_data
        return woken.policy_data.credit_ns > data.credit_ns and data.ran_ns >= self.rate_limit

    def quantum_ns(self, task: Task) -> int:
        """Until its credit is down to that of the best that waits, within the bounds."""
        data: Vcpu2 = task.policy_data
        cpu = self.heart.cpus[task.cpu]
        other = self._best(cpu)
        ahead_ns = data.credit_ns - (other.policy_data.credit_ns if other is not None else 0)
        time_ns = max(ahead_ns, 0) * data.domain.weight // self._max_weight()
        time_ns = min(max(time_ns, self.rate_limit, SHORTEST_NS), CREDIT_NS)
        if data.domain.cap:
            time_ns = min(time_ns, max(self._budget_ns(data.domain), 1))
        data.ran_ns = 0
        return time_ns

    def place(self, task: Task, waker_cpu: int) -> int:
        """An idle CPU, else that of the least credit."""
        home = super().place(task, waker_cpu)
        cpus = self.heart.cpus
        if cpus[home].is_idle():
            return home
        return min(sorted(task.cpus), key=lambda number: self._credit_on(cpus[number], number == home))

    def _credit_on(self, cpu: Cpu, home: bool) -> int:
        running = cpu.current
        if running is None or running.policy is not self:
            return LEAST_NS
        return int(running.policy_data.credit_ns) + (0 if home else RESIST_NS)

    def _best(self, cpu: Cpu) -> Task | None:
        best: Task | None = None
        most = 0
        for task in self.waiting:
            if cpu.number not in task.cpus or self._capped(task):
                continue
            credit_ns = task.policy_data.credit_ns - (0 if task.cpu == cpu.number else RESIST_NS)
            if best is None or credit_ns > most:
                best, most = task, credit_ns
        return best

    def _reset(self, best: Task) -> None:
        """New credit for all, as often as the best one needs; little is kept of what was left."""
        heart = self.heart
        for cpu in heart.cpus:
            heart.settle(cpu)
        owed_ns = max(-best.policy_data.credit_ns, 0)
        times = 1 + (owed_ns // CREDIT_NS if owed_ns > CREDIT_NS else 0)
        for task in heart.tasks:
            if task.policy is self:
                data: Vcpu2 = task.policy_data
                data.credit_ns = min(data.credit_ns + times * CREDIT_NS, CREDIT_NS + CARRY_NS)

    def _max_weight(self) -> int:
        return max(int(task.policy_data.domain.weight) for task in self.heart.tasks if task.policy is self)

    def _capped(self, task: Task) -> bool:
        domain: Domain2 = task.policy_data.domain
        return bool(domain.cap) and self._budget_ns(domain) <= 0

    def _budget_ns(self, domain: Domain2) -> int:
        """What a capped domain may still use in this period; the CPUs decide anew when the next one begins."""
        now = self.heart.now_ns
        period = now // CAP_PERIOD_NS
        if domain.period != period:
            full_ns = domain.cap * CAP_PERIOD_NS // 100
            passed = period - domain.period if domain.period >= 0 else 1
            domain.budget_ns = min(domain.budget_ns + passed * full_ns, full_ns) if domain.period >= 0 else full_ns
            domain.period = period
            self.heart.call_at((period + 1) * CAP_PERIOD_NS, self._decide_all)
        return domain.budget_ns

    def _decide_all(self) -> None:
        for cpu in self.heart.cpus:
            self.heart.reschedule(cpu)
