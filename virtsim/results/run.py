"""The result of running a scenario once, in the model or on a kernel."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from virtsim.core.spec import encode_json
from virtsim.core.units import show_duration
from virtsim.results.histogram import Histogram
from virtsim.results.schema import AT_ONCE_NS, INTERLUDE_NS, LATENCIES, METRICS, PERCENTILES, Metric
from virtsim.results.waits import SchedulerEvent, events_of
from virtsim.scenario.scenario import Scenario

if TYPE_CHECKING:
    from pathlib import Path

    import pandas


class TaskRecord(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What one process did. Times are ns since the run's start; None where a world cannot tell."""

    guest: str
    task: str
    start_ns: int
    end_ns: int | None = None
    outcome: Literal["finished", "stopped", "killed", "oom"] = "stopped"
    cpu_time_ns: int
    run_delay_ns: int | None = None
    #: On a CPU, waiting for one, held back by a quota, and asleep or blocked: together the task's life.
    run_time_ns: int | None = None
    wait_time_ns: int | None = None
    throttled_time_ns: int | None = None
    sleep_time_ns: int | None = None
    voluntary_switches: int = 0
    involuntary_switches: int = 0
    minor_faults: int | None = None
    major_faults: int | None = None
    migrations: int | None = None
    #: Completed operations by name ("syscall", "compute", ...), those of bodies included.
    operations: dict[str, int] = {}

    def __post_init__(self) -> None:
        # A Duration of the scenario is an int, but would be written as text.
        self.start_ns = int(self.start_ns)
        self.end_ns = None if self.end_ns is None else int(self.end_ns)


class VcpuRecord(msgspec.Struct, kw_only=True):
    """Where the time of one virtual CPU went; the four times add up to the run's duration."""

    vcpu: str
    #: Its guest's tasks ran.
    busy_time_ns: int
    #: It had a CPU, but for its hypervisor (exits, polling) or an idle guest.
    overhead_time_ns: int
    #: It would have run, but had no CPU.
    steal_time_ns: int
    #: It had halted.
    idle_time_ns: int
    halts: int = 0


class GuestRecord(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a guest's, or a group's, cgroup counted."""

    guest: str
    cpu_time_ns: int
    periods: int | None = None
    throttled_periods: int | None = None
    throttled_time_ns: int | None = None
    bursts: int | None = None
    burst_time_ns: int | None = None
    memory_peak_bytes: int | None = None
    oom_kills: int | None = None
    #: Sums over its tasks, those of the groups in it included; absent where one of them has none.
    run_time_ns: int | None = None
    wait_time_ns: int | None = None
    sleep_time_ns: int | None = None
    #: Of virtual machines whose CPUs are scheduled: see :class:`VcpuRecord`; sums over vCPUs.
    steal_time_ns: int | None = None
    overhead_time_ns: int | None = None
    halts: int | None = None
    vcpus: list[VcpuRecord] = []
    #: Pressure-stall totals, ns, by resource and line ("cpu.some"), where the kernel has them.
    pressure_ns: dict[str, int] = {}


class LatencyRecord(msgspec.Struct, kw_only=True):
    """A distribution of durations: a kind of :data:`~virtsim.results.schema.LATENCIES`, or ``op:<name>``."""

    guest: str
    task: str
    kind: str
    histogram: Histogram


class DeviceRecord(msgspec.Struct, kw_only=True):
    """What was counted of a ring (``guest/ring``), a device or a frequency domain (``cpus 0,1``); metrics by name."""

    entity: str
    values: dict[str, int | float]


class RequestRecord(msgspec.Struct, array_like=True):
    """One served request; times are ns since the run's start."""

    guest: str
    task: str
    arrival_ns: int
    start_ns: int
    end_ns: int


class Slice(msgspec.Struct, array_like=True, frozen=True):
    """A task on a CPU, from ``start_ns`` to ``end_ns``.

    ``state`` is that in which it left: ``R`` (it could have gone on), ``S`` or ``D`` (asleep), ``X`` (ended); empty
    where the run's end cut it off, or a world cannot tell.
    """

    cpu: int
    start_ns: int
    end_ns: int
    guest: str
    task: str
    state: str = ""


class Wakeup(msgspec.Struct, array_like=True, frozen=True):
    """A task became runnable on ``cpu`` at ``time_ns``."""

    time_ns: int
    cpu: int
    guest: str
    task: str


class Throttle(msgspec.Struct, array_like=True, frozen=True):
    """A guest's, or a group's, quota was used up on ``cpu``: none of its tasks could run there."""

    cpu: int
    start_ns: int
    end_ns: int
    guest: str


class TaskThrottle(msgspec.Struct, array_like=True, frozen=True):
    """A task on ``cpu`` that could have run was held back by a quota of its guest or of a group around."""

    cpu: int
    start_ns: int
    end_ns: int
    guest: str
    task: str


Timed = TypeVar("Timed", RequestRecord, Slice, Wakeup, Throttle, TaskThrottle)


def _plain(records: list[Timed]) -> list[Timed]:
    """The records with plain integers: a Duration, such as a scenario's, is one but would be written as text."""
    names = [name for name in records[0].__struct_fields__ if name.endswith("_ns")] if records else []
    times = attrgetter(*names) if len(names) > 1 else lambda record: (getattr(record, names[0]),)
    return [
        record
        if all(type(time) is int for time in times(record))
        else msgspec.structs.replace(record, **{name: int(getattr(record, name)) for name in names})
        for record in records
    ]


class GuestTimeline(msgspec.Struct, kw_only=True):
    """What a kernel on virtual CPUs ran there, as its own scheduler saw it: CPU *n* is its virtual CPU *n*.

    A task that has its virtual CPU keeps it while that waits for a CPU itself: its slice goes on, and
    :func:`~virtsim.results.spans.pieces_of` tells which parts of it really ran.

    Attributes
    ----------
    guest : str
        Whose kernel it is.
    vcpus : list of str
        Names of its CPUs, as which they are tasks of the kernel below: ``vcpu0``; those of a kernel on another guest
        kernel are ``level1.vcpu0``.
    slices, wakeups : list
        As a run's own.
    """

    guest: str
    vcpus: list[str]
    slices: list[Slice] = []
    wakeups: list[Wakeup] = []

    def __post_init__(self) -> None:
        self.slices = _plain(self.slices)
        self.wakeups = _plain(self.wakeups)

    def events(self) -> list[SchedulerEvent]:
        """As :meth:`Run.events`, of this kernel."""
        return events_of(self.slices, self.wakeups)


class Run(msgspec.Struct, kw_only=True):
    """One run of a scenario.

    Attributes
    ----------
    world : str
        ``model`` or ``real``.
    scenario : Scenario
        What was run.
    seed : int
        Root seed of the programs' random draws.
    duration_ns : int, ns
        How long it lasted: the scenario's duration, or less if all tasks ended before.
    tasks, guests, latencies, requests, slices, wakeups, throttles, task_throttles : list
        The records; the last four are empty unless a timeline was asked for, and the last two also where a world cannot
        tell when a group, or a task, was throttled.
    guest_timelines : list of GuestTimeline
        What kernels on virtual CPUs ran, each behind those it stands on; empty without such, or without a timeline.
    devices : list of DeviceRecord
        What rings, devices and frequency domains counted; empty where no task uses one and no governor is on.
    manifest : dict
        How it was made: versions, host card or kernel, noise, the runner's own cost.
    """

    world: Literal["model", "real"]
    scenario: Scenario
    seed: int
    duration_ns: int
    tasks: list[TaskRecord]
    guests: list[GuestRecord]
    latencies: list[LatencyRecord] = []
    requests: list[RequestRecord] = []
    slices: list[Slice] = []
    wakeups: list[Wakeup] = []
    throttles: list[Throttle] = []
    task_throttles: list[TaskThrottle] = []
    guest_timelines: list[GuestTimeline] = []
    devices: list[DeviceRecord] = []
    manifest: dict[str, Any] = {}

    def __post_init__(self) -> None:
        self.duration_ns = int(self.duration_ns)
        self.slices = _plain(self.slices)
        self.wakeups = _plain(self.wakeups)
        self.throttles = _plain(self.throttles)
        self.task_throttles = _plain(self.task_throttles)
        self.requests = _plain(self.requests)

    @property
    def digest(self) -> str:
        """Hash of everything but the manifest: equal runs have equal digests, in any process."""
        bare = {name: getattr(self, name) for name in self.__struct_fields__} | {"manifest": {}}
        # What came later is left out of runs without: they keep the digests under which they were published.
        for name in ("devices", "task_throttles", "guest_timelines"):
            if not bare[name]:
                del bare[name]
        if not any(piece.state for piece in self.slices):
            bare["slices"] = [
                (piece.cpu, piece.start_ns, piece.end_ns, piece.guest, piece.task) for piece in self.slices
            ]
        return hashlib.blake2b(encode_json(bare), digest_size=16).hexdigest()

    @property
    def disturbed(self) -> bool:
        """Whether the noise around a real run went over its limits."""
        return bool(self.manifest.get("noise", {}).get("disturbed", False))

    def metrics(self) -> list[Metric]:
        """Tidy rows of all metrics that this run knows; see :mod:`virtsim.results.schema`."""
        return list(self._metrics())

    def _metrics(self) -> Iterator[Metric]:
        for guest in self.guests:
            yield Metric(guest.guest, "cpu_time", "ns", guest.cpu_time_ns)
            for name in (
                "periods",
                "throttled_periods",
                "throttled_time",
                "bursts",
                "burst_time",
                "memory_peak",
                "oom_kills",
                "run_time",
                "wait_time",
                "sleep_time",
                "steal_time",
                "overhead_time",
                "halts",
            ):
                yield from _row(guest.guest, name, guest)
            for vcpu in guest.vcpus:
                for name in ("busy_time", "overhead_time", "steal_time", "idle_time"):
                    yield Metric(f"{guest.guest}/{vcpu.vcpu}", name, "ns", getattr(vcpu, f"{name}_ns"))
        for task in self.tasks:
            entity = f"{task.guest}/{task.task}"
            if task.outcome == "finished" and task.end_ns is not None:
                yield Metric(entity, "completion_time", "ns", task.end_ns)
            for name in METRICS:
                yield from _row(entity, name, task)
            yield Metric(entity, "operations", "1", sum(task.operations.values()))
        for latency in self.latencies:
            if latency.kind in LATENCIES and latency.histogram.count:
                entity = f"{latency.guest}/{latency.task}"
                yield Metric(entity, f"{latency.kind}_mean", "ns", latency.histogram.mean_ns)
                for percent in PERCENTILES:
                    value = latency.histogram.percentile_ns(percent)
                    yield Metric(entity, f"{latency.kind}_p{percent}", "ns", value)
            if latency.kind == "wakeup_latency" and latency.histogram.count:
                share = latency.histogram.share_below(AT_ONCE_NS)
                yield Metric(f"{latency.guest}/{latency.task}", "wakeup_at_once", "1", share)
        for device in self.devices:
            for name, value in device.values.items():
                yield Metric(device.entity, name, METRICS[name].unit, value)
        for slices in (self.slices, *(timeline.slices for timeline in self.guest_timelines)):
            yield from _turns_of(slices)

    def value(self, entity: str, metric: str) -> float:
        """One metric of one guest or ``guest/task``; ``KeyError`` if the run has none."""
        for row in self._metrics():
            if row.entity == entity and row.metric == metric:
                return row.value
        raise KeyError(f"this run has no {metric} of {entity}")

    def events(self) -> list[SchedulerEvent]:
        """The timeline as a stream of ``sched_switch`` and ``sched_wakeup`` events; see :mod:`virtsim.results.waits`.

        ``pandas.DataFrame(run.events())`` is a table with a column for each of :class:`SchedulerEvent`'s fields.
        """
        return events_of(self.slices, self.wakeups)

    def to_frame(self) -> pandas.DataFrame:
        """The metrics as a data frame with the columns entity, metric, unit, value (needs pandas)."""
        import pandas

        return pandas.DataFrame(self.metrics(), columns=list(Metric._fields))

    def save(self, path: Path | str) -> None:
        """Write the run as one JSON line; see :mod:`virtsim.results.store`."""
        from virtsim.results.store import save_runs

        save_runs(path, [self])

    def save_trace(self, path: Path | str) -> None:
        """Write a trace that ui.perfetto.dev opens; see :mod:`virtsim.results.trace`."""
        from virtsim.results.trace import save_trace

        save_trace(path, [self])

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><td>{row.entity}</td><td>{row.metric}</td><td>{_show(row)}</td></tr>" for row in self._metrics()
        )
        mark = " (disturbed)" if self.disturbed else ""
        head = f"<b>{self.scenario.name}</b>, {self.world}{mark}, {show_duration(self.duration_ns)}"
        return f"{head}<table><tr><th>entity</th><th>metric</th><th>value</th></tr>{cells}</table>"


def _turns_of(slices: list[Slice]) -> Iterator[Metric]:
    """Mean length of the tasks' turns; a turn is made of slices that touch, but for what kernel threads take."""
    turns: dict[str, list[int]] = {}
    last: dict[int, tuple[str, int]] = {}  # by CPU: whose turn it was, and until when
    for piece in slices:
        entity = f"{piece.guest}/{piece.task}"
        lengths = turns.setdefault(entity, [])
        length_ns = piece.end_ns - piece.start_ns
        whose, until_ns = last.get(piece.cpu, ("", 0))
        if whose == entity and piece.start_ns - until_ns <= INTERLUDE_NS:
            lengths[-1] += length_ns
        else:
            lengths.append(length_ns)
        last[piece.cpu] = (entity, piece.end_ns)
    for entity, lengths in turns.items():
        yield Metric(entity, "mean_turn", "ns", sum(lengths) / len(lengths))


def _row(entity: str, name: str, record: TaskRecord | GuestRecord) -> Iterator[Metric]:
    unit = METRICS[name].unit
    suffix = {"ns": "_ns", "B": "_bytes"}.get(unit, "")
    value = getattr(record, name + suffix, None)
    if isinstance(value, int):
        yield Metric(entity, name, unit, value)


def _show(row: Metric) -> str:
    return (
        show_duration(row.value) if row.unit == "ns" else f"{row.value:g} {row.unit if row.unit != '1' else ''}".strip()
    )
