"""The metrics a run reports: name, unit, meaning. The reference page is made from this table."""

from __future__ import annotations

from typing import NamedTuple


class Column(NamedTuple):
    """One metric.

    Attributes
    ----------
    unit : str
        ``ns``, ``1`` (a count) or ``B``.
    of : str
        What it describes: ``task`` or ``guest``.
    meaning : str
        One sentence.
    """

    unit: str
    of: str
    meaning: str


METRICS: dict[str, Column] = {
    "cpu_time": Column(
        "ns", "task", "CPU time used, user and kernel, children included (guest: as its cgroup counts it)."
    ),
    "completion_time": Column(
        "ns", "task", "From the run's start to the task's end; absent for a task that was stopped."
    ),
    "run_delay": Column("ns", "task", "Time runnable but waiting for a CPU."),
    "voluntary_switches": Column("1", "task", "Context switches because the task blocked."),
    "involuntary_switches": Column("1", "task", "Context switches because another task was preferred."),
    "minor_faults": Column("1", "task", "Page faults served without I/O."),
    "major_faults": Column("1", "task", "Page faults that waited for I/O."),
    "migrations": Column("1", "task", "Moves from one CPU to another."),
    "operations": Column("1", "task", "Rounds of the program's innermost counted operations that were completed."),
    "wakeup_latency": Column("ns", "task", "From a periodic job's due time until the task runs (p50, p90, p99, mean)."),
    "wakeup_at_once": Column("1", "task", "Share of a periodic job's wake-ups that came within 0.5 ms."),
    "mean_turn": Column("ns", "task", "Mean time on a CPU from one switch to the next (only with a timeline)."),
    "response_time": Column(
        "ns", "task", "From a periodic job's due time until its body is done (p50, p90, p99, mean)."
    ),
    "request_latency": Column("ns", "task", "From a request's arrival until it is served (p50, p90, p99, mean)."),
    "periods": Column("1", "guest", "Bandwidth periods that passed while the group had work."),
    "throttled_periods": Column("1", "guest", "Bandwidth periods in which the group was throttled."),
    "throttled_time": Column("ns", "guest", "Time throttled, summed over CPUs."),
    "bursts": Column("1", "guest", "Periods in which saved quota was used."),
    "burst_time": Column("ns", "guest", "CPU time used beyond the quota, out of saved quota."),
    "memory_peak": Column("B", "guest", "Largest memory charged to the group."),
    "steal_time": Column(
        "ns", "guest", "Time in which its virtual CPUs would have run, but had no CPU (each, and sum)."
    ),
    "overhead_time": Column(
        "ns",
        "guest",
        "CPU time of its virtual CPUs in which no task of it ran: exits, polling, latencies (each, and sum).",
    ),
    "busy_time": Column("ns", "guest", "Time in which a virtual CPU ran the guest's tasks."),
    "idle_time": Column("ns", "guest", "Time in which a virtual CPU had halted."),
    "halts": Column("1", "guest", "Times its virtual CPUs halted."),
    "oom_kills": Column("1", "guest", "Processes killed because the group went over its memory limit."),
}

#: Kinds of latency, and the percentiles that are reported of each.
LATENCIES = ("wakeup_latency", "response_time", "request_latency")
PERCENTILES = (50, 90, 99)
#: A wake-up later than this waited for somebody else to stop, ns.
AT_ONCE_NS = 500_000
#: A task that is back on its CPU within this time was interrupted by a kernel thread: its turn goes on, ns.
INTERLUDE_NS = 100_000
