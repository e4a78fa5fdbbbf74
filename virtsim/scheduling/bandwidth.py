"""CPU bandwidth of a group: quota in every period, shared out to its queues in slices.

A group has a pool that is refilled at every period; a queue on a CPU draws a slice (5 ms) from it when
its local runtime is used up, and is throttled when the pool is dry. What ran over is owed: it is paid
back out of the next refill first. A queue that goes idle returns what it does not need.

References
----------
Linux ``Documentation/scheduler/sched-bwc.rst``; ``kernel/sched/fair.c``, 5.4 and later (no expiry of
local runtime): ``__assign_cfs_rq_runtime``, ``do_sched_cfs_period_timer``, ``__return_cfs_rq_runtime``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from virtsim.scheduling.fair import FairQueue

#: A queue keeps this much local runtime when it goes idle, ns.
KEPT_NS = 1_000_000
#: Returned runtime is handed out to throttled queues after this delay, ns.
SLACK_DELAY_NS = 5_000_000


class Bandwidth:
    """The pool of one group.

    Parameters
    ----------
    quota_ns, period_ns, burst_ns : int, ns
        As in ``cpu.max`` and ``cpu.max.burst``.
    slice_ns : int, ns
        What a queue draws at a time (``sched_cfs_bandwidth_slice_us``).
    phase_ns : int, ns
        When the period timer would have fired first: the kernel draws it at random for each group.

    Attributes
    ----------
    periods, throttled_periods, bursts : int
        As the kernel counts them in ``cpu.stat``.
    throttled_time_ns, burst_time_ns : int, ns
        Likewise; the throttled time sums over CPUs.
    """

    __slots__ = (
        "active",
        "burst_ns",
        "burst_time_ns",
        "bursts",
        "idle",
        "period_ns",
        "periods",
        "phase_ns",
        "quota_ns",
        "runtime_ns",
        "slack_pending",
        "slice_ns",
        "snapshot_ns",
        "throttled",
        "throttled_periods",
        "throttled_time_ns",
    )

    def __init__(self, quota_ns: int, period_ns: int, burst_ns: int, slice_ns: int, phase_ns: int) -> None:
        self.quota_ns = quota_ns
        self.period_ns = period_ns
        self.burst_ns = burst_ns
        self.slice_ns = slice_ns
        self.phase_ns = phase_ns
        # The kernel fills the pool at every setting, the quota's and then the burst's: it begins full.
        self.runtime_ns = quota_ns + burst_ns
        self.snapshot_ns = self.runtime_ns
        self.active = False
        self.idle = False
        self.slack_pending = False
        #: Throttled queues, in the order in which they are served.
        self.throttled: list[FairQueue] = []
        self.periods = 0
        self.throttled_periods = 0
        self.bursts = 0
        self.throttled_time_ns = 0
        self.burst_time_ns = 0

    def refill(self) -> None:
        """Add a quota to the pool, up to quota plus burst."""
        self.runtime_ns += self.quota_ns
        over = self.snapshot_ns - self.runtime_ns
        if over > 0:
            self.burst_time_ns += over
            self.bursts += 1
        self.runtime_ns = min(self.runtime_ns, self.quota_ns + self.burst_ns)
        self.snapshot_ns = self.runtime_ns

    def first_expiry_ns(self, now_ns: int) -> int:
        """When the period timer fires next if it is started now: it keeps its phase."""
        return now_ns + self.period_ns - (now_ns - self.phase_ns) % self.period_ns

    def assign(self, queue: FairQueue, target_ns: int) -> bool:
        """Bring a queue's local runtime up to ``target_ns`` as far as the pool goes; tells whether it may run."""
        wanted = target_ns - queue.remaining_ns
        if self.runtime_ns > 0:
            amount = min(self.runtime_ns, wanted)
            self.runtime_ns -= amount
            self.idle = False
            queue.remaining_ns += amount
        return queue.remaining_ns > 0

    def give_back(self, queue: FairQueue) -> bool:
        """A queue went idle: return its runtime but 1 ms; tells whether throttled queues can use it."""
        slack = queue.remaining_ns - KEPT_NS
        if slack <= 0:
            return False
        self.runtime_ns += slack
        queue.remaining_ns -= slack
        return self.runtime_ns > self.slice_ns and bool(self.throttled)

    def new_period(self, overrun: int) -> bool:
        """Count and refill at the timer; tells whether the timer goes on.

        It stops after a whole period in which nobody drew from the pool and nobody was throttled.
        """
        throttled = bool(self.throttled)
        self.periods += overrun
        self.refill()
        if self.idle and not throttled:
            self.active = False
            return False
        if throttled:
            self.throttled_periods += overrun
        self.idle = not throttled
        return True

    def distribute(self) -> list[FairQueue]:
        """Pay the debts of throttled queues out of the pool; returns those that may run again."""
        released = []
        for queue in list(self.throttled):
            if self.runtime_ns <= 0:
                break
            amount = min(self.runtime_ns, 1 - queue.remaining_ns)
            self.runtime_ns -= amount
            queue.remaining_ns += amount
            if queue.remaining_ns > 0:
                released.append(queue)
        return released
