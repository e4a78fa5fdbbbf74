"""What is worked out of a run's records in the same way in both worlds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from virtsim.results.run import GuestRecord, LatencyRecord, Slice, TaskRecord, Wakeup
from virtsim.results.waits import scheduling_latencies
from virtsim.scenario.scenario import Scenario

_TIMES = ("run_time_ns", "wait_time_ns", "sleep_time_ns")


def latency_records(slices: Iterable[Slice], wakeups: Iterable[Wakeup]) -> list[LatencyRecord]:
    """Scheduling latencies of all tasks that waited, from a timeline; none without."""
    return [
        LatencyRecord(guest=guest, task=task, kind="scheduling_latency", histogram=histogram)
        for (guest, task), histogram in sorted(scheduling_latencies(slices, wakeups).items())
    ]


def sum_times(scenario: Scenario, tasks: Iterable[TaskRecord], records: Sequence[GuestRecord]) -> list[GuestRecord]:
    """The records of guests and groups with the times of all tasks in them; None where a task has none.

    Throttled time is left as the kernel counts it: by CPU, not by task.
    """
    members: dict[str, list[TaskRecord]] = {record.guest: [] for record in records}
    around = {guest.name: [group.name for group in scenario.groups_around(guest)] for guest in scenario.guests}
    for task in tasks:
        for name in (task.guest, *around.get(task.guest, ())):
            members.setdefault(name, []).append(task)
    for record in records:
        for field in _TIMES:
            times = [getattr(task, field) for task in members[record.guest]]
            setattr(record, field, None if None in times else sum(times))
    return list(records)
