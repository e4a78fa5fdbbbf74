"""From the image that the runner filled to the records of a :class:`~virtsim.results.run.Run`."""

from __future__ import annotations

import os
from typing import Any, Literal, NamedTuple

import numpy as np

from virtsim.backends.groups import RunGroups
from virtsim.backends.image import Image
from virtsim.backends.layout import layout
from virtsim.backends.program import GuestProgram
from virtsim.results.histogram import Histogram
from virtsim.results.run import GuestRecord, LatencyRecord, RequestRecord, Slice, TaskRecord
from virtsim.scenario.scenario import Scenario

Outcome = Literal["finished", "stopped", "killed", "oom"]
_UNKNOWN = -1


class ProcessName(NamedTuple):
    """Whose process a row of the plan is."""

    guest: str
    task: str


class Report:
    """Reads the report of a run.

    Parameters
    ----------
    image : Image
    scenario : Scenario
    groups : RunGroups
    programs : list of GuestProgram
        In the order of the scenario's guests.
    snapshots : list of (str, str)
        Path of the group (or ``""`` for the machine) and name of the counter, by row.
    """

    def __init__(
        self,
        image: Image,
        scenario: Scenario,
        groups: RunGroups,
        programs: list[GuestProgram],
        snapshots: list[tuple[str, str]],
    ) -> None:
        self.image = image
        self.scenario = scenario
        self.groups = groups
        self.programs = programs
        self.names = [
            ProcessName(guest.name, name)
            for guest in scenario.guests
            for task in guest.workload.tasks
            for name in task.process_names
        ]
        self._texts = [self._snapshot_texts(i) for i in range(len(snapshots))]
        self._snapshots = snapshots
        #: Guests whose tasks' waiting cannot be told from their being throttled.
        self._throttled = {guest.name for guest in scenario.guests if scenario.has_quota(guest)}
        self._processes = [image.row("processes", i) for i in range(len(self.names))]
        self.accounts = {path: self._account(path) for path in groups.paths}

    # ---- The machine and its groups ----

    def _snapshot_texts(self, row: int) -> tuple[str, str]:
        cells = self.image.row("snapshots", row)
        before, after = (
            cells[end].tobytes()[: max(0, cells[f"{end}_bytes"])].decode(errors="replace")
            for end in ("before", "after")
        )
        return before, after

    def texts(self, path: str) -> tuple[dict[str, str], dict[str, str]]:
        """Counters of a group at the release and at the end."""
        rows = [i for i, (owner, _) in enumerate(self._snapshots) if owner == path]
        names = {i: self._snapshots[i][1] for i in rows}
        return {names[i]: self._texts[i][0] for i in rows}, {names[i]: self._texts[i][1] for i in rows}

    def _account(self, path: str) -> dict[str, Any]:
        return self.groups.cgroups.account(*self.texts(path))

    def guests(self) -> list[GuestRecord]:
        """A record for each guest, then for each group. A native guest has no group to count for it."""
        records = []
        for guest in self.scenario.guests:
            if guest.stack == "native":
                used = sum(task.cpu_time_ns for task in self.tasks() if task.guest == guest.name)
                records.append(GuestRecord(guest=guest.name, cpu_time_ns=used))
            else:
                records.append(GuestRecord(guest=guest.name, **self.accounts[self.groups.of_guest[guest.name]]))
        records += [GuestRecord(guest=name, **self.accounts[path]) for name, path in self.groups.of_group.items()]
        return records

    def period_phases_ns(self) -> dict[str, int]:
        """When the first bandwidth period after time 0 begins, ns, by group; see the runner's supervisor.c."""
        phases = {}
        for i, (path, _) in enumerate(self.groups.limited):
            row = self.image.row("periods", i)
            if row["boundary_ns"]:
                since_ns = row["boundary_ns"] - self.image.header("released_ns")
                phases[path.removeprefix(f"{self.groups.top}/")] = since_ns % row["period_ns"]
        return phases

    # ---- Tasks ----

    def begin_cpus(self) -> dict[str, int]:
        """On which CPU each process began its program, by guest/process."""
        rows = zip(self.names, self._processes)
        return {f"{name.guest}/{name.task}": row["began_cpu"] for name, row in rows if row["began_ns"]}

    @property
    def duration_ns(self) -> int:
        """The scenario's duration, or less if all tasks ended before."""
        if any(_stopped(row) for row in self._processes):
            return int(self.scenario.duration)  # a plain int: a Duration would be written as text
        ends = [int(row["ended_ns"]) for row in self._processes]
        return min(int(self.scenario.duration), max([*ends, 1]))

    def tasks(self) -> list[TaskRecord]:
        """A record for each process."""
        return [self._task(name, row) for name, row in zip(self.names, self._processes)]

    def _task(self, name: ProcessName, row: dict[str, Any]) -> TaskRecord:
        outcome = self._outcome(name, row)
        own_ns = _own_cpu_time(row)
        start_ns = row["began_ns"] or row["start_ns"]
        end_ns = None if outcome == "stopped" else row["ended_ns"]
        operations = row["operations_at_stop" if _stopped(row) else "operations"]
        tags = layout().enums["opcode"]
        life_ns = (self.image.header("stopped_ns") if _stopped(row) else row["ended_ns"]) - start_ns
        delay_ns = _run_delay(row, own_ns, life_ns)
        return TaskRecord(
            guest=name.guest,
            task=name.task,
            start_ns=start_ns,
            end_ns=end_ns,
            outcome=outcome,
            cpu_time_ns=own_ns + row["children_cpu_ns"],
            run_delay_ns=delay_ns,
            run_time_ns=own_ns,
            wait_time_ns=None if name.guest in self._throttled else delay_ns,
            throttled_time_ns=None if name.guest in self._throttled else 0,
            sleep_time_ns=None if delay_ns is None else max(0, life_ns - own_ns - delay_ns),
            voluntary_switches=_grown(row, "voluntary") or 0,
            involuntary_switches=_grown(row, "involuntary") or 0,
            minor_faults=_grown(row, "minor"),
            major_faults=_grown(row, "major"),
            migrations=_grown(row, "migrations"),
            operations={tags[i].removeprefix("OP_").lower(): int(n) for i, n in enumerate(operations) if n},
        )

    def _outcome(self, name: ProcessName, row: dict[str, Any]) -> Outcome:
        if _stopped(row):
            return "stopped"
        if row["end"] == layout().constants["END_FINISHED"] and not row["failed_errno"]:
            return "finished"
        return "oom" if not row["failed_errno"] and self._out_of_memory(name.guest) else "killed"

    def _out_of_memory(self, guest: str) -> bool:
        path = self.groups.of_guest[guest]
        return any(
            (account.get("oom_kills") or 0) > 0
            for around, account in self.accounts.items()
            if path == around or path.startswith(f"{around}/")
        )

    def failures(self) -> list[dict[str, Any]]:
        """Operations that the kernel refused, which ended their tasks."""
        tags = layout().enums["opcode"]
        return [
            {
                "guest": name.guest,
                "task": name.task,
                "operation": tags[row["failed_op"]].removeprefix("OP_").lower(),
                "error": os.strerror(row["failed_errno"]),
            }
            for name, row in zip(self.names, self._processes)
            if row["failed_errno"]
        ]

    def pids(self) -> dict[int, tuple[str, str]]:
        """Guest and task by process number."""
        return {row["host_pid"]: tuple(name) for name, row in zip(self.names, self._processes)}  # type: ignore[misc]

    # ---- Distributions, requests, spans ----

    def latencies(self) -> list[LatencyRecord]:
        """All histograms that have counts."""
        records = []
        for guest, program in zip(self.scenario.guests, self.programs):
            for task, kind, number in program.histograms:
                histogram = self._histogram(number)
                if histogram.count:
                    records.append(LatencyRecord(guest=guest.name, task=task, kind=kind, histogram=histogram))
        return records

    def _histogram(self, number: int) -> Histogram:
        row = self.image.row("histograms", number)
        filled = np.flatnonzero(row["buckets"])
        return Histogram(
            buckets={int(bucket): int(row["buckets"][bucket]) for bucket in filled},
            count=row["count"],
            sum_ns=row["sum_ns"],
            min_ns=row["min_ns"],
            max_ns=row["max_ns"],
        )

    def requests(self) -> list[RequestRecord]:
        """Served requests, by arrival, as many as there was room for."""
        rows = self._used("requests")
        return sorted(
            (RequestRecord(*self.names[process], arrival, start, end) for process, arrival, start, end in rows if end),
            key=lambda request: (request.arrival_ns, request.start_ns),
        )

    def spans(self) -> list[Slice]:
        """The runner's own time stamps of operations, which include waiting, as slices."""
        rows = self._used("spans")
        return sorted(
            (Slice(cpu, begin, end, *self.names[process]) for process, cpu, begin, end in rows if end > begin),
            key=lambda piece: (piece.start_ns, piece.cpu),
        )

    def _used(self, table: str) -> list[list[int]]:
        used = min(self.image.header(f"{table}_used"), self.image.header(f"{table}_count"))
        rows: list[list[int]] = self.image.table(table, used).tolist()
        return rows


def _stopped(row: dict[str, Any]) -> bool:
    return bool(row["end"] == layout().constants["END_STOPPED"])


def _grown(row: dict[str, Any], name: str) -> int | None:
    before, after = row[f"{name}_before"], row[f"{name}_after"]
    return None if _UNKNOWN in (before, after) else max(0, after - before)


def _own_cpu_time(row: dict[str, Any]) -> int:
    """By the process's clock; by the scheduler's account if it was killed; 0 if it never got to the release."""
    if not row["opened"]:
        return 0
    clock = "exec" if row["end"] == layout().constants["END_KILLED"] else "cpu"
    return max(0, int(row[f"{clock}_after_ns"] - row[f"{clock}_before_ns"]))


def _run_delay(row: dict[str, Any], own_ns: int, life_ns: int) -> int | None:
    """The kernel's figure is that of the task's death; what passed since the end of the run is cut off."""
    before, after = row["run_delay_before_ns"], row["run_delay_after_ns"]
    if _UNKNOWN in (before, after):
        return None
    return int(max(0, min(after - before, life_ns - own_ns)))
