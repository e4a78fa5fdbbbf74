"""Xen's credit scheduler: domains get credits by weight every 30 ms, and vCPUs that have used theirs up stand back.

Credits are kept as ns of CPU time (Xen counts 10 a millisecond).

References
----------
Xen 4.x, ``xen/common/sched/credit.c``: ``csched_acct``, ``csched_tick``, ``csched_schedule``, ``runq_tickle``.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field

from virtsim.scheduling.cpu import Cpu
from virtsim.scheduling.policy import POLICIES, Policy
from virtsim.scheduling.task import Task

#: Time slice, tick, and how long a vCPU runs before another may preempt it (``sched_ratelimit_us``).
SLICE_NS, TICK_NS, RATE_LIMIT_NS = 30_000_000, 10_000_000, 1_000_000
DEFAULT_WEIGHT = 256
#: Priorities: woken with credit left, credit left, none left.
BOOST, UNDER, OVER = 0, -1, -2


@dataclass(eq=False)
class Domain:
    """A virtual machine to the hypervisor.

    Attributes
    ----------
    weight : int
        Its part, shared by its vCPUs.
    cap : int, percent
        Most it may use, 100 for one CPU; 0 for no cap.
    """

    weight: int = DEFAULT_WEIGHT
    cap: int = 0
    active: list[Task] = field(default_factory=list)


@dataclass(eq=False)
class Vcpu:
    """A vCPU's ``policy_data``: its domain, and its credit, priority and what else the policy keeps."""

    domain: Domain
    credit_ns: int = 0
    priority: int = UNDER
    is_active: bool = False
    parked: bool = False
    ran_ns: int = 0


@POLICIES.register("credit")
class Credit(Policy):
    """One queue for each CPU, ordered by priority; CPUs without anything better steal.

    ``policy_data`` is a :class:`Vcpu`.

    Parameters
    ----------
    rate_limit : int, ns
        A vCPU runs at least so long, if it wants to; 0 for no limit.
    pool : set of int, optional
        Its CPUs (Xen's cpupool), of which there is credit to hand out; all if absent.
    """

    def __init__(self, rate_limit: int = RATE_LIMIT_NS, pool: Set[int] | None = None) -> None:
        super().__init__()
        self.rate_limit = rate_limit
        self.pool = pool
        self.queues: list[list[Task]] = []
        #: Those with active vCPUs, in the order in which they are handed credit, and what all had after the last time.
        self.domains: list[Domain] = []
        self.balance_ns = 0

    def attach(self) -> None:
        """Ticks of the CPUs, and the accounting every third of them."""
        heart = self.heart
        self.queues = [[] for _ in heart.cpus]
        for cpu in heart.cpus:
            heart.call_at(TICK_NS, _Every(self, TICK_NS, cpu).tick)
        heart.call_at(SLICE_NS, _Every(self, SLICE_NS, None).account)

    # -- hooks ----------------------------------------------------------------------------------------------

    def enroll(self, task: Task, weight: int) -> None:
        """As the one vCPU of a domain: a domain's weight counts for each of its vCPUs."""
        task.policy_data = Vcpu(Domain(max(1, weight * DEFAULT_WEIGHT // 1024)))

    def enqueue(self, task: Task, woken: bool) -> None:
        """Behind those with the same priority; one that wakes with credit left is boosted."""
        data: Vcpu = task.policy_data
        if woken:
            data.ran_ns = 0
            if data.priority == UNDER and not data.parked:
                data.priority = BOOST
        queue = self.queues[task.cpu]
        if not woken and self._is_kept(task):
            queue.insert(0, task)
            return
        place = len(queue)
        while place and queue[place - 1].policy_data.priority < data.priority:
            place -= 1
        queue.insert(place, task)

    def pick(self, cpu: Cpu) -> Task | None:
        """The head of the own queue; if that is over its credit, or nothing, a better one from another CPU."""
        own = self._first(self.queues[cpu.number], cpu, OVER)
        if own is None or (own.policy_data.priority == OVER and not self._is_kept(own)):
            stolen = self._steal(cpu, UNDER if own is not None else OVER)
            own = stolen or own
        if own is None:
            return None
        self.queues[own.cpu].remove(own)
        return own

    def blocked(self, task: Task) -> None:
        """Its next run begins anew."""
        task.policy_data.ran_ns = 0

    def charge(self, task: Task, delta_ns: int) -> None:
        """Burn credit."""
        data: Vcpu = task.policy_data
        data.credit_ns -= delta_ns
        data.ran_ns += delta_ns

    def preempts(self, woken: Task, running: Task) -> bool:
        """A higher priority does, after the rate limit."""
        data: Vcpu = running.policy_data
        if woken.policy_data.priority <= data.priority:
            return False
        if data.ran_ns >= self.rate_limit:
            return True
        heart, cpu = self.heart, self.heart.cpus[running.cpu]
        heart.call_at(heart.now_ns + self.rate_limit - data.ran_ns, lambda: self._tickle(cpu, running))
        return False

    def quantum_ns(self, task: Task) -> int:
        """What is left of the slice."""
        data: Vcpu = task.policy_data
        if data.ran_ns >= SLICE_NS:
            data.ran_ns = 0
        return SLICE_NS - data.ran_ns

    # -- accounting -----------------------------------------------------------------------------------------

    def tick_cpu(self, cpu: Cpu) -> None:
        """A CPU's 10 ms: whoever runs there is active from now on, and boosted no longer."""
        running = cpu.current
        if running is None or running.policy is not self:
            return
        data: Vcpu = running.policy_data
        if data.priority == BOOST:
            data.priority = UNDER
        if not data.is_active:
            data.is_active = True
            if not data.domain.active:
                self.domains = [domain for domain in self.domains if domain is not data.domain]
                self.domains.append(data.domain)
            data.domain.active.append(running)

    def account(self) -> None:
        """Every 30 ms: hand out what all CPUs can do, by weight and up to the caps, among active domains."""
        heart = self.heart
        for cpu in heart.cpus:
            heart.settle(cpu)
        self._hand_out()
        for cpu in heart.cpus:
            self.queues[cpu.number].sort(key=lambda task: -task.policy_data.priority)
            if cpu.current is None or (cpu.current.policy is self and cpu.current.policy_data.parked):
                heart.reschedule(cpu)

    def _hand_out(self) -> None:
        """What a domain cannot use is left to those that come after it.

        Those that could use more than there was go to the end in the next round. While all together owe credit, more is
        handed out than all CPUs can do, so that debts do not last for ever.
        """
        domains = self._active_domains()
        debt_ns = max(-self.balance_ns, 0)
        credit_ns = SLICE_NS * len(self.heart.cpus if self.pool is None else self.pool) + debt_ns
        weight = left = sum(domain.weight * len(domain.active) for domain in domains)
        self.balance_ns = 0
        short = False
        for domain in domains:
            vcpus = len(domain.active)
            mine = domain.weight * vcpus
            left -= mine
            part_ns = -(-credit_ns * mine // weight)
            peak_ns = vcpus * SLICE_NS + -(-debt_ns * mine // weight)
            if domain.cap:
                peak_ns = min(peak_ns, -(-domain.cap * SLICE_NS // 100))
            if part_ns < peak_ns:
                short = True
            else:
                if left:
                    credit_ns += -(-(part_ns - peak_ns) * weight // left)
                if short:
                    self.domains.remove(domain)
                    self.domains.insert(0, domain)
                part_ns = peak_ns
            each_ns = -(-part_ns // vcpus)
            for task in list(domain.active):
                self._earn(task, each_ns, vcpus)
                self.balance_ns += task.policy_data.credit_ns

    def _earn(self, task: Task, credit_ns: int, vcpus: int) -> None:
        data: Vcpu = task.policy_data
        data.credit_ns += credit_ns
        if data.credit_ns < 0:
            data.priority = OVER
            if data.domain.cap:
                data.parked = data.credit_ns < -(data.domain.cap * SLICE_NS // 100 // vcpus)
            data.credit_ns = max(data.credit_ns, -SLICE_NS)
            return
        data.priority = UNDER
        data.parked = False
        if data.credit_ns > SLICE_NS:
            data.domain.active.remove(task)
            data.is_active = False
            data.credit_ns //= 2

    def _active_domains(self) -> list[Domain]:
        self.domains = [domain for domain in self.domains if domain.active]
        return list(self.domains)

    def _is_kept(self, task: Task) -> bool:
        """Whether it has begun to run and the rate limit lets it go on."""
        data: Vcpu = task.policy_data
        return not data.parked and 0 < data.ran_ns < self.rate_limit

    # -- queues ---------------------------------------------------------------------------------------------

    def _first(self, queue: list[Task], cpu: Cpu, least: int) -> Task | None:
        for task in queue:
            data: Vcpu = task.policy_data
            if data.priority >= least and not data.parked and cpu.number in task.cpus:
                return task
        return None

    def _steal(self, cpu: Cpu, least: int) -> Task | None:
        """From the next CPUs in turn."""
        count = len(self.queues)
        for step in range(1, count):
            found = self._first(self.queues[(cpu.number + step) % count], cpu, least)
            if found is not None:
                return found
        return None

    def _tickle(self, cpu: Cpu, running: Task) -> None:
        if cpu.current is running:
            self.heart.reschedule(cpu)


class _Every:
    """A timer that rearms itself."""

    def __init__(self, policy: Credit, period_ns: int, cpu: Cpu | None) -> None:
        self.policy, self.period_ns, self.cpu = policy, period_ns, cpu

    def tick(self) -> None:
        """A CPU's tick."""
        heart = self.policy.heart
        assert self.cpu is not None
        heart.settle(self.cpu)
        self.policy.tick_cpu(self.cpu)
        heart.call_at(heart.now_ns + self.period_ns, self.tick)

    def account(self) -> None:
        """The accounting."""
        heart = self.policy.heart
        self.policy.account()
        heart.call_at(heart.now_ns + self.period_ns, self.account)
