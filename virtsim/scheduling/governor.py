"""How fast CPUs go: frequency domains, and the governor that chooses a domain's frequency (Linux's schedutil).

CPUs of a domain have one frequency. Whenever a CPU's averages have gone into another period - at ticks, wake-ups,
sleeps and switches - the governor asks for 1.25 times the frequency at which the busiest CPU of the domain would have
nothing to spare, but not more often than the domain's rate limit lets it. It is there after the transition latency.

The averages' clock runs as fast as the CPU: a task looks as large at any frequency. When the CPU goes idle the clock
catches up with the machine's, unless the CPU was busy all the time: then there was no idle time to be lost.

References
----------
Linux ``kernel/sched/cpufreq_schedutil.c``, 6.18: ``get_next_freq``, ``sugov_effective_cpu_perf``, ``sugov_hold_freq``,
``sugov_should_update_freq``; ``kernel/sched/syscalls.c``: ``effective_cpu_util``; ``include/linux/sched/cpufreq.h``:
``map_util_freq``; ``kernel/sched/pelt.h``: ``update_rq_clock_pelt``, ``update_idle_rq_clock_pelt``.
"""

from __future__ import annotations

from virtsim.scheduling.cpu import Cpu
from virtsim.scheduling.events import FREQUENCY, EventQueue
from virtsim.scheduling.policy import Policy
from virtsim.scheduling.settings import Frequencies, Kernel
from virtsim.scheduling.states import CAPACITY, MOST, PERIOD
from virtsim.scheduling.task import ENDED, Task
from virtsim.scheduling.utilisation import Utilisation

#: Before any change: longer ago than any rate limit.
NEVER_NS = -(10**15)
#: At this sum a CPU counts as one that was always busy.
ALWAYS_BUSY = (MOST - PERIOD) * CAPACITY - MOST


class FrequencyDomain:
    """CPUs that have one frequency (a ``cpufreq`` policy).

    Attributes
    ----------
    cpus : list of Cpu
    frequency_hz, wanted_hz : int, Hz
        In force, and asked for.
    changes : int
        Changes that came into force.
    residency_ns : dict of int to int, ns
        Time at each frequency, by Hz, up to ``since_ns``.
    """

    __slots__ = ("changed_ns", "changes", "cpus", "frequency_hz", "residency_ns", "since_ns", "wanted_hz")

    def __init__(self, frequency_hz: int) -> None:
        self.cpus: list[Cpu] = []
        self.frequency_hz = self.wanted_hz = frequency_hz
        self.changed_ns = NEVER_NS
        self.changes = 0
        self.residency_ns: dict[int, int] = {}
        self.since_ns = 0

    def count(self, now_ns: int) -> None:
        """Bring the residency up to now."""
        if now_ns > self.since_ns:
            before_ns = self.residency_ns.get(self.frequency_hz, 0)
            self.residency_ns[self.frequency_hz] = before_ns + now_ns - self.since_ns
            self.since_ns = now_ns


class Meter:
    """What the governor knows of one CPU.

    Attributes
    ----------
    fair, others : Utilisation
        What tasks of the fair class, and those of policies, use.
    clock_ns, lost_ns : int, ns
        The averages' clock, and how far it will stay behind the machine's.
    speed : int
        Its frequency, in 1024ths of the highest: how fast that clock runs.
    by_policy, urgent, reserved : int
        Runnable tasks of policies, those that have the CPU go at its highest frequency, and what is promised to
        others, in 1024ths of a CPU.
    idles, idles_seen : int
        Times that it went idle, up to now and when it was last looked at.
    """

    __slots__ = (
        "by_policy",
        "clock_ns",
        "domain",
        "fair",
        "idles",
        "idles_seen",
        "lost_ns",
        "others",
        "reserved",
        "seen_ns",
        "speed",
        "urgent",
    )

    def __init__(self, domain: FrequencyDomain) -> None:
        self.domain = domain
        self.fair = Utilisation()
        self.others = Utilisation()
        self.seen_ns = 0
        self.clock_ns = 0
        self.lost_ns = 0
        self.speed = CAPACITY
        self.by_policy = self.urgent = self.reserved = 0
        self.idles = 0
        self.idles_seen = -1


class Governor:
    """Chooses frequencies; the heart tells it what happens, before it happens, and brings its choices into force.

    Parameters
    ----------
    settings : Frequencies
        What the CPUs can do.
    cpus : list of Cpu
        All CPUs; each in the domain that the settings say, else in that of its core.
    kernel : Kernel
        Whether tasks' needs are estimated (feature ``UTIL_EST``) and waiting ones count (since 6.5).
    events : EventQueue
        Where changes wait for the transition latency.

    Attributes
    ----------
    domains : list of FrequencyDomain
    decides : bool
        Whether there is anything to decide: not where one frequency is all that there is.
    """

    def __init__(self, settings: Frequencies, cpus: list[Cpu], kernel: Kernel, events: EventQueue) -> None:
        self.settings = settings
        self.cpus = cpus
        self.maximum_hz = settings.maximum_hz
        self.rate_limit_ns = settings.rate_limit_ns
        self.latency_ns = settings.latency_ns
        self.points = settings.points_hz
        self.decides = settings.governor == "schedutil" and settings.minimum_hz < settings.maximum_hz
        self._estimates = kernel.has("UTIL_EST")
        self._counts_waiting = kernel.version >= (6, 5)
        self._events = events
        first_hz = settings.maximum_hz if settings.governor == "performance" else settings.minimum_hz
        numbers = settings.domains or tuple(cpu.core for cpu in cpus)
        domains = {number: FrequencyDomain(first_hz) for number in numbers}
        self.domains = list(domains.values())
        self.meters: list[Meter] = []
        for cpu, number in zip(cpus, numbers, strict=True):
            domains[number].cpus.append(cpu)
            meter = Meter(domains[number])
            meter.speed = first_hz * CAPACITY // self.maximum_hz
            self.meters.append(meter)

    # -- what happens ------------------------------------------------------------------------------------------

    def ticked(self, cpu: Cpu, now_ns: int) -> None:
        """A tick of a busy CPU."""
        if self.measure(cpu, now_ns):
            self._decide(cpu, now_ns, False)

    def comes(self, cpu: Cpu, task: Task, now_ns: int) -> None:
        """A task of the fair class is about to wait on a CPU: it woke, is new, or was moved."""
        moved = self.measure(cpu, now_ns)
        meter: Meter = self.meters[cpu.number]
        mine = task.utilisation
        if mine is None:
            mine = task.utilisation = Utilisation()
            mine.begin(meter.fair, task.weight)
        if mine.cpu == cpu.number:
            mine.update(meter.clock_ns, False, 0, 0)
        else:
            if mine.cpu >= 0:
                self._leave(mine, now_ns)
            mine.attach(meter.fair, cpu.number)
            moved = True
        if self._estimates:
            meter.fair.estimate += mine.estimate
        if moved:
            self._decide(cpu, now_ns, False)

    def goes(self, cpu: Cpu, task: Task, asleep: bool, now_ns: int) -> None:
        """A task of the fair class is about to leave a CPU's queue: to sleep, to end, or to be moved."""
        ended = self.measure(cpu, now_ns)
        meter: Meter = self.meters[cpu.number]
        mine = task.utilisation
        if mine is None:
            return
        mine.update(meter.clock_ns, cpu.current is task, 1, 0)
        if self._estimates:
            meter.fair.estimate -= mine.estimate
            if asleep:
                mine.learn()
        if task.state == ENDED:
            mine.detach(meter.fair)
        if ended:
            self._decide(cpu, now_ns, False)

    def switches(self, cpu: Cpu, previous: Task | None, chosen: Task | None, now_ns: int) -> None:
        """A CPU is about to switch."""
        ended = self.measure(cpu, now_ns)
        meter: Meter = self.meters[cpu.number]
        if previous is not None:
            mine = previous.utilisation
            if mine is not None and mine.cpu == cpu.number:
                mine.update(meter.clock_ns, True, 1, 0)
        if chosen is None:
            self._goes_idle(meter, now_ns)
        else:
            mine = chosen.utilisation
            if mine is not None and mine.cpu == cpu.number:
                mine.update(meter.clock_ns, False, 1, 0)
            if ended:
                self._decide(cpu, now_ns, False)

    def policy_task(self, cpu: Cpu, policy: Policy, task: Task, change: int, now_ns: int) -> None:
        """A task of a policy is about to wait on a CPU (1), or to leave it (-1)."""
        self.measure(cpu, now_ns)
        meter: Meter = self.meters[cpu.number]
        meter.by_policy += change
        if policy.urgent:
            meter.urgent += change
        reserved = policy.reserved(task) * change
        meter.reserved += reserved
        self._decide(cpu, now_ns, reserved > 0)

    def measure(self, cpu: Cpu, now_ns: int) -> bool:
        """Bring a CPU's averages up to now; tells whether a period of the fair class's has ended."""
        meter: Meter = self.meters[cpu.number]
        task = cpu.current
        passed_ns = now_ns - meter.seen_ns
        meter.seen_ns = now_ns
        if task is None:
            meter.clock_ns = now_ns - meter.lost_ns
        else:
            meter.clock_ns += passed_ns * meter.speed >> 10
        fair = task is not None and task.policy is None
        clock_ns = meter.clock_ns
        meter.others.update(clock_ns, task is not None and not fair, 0, 0)
        root = cpu.root
        return meter.fair.update(clock_ns, fair, root.runnable - meter.by_policy, root.total_load >> 10)

    def set_frequency(self, domain: FrequencyDomain, frequency_hz: int, now_ns: int) -> None:
        """A frequency comes into force."""
        domain.count(now_ns)
        domain.frequency_hz = frequency_hz
        domain.changes += 1
        for cpu in domain.cpus:
            self.measure(cpu, now_ns)
            meter: Meter = self.meters[cpu.number]
            meter.speed = frequency_hz * CAPACITY // self.maximum_hz

    def scaled_ns(self, cpu: int, time_ns: int) -> int:
        """What a time on a CPU is worth at its frequency, of the highest one's."""
        meter: Meter = self.meters[cpu]
        return time_ns * meter.speed >> 10

    # -- what follows ------------------------------------------------------------------------------------------

    def _goes_idle(self, meter: Meter, now_ns: int) -> None:
        meter.idles += 1
        if meter.fair.busy_sum + meter.others.busy_sum >= ALWAYS_BUSY:
            meter.lost_ns = now_ns - meter.clock_ns

    def _leave(self, mine: Utilisation, now_ns: int) -> None:
        """A task's averages, brought up to now, leave those of the CPU where it was."""
        meter: Meter = self.meters[mine.cpu]
        self.measure(self.cpus[mine.cpu], now_ns)
        mine.update(meter.clock_ns, False, 0, 0)
        mine.detach(meter.fair)

    def _decide(self, cpu: Cpu, now_ns: int, at_once: bool) -> None:
        """Ask for another frequency for a CPU's domain, if it should have one and the last change was long ago."""
        meter: Meter = self.meters[cpu.number]
        domain = meter.domain
        if now_ns - domain.changed_ns < self.rate_limit_ns and not at_once:
            return
        performance = 0
        for other in domain.cpus:
            if other is not cpu:
                self.measure(other, now_ns)
            performance = max(performance, self._performance(self.meters[other.number]))
        frequency_hz = self._resolve(self.maximum_hz * performance // CAPACITY)
        if len(domain.cpus) == 1:
            # One that has not been idle since the last time is not slowed down.
            idle = meter.idles != meter.idles_seen
            meter.idles_seen = meter.idles
            if not idle and frequency_hz < domain.wanted_hz and not at_once:
                return
        if frequency_hz != domain.wanted_hz:
            domain.wanted_hz = frequency_hz
            domain.changed_ns = now_ns
            self._events.push(now_ns + self.latency_ns, FREQUENCY, domain, frequency_hz)

    def _performance(self, meter: Meter) -> int:
        """What a CPU needs, in 1024ths of its highest frequency."""
        if meter.urgent:
            return CAPACITY
        fair = meter.fair
        used = fair.busy
        if self._counts_waiting:
            used = max(used, fair.runnable)
        if self._estimates:
            used = max(used, fair.estimate)
        used = min(min(used, CAPACITY) + meter.others.busy, CAPACITY)
        return min(max(used + (used >> 2), meter.reserved), CAPACITY)

    def _resolve(self, frequency_hz: int) -> int:
        """The lowest operating point that is not lower; any frequency between the limits if there is no list."""
        for point in self.points:
            if point >= frequency_hz:
                return point
        return min(max(frequency_hz, self.settings.minimum_hz), self.maximum_hz)
