"""The metrics a run reports: name, unit, meaning. The reference page is made from this table."""

from __future__ import annotations

from typing import NamedTuple


class Column(NamedTuple):
    """One metric.

    Attributes
    ----------
    unit : str
        ``ns``, ``1`` (a count), ``B`` or ``Hz``.
    of : str
        What it describes: ``task``, ``guest``, ``guest/ring``, ``device``, or ``cpus`` (``cpus 0,1``).
    meaning : str
        One sentence.
    """

    unit: str
    of: str
    meaning: str


class Metric(NamedTuple):
    """One row of a run's metrics: ``entity`` is a guest or ``guest/task``."""

    entity: str
    metric: str
    unit: str
    value: float


METRICS: dict[str, Column] = {
    "cpu_time": Column(
        "ns", "task", "CPU time used, user and kernel, children included (guest: as its cgroup counts it)."
    ),
    "completion_time": Column(
        "ns", "task", "From the run's start to the task's end; absent for a task that was stopped."
    ),
    "run_delay": Column(
        "ns", "task", "Time runnable but waiting for a CPU, time throttled included, as the kernel counts."
    ),
    "run_time": Column("ns", "task, guest", "Time on a CPU, children not included (guest: sum over its tasks)."),
    "wait_time": Column(
        "ns",
        "task, guest",
        "Time runnable but waiting for a CPU, without time throttled; on a kernel absent where a quota may have held "
        "the task back, since it tells `run_delay` only (guest: sum over its tasks).",
    ),
    "sleep_time": Column(
        "ns",
        "task, guest",
        "Time not runnable: asleep, or blocked for a lock, a message, a child or a device; on a kernel what is left of "
        "its life, time stolen by its hypervisor included (guest: sum over its tasks).",
    ),
    "voluntary_switches": Column("1", "task", "Context switches because the task blocked."),
    "involuntary_switches": Column("1", "task", "Context switches because another task was preferred."),
    "minor_faults": Column("1", "task", "Page faults served without I/O."),
    "major_faults": Column("1", "task", "Page faults that waited for I/O."),
    "migrations": Column("1", "task", "Moves from one CPU to another."),
    "operations": Column("1", "task", "Rounds of the program's innermost counted operations that were completed."),
    "scheduling_latency": Column(
        "ns",
        "task",
        "From a wake-up, or from where the task had to leave its CPU, until it runs (p50, p90, p99, mean; only with a "
        "timeline).",
    ),
    "wakeup_latency": Column("ns", "task", "From a periodic job's due time until the task runs (p50, p90, p99, mean)."),
    "wakeup_at_once": Column("1", "task", "Share of a periodic job's wake-ups that came within 0.5 ms."),
    "mean_turn": Column("ns", "task", "Mean time on a CPU from one switch to the next (only with a timeline)."),
    "response_time": Column(
        "ns", "task", "From a periodic job's due time until its body is done (p50, p90, p99, mean)."
    ),
    "request_latency": Column("ns", "task", "From a request's arrival until it is served (p50, p90, p99, mean)."),
    "io_latency": Column(
        "ns", "task", "From the begin of an operation on a device that waits until it is done (p50, p90, p99, mean)."
    ),
    "io_submitted": Column("1", "guest/ring", "Requests put into a ring: a guest's, to one device."),
    "io_completed": Column("1", "guest/ring", "Requests of a ring that are done; the others are under way."),
    "io_time": Column("ns", "guest/ring", "Mean time from a request's submission until its driver saw it done."),
    "kicks": Column("1", "guest/ring", "Notifications of the back end."),
    "saved_kicks": Column(
        "1", "guest/ring", "Requests without one: the back end was at work, or a later one tells of them."
    ),
    "interrupts": Column("1", "guest/ring", "Interrupts that told the driver."),
    "saved_interrupts": Column(
        "1", "guest/ring", "Requests done without one: not asked for, one was pending, or a later one tells of them."
    ),
    "unclaimed_interrupts": Column("ns", "guest/ring", "CPU time of interrupts for tasks that had ended, not charged."),
    "device_served": Column("1", "device", "Requests that a device has done."),
    "device_bytes": Column("B", "device", "Their data."),
    "device_utilisation": Column("1", "device", "Share of the time that its bus was busy."),
    "device_ways_busy": Column("1", "device", "Mean number of requests that it worked on (disks)."),
    "mean_frequency": Column("Hz", "cpus", "Mean frequency of a frequency domain's CPUs, idle or not."),
    "frequency_changes": Column("1", "cpus", "Times that it changed."),
    "periods": Column("1", "guest", "Bandwidth periods that passed while the group had work."),
    "throttled_periods": Column("1", "guest", "Bandwidth periods in which the group was throttled."),
    "throttled_time": Column(
        "ns",
        "guest, task",
        "Guest: time throttled, summed over CPUs. Task: time held back by a quota (model only, or "
        "0 where no group around it has one).",
    ),
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
LATENCIES = ("scheduling_latency", "wakeup_latency", "response_time", "request_latency", "io_latency")
PERCENTILES = (50, 90, 99)
#: A wake-up later than this waited for somebody else to stop, ns.
AT_ONCE_NS = 500_000
#: A task that is back on its CPU within this time was interrupted by a kernel thread: its turn goes on, ns.
INTERLUDE_NS = 100_000
