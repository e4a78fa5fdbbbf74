"""What a host card tells the scheduler: the kernel's tunables, and what its own doings cost."""

from __future__ import annotations

from dataclasses import dataclass

from virtsim.core.errors import ModelError
from virtsim.scheduling.features import default_features


@dataclass(frozen=True)
class SchedulingCosts:
    """What the scheduler's own doings cost, ns; a host card's ``timing``.

    Parameters
    ----------
    switch_ns : int
        A context switch; charged to the task that is switched to.
    wake_ns, wake_remote_ns : int
        Waking a task on the same, or an idle other, CPU; charged to the waker.
    idle_exit_ns : int
        From waking a task on an idle other CPU until that CPU runs it.
    preempt_remote_ns : int
        From deciding to preempt on another CPU until it does.
    migration_ns : int
        Extra CPU time of a task that was moved (cold caches).
    migration_cache_ns, migration_node_ns : int
        The same for one that came to another last-level cache of its memory node, or to another node at distance
        20, and in proportion to the distance elsewhere: its lines come from there. Where the two CPUs are threads of
        one core nothing is cold.
    smt_speed : float
        Speed of each of two threads that run on a core, relative to one alone; 1 if they do not disturb each other.
    balance_ns : int
        What looking at one CPU costs when balancing: not done before an idle time too short for it.
    tick_ns : int
        CPU time a tick takes from whatever runs.
    timer_latency_ns : tuple of int
        Quantiles, evenly spaced, of the time from a timer's latest expiry until its task can be switched to.
    timer_idle_ns : tuple of int
        Quantiles, evenly spaced, of what a timer takes longer on an idle CPU.
    cold : tuple of (int, int, int)
        What a woken task needs on top: see :class:`~virtsim.scheduling.cold.Cold`.
    stolen_share : float
        Share of each busy CPU that goes to somebody outside the model.
    """

    switch_ns: int = 0
    wake_ns: int = 0
    wake_remote_ns: int = 0
    idle_exit_ns: int = 0
    preempt_remote_ns: int = 0
    migration_ns: int = 0
    migration_cache_ns: int = 0
    migration_node_ns: int = 0
    smt_speed: float = 1.0
    balance_ns: int = 0
    tick_ns: int = 0
    timer_latency_ns: tuple[int, ...] = (0,)
    timer_idle_ns: tuple[int, ...] = (0,)
    cold: tuple[tuple[int, int, int], ...] = ()
    stolen_share: float = 0.0


#: What happens about a vCPU that spins for a lock: nothing; its hypervisor lets a sibling run; it halts.
SPINNING = ("plain", "ple", "pv")


@dataclass(frozen=True)
class Hypervisor:
    """What runs a guest's vCPUs: prices, ns, and switches.

    Parameters
    ----------
    halt_ns : int
        Leaving the guest at HLT, and entering it again.
    poll_ns, poll_start_ns : int
        Longest time for which a halted vCPU polls before it blocks (0: never), and the shortest above 0.
    poll_grow, poll_shrink : int
        Factor and divisor by which that time is adapted; a divisor of 0 goes back to no polling at once.
    spinning : str
        One of :data:`SPINNING`.
    fair_spinlocks : bool
        Whether a spinlock goes to whoever came first, even one that does not run; else to the first that runs.
    pause_window_ns : int
        Spinning after which the hypervisor takes over (``ple``).
    spin_threshold_ns : int
        Spinning after which a paravirtual lock's waiter halts (``pv``).

    References
    ----------
    Linux ``Documentation/virt/kvm/halt-polling.rst``; ``arch/x86/kvm/x86.h``: ``KVM_VMX_DEFAULT_PLE_WINDOW``, 4096
    cycles; ``arch/x86/include/asm/qspinlock.h``: ``virt_spin_lock``.
    """

    halt_ns: int = 0
    poll_ns: int = 0
    poll_start_ns: int = 10_000
    poll_grow: int = 2
    poll_shrink: int = 2
    spinning: str = "plain"
    fair_spinlocks: bool = True
    pause_window_ns: int = 1_600
    spin_threshold_ns: int = 50_000


#: What chooses frequencies: by load, always the highest, always the lowest.
GOVERNORS = ("schedutil", "performance", "powersave")


@dataclass(frozen=True)
class Frequencies:
    """At which frequencies CPUs run, and what chooses them.

    Parameters
    ----------
    minimum_hz, maximum_hz, nominal_hz : int
        Lowest and highest, and the one at which work takes as long as it says.
    governor : str
        One of :data:`GOVERNORS`.
    points_hz : tuple of int
        The frequencies that there are, ascending, from the lowest to the highest; any between them if empty.
    rate_limit_ns : int
        Least time from one change that is asked for to the next.
    latency_ns : int
        Until a change is there; the old frequency holds till then.
    domains : tuple of int
        Number of each CPU's frequency domain; that of its core if empty.
    """

    minimum_hz: int
    maximum_hz: int
    nominal_hz: int
    governor: str = "schedutil"
    points_hz: tuple[int, ...] = ()
    rate_limit_ns: int = 1_000_000
    latency_ns: int = 0
    domains: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        points = self.points_hz
        if self.governor not in GOVERNORS:
            raise ModelError(f"no governor is called {self.governor!r}; known: {', '.join(GOVERNORS)}")
        if not 0 < self.minimum_hz <= self.maximum_hz or self.nominal_hz <= 0:
            raise ModelError("frequencies are above 0, and the highest is not below the lowest")
        if points and (list(points) != sorted(set(points)) or (points[0], points[-1]) != self.limits_hz):
            raise ModelError("operating points ascend from the lowest frequency to the highest")
        if not 1 << 6 <= self.share(self.minimum_hz) <= self.share(self.maximum_hz) <= 1 << 14:
            raise ModelError("frequencies are between a 16th of the nominal one and 16 times that")

    @property
    def limits_hz(self) -> tuple[int, int]:
        """The lowest and the highest."""
        return self.minimum_hz, self.maximum_hz

    def share(self, frequency_hz: int) -> int:
        """A frequency in 1024ths of the nominal one, to the nearest."""
        return (frequency_hz * 1024 + self.nominal_hz // 2) // self.nominal_hz


@dataclass(frozen=True)
class Kernel:
    """The scheduler's tunables, from a host card's ``kernel``.

    Parameters
    ----------
    tick_ns : int
        One over HZ.
    base_slice_ns : int
        Default request of EEVDF, scaled by the number of CPUs already.
    bandwidth_slice_ns : int
        ``sched_cfs_bandwidth_slice_us``.
    migration_cost_ns : int
        A task that ran less than this ago is cache-hot (``sched_migration_cost_ns``).
    scheduler : str
        The fair class: ``"eevdf"``, or ``"cfs"`` as before 6.6.
    version : (int, int)
        Of the kernel; it decides what no switch decides.
    features : frozenset of str
        The switches that are on; those of the version as it is released if absent.
    least_slice_ns : int
        EEVDF's base slice without scaling: who runs keeps the CPU this long where ``RUN_TO_PARITY`` is off (6.17).
    latency_ns, min_granularity_ns, wakeup_granularity_ns : int
        CFS's tunables, scaled by the number of CPUs already.
    """

    tick_ns: int = 4_000_000
    base_slice_ns: int = 1_400_000
    bandwidth_slice_ns: int = 5_000_000
    migration_cost_ns: int = 500_000
    scheduler: str = "eevdf"
    version: tuple[int, int] = (6, 18)
    features: frozenset[str] | None = None
    least_slice_ns: int = 700_000
    latency_ns: int = 6_000_000
    min_granularity_ns: int = 750_000
    wakeup_granularity_ns: int = 1_000_000

    def has(self, feature: str) -> bool:
        """Whether a switch is on."""
        on = default_features(self.scheduler, self.version) if self.features is None else self.features
        return feature in on

    @property
    def throttles_tasks(self) -> bool:
        """Whether a quota that is used up parks tasks one by one, as since 6.18, not the group as a whole."""
        return self.version >= (6, 18)

    @property
    def custom_slices(self) -> bool:
        """Whether tasks may ask for slices of their own (``sched_setattr``, since 6.12)."""
        return self.scheduler == "eevdf" and self.version >= (6, 12)
