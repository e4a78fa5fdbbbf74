"""From a guest's workload to the runner's flat program.

Each process gets its own copy of its task's program: a run of ``struct instruction`` (see
``runner/image.h``), in which the body of a repeat, periodic or serve follows its head, and ``body``
says how many instructions to jump over. Everything a process changes (random states, positions in
buffers, counters) is then its own.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

from virtsim.backends.image import Plan
from virtsim.backends.layout import layout
from virtsim.core.errors import BackendUnavailable, SpecError
from virtsim.core.streams import Streams
from virtsim.core.units import NS_PER_US, PAGE_BYTES
from virtsim.scenario.guest import Guest
from virtsim.workload import operations as ops
from virtsim.workload.draw import KINDS, Draw
from virtsim.workload.seeds import arrivals_seed, draw_seed
from virtsim.workload.workload import Task

#: Linux's numbers of the scheduling policies.
POLICIES = {"other": 0, "fifo": 1, "rr": 2, "batch": 3, "idle": 5, "deadline": 6}

#: Operations so short that two time stamps would be felt; they are timed once in SAMPLE_EVERY.
_SHORT = (
    ops.Touch, ops.Syscall, ops.MapUnmap, ops.PageFault, ops.Signal, ops.Lock, ops.Unlock, ops.WriteFsync,
    ops.Send, ops.Receive,
)  # fmt: skip
SAMPLE_EVERY = 16
_SHORT_COMPUTE_NS = 10 * NS_PER_US

_NONE = -1
_ENDLESS = -1


class GuestProgram:
    """Writes one guest's channels, mutexes, queues and processes into a plan.

    Parameters
    ----------
    plan : Plan
    number : int
        The guest's row in the plan.
    guest : Guest
    streams : Streams
        Of the run.
    cpus : iterable of int
        Those the guest may use; set explicitly, for the runner may have inherited fewer.
    operation_latency : bool
        Whether operations are timed.

    Attributes
    ----------
    histograms : list of (str, str, int)
        Process, kind of latency, row in the plan.
    """

    def __init__(
        self,
        plan: Plan,
        number: int,
        guest: Guest,
        streams: Streams,
        cpus: Iterable[int],
        *,
        operation_latency: bool = True,
    ) -> None:
        self.plan = plan
        self.number = number
        self.guest = guest
        self.streams = streams
        self.cpus = tuple(cpus)
        self.operation_latency = operation_latency
        self.histograms: list[tuple[str, str, int]] = []
        self.channels = self._number("channels", ops.Send, ops.Receive)
        self._mutexes = self._number("mutexes", ops.Lock)
        self._queues: dict[str, int] = {}
        self.processes = [
            self._process(task, i, name) for i, task in enumerate(guest.workload.tasks) for name in task.process_names
        ]

    def _number(self, table: str, *kinds: type) -> dict[str, int]:
        """One row for each name that operations of these kinds use."""
        numbers: dict[str, int] = {}
        for _, operation in self.guest.workload.walk():
            if not isinstance(operation, kinds):
                continue
            name = operation.name if isinstance(operation, ops.Lock) else operation.channel  # type: ignore[union-attr]
            if name not in numbers:
                futex = table == "channels" and self.guest.workload.kind_of(name) == "futex"
                row = {"kind": layout().constants["CHANNEL_FUTEX"]} if futex else {}
                numbers[name] = self.plan.add(table, **row)
        return numbers

    def _process(self, task: Task, task_number: int, name: str) -> int:
        return _ProcessProgram(self, task, f"workload.tasks[{task_number}]", name).write()

    def queue(self, serve: ops.Serve, name: str, path: str) -> int:
        """Row of a queue; made by the first of its servers."""
        if serve.queue not in self._queues:
            arrivals = serve.arrivals
            row: dict[str, Any] = {"open": int(arrivals.open), "draw": _NONE, "left": _count(serve.count)}
            if arrivals.kind == "file":
                times = self.plan.words(arrivals.read_file())
                row |= {"times": times["first"], "times_count": times["count"]}
            elif arrivals.open:
                seed = arrivals_seed(self.streams, self.guest.name, name, path, serve)
                row["draw"] = add_draw(self.plan, arrivals.gap, seed)
            self._queues[serve.queue] = self.plan.add("queues", **row)
        return self._queues[serve.queue]

    def channel(self, name: str) -> int:
        """Row of a channel."""
        return self.channels[name]

    def mutex(self, name: str) -> int:
        """Row of a mutex."""
        return self._mutexes[name]


class _ProcessProgram:
    """Writes one process: its instructions and what they refer to."""

    def __init__(self, owner: GuestProgram, task: Task, where: str, name: str) -> None:
        self.owner, self.plan, self.task, self.where, self.name = owner, owner.plan, task, where, name
        self.buffers: dict[int, int] = {}
        self.fault_bytes = 0
        self.file_bytes = _NONE
        self.first_histogram = self.plan.count("histograms")
        self._kinds: dict[str, int] = {}

    def write(self) -> int:
        if self.task.tlb_misses:
            raise BackendUnavailable(
                f"task {self.name}: tlb_misses", "the runner's compute misses no translation; use touch, or simulate it"
            )
        code = self.plan.count("instructions")
        self.block(self.task.program, "program")
        buffers = [self.plan.add("buffers", bytes=size) for size in self.buffers]
        cpus = self.plan.words(self.task.cpus or self.owner.cpus)
        return self.plan.add(
            "processes",
            guest=self.owner.number,
            code=code,
            code_count=self.plan.count("instructions") - code,
            start_ns=self.task.start,
            timer_slack_ns=self.task.timer_slack,
            policy=POLICIES[self.task.policy],
            priority=self.task.priority,
            nice=self.task.nice,
            slice_ns=self.task.slice or self.task.runtime or 0,
            deadline_ns=self.task.deadline or 0,
            period_ns=self.task.period or self.task.deadline or 0,
            cpus=cpus["first"],
            cpus_count=cpus["count"],
            buffers=buffers[0] if buffers else 0,
            buffers_count=len(buffers),
            fault_bytes=self.fault_bytes,
            file_bytes=self.file_bytes,
            histograms=self.first_histogram,
            histograms_count=len(self._kinds),
        )

    def block(self, program: list[ops.Operation], path: str) -> None:
        for i, operation in enumerate(program):
            self.instruction(operation, f"{path}[{i}]")

    def instruction(self, operation: ops.Operation, path: str) -> None:
        """Write an operation and its body."""
        tag = str(operation.__struct_config__.tag)
        if isinstance(operation, ops.DEVICE_OPERATIONS):
            raise BackendUnavailable(f"operation {tag}", "the runner uses no device of its host; simulate it instead")
        if isinstance(operation, ops.Work):
            raise BackendUnavailable(f"operation {tag}", "the runner has no such program; simulate it instead")
        if isinstance(operation, (ops.SpinLock, ops.SpinUnlock)):
            raise BackendUnavailable(f"operation {tag}", "the runner is no kernel; use lock, or simulate it instead")
        row: dict[str, Any] = {"op": layout().constants[f"OP_{tag.upper()}"], "histogram": _NONE, "draw": _NONE}
        if self.owner.operation_latency and not isinstance(operation, (ops.Repeat, ops.Serve, ops.Periodic, ops.Exit)):
            row["histogram"] = self.histogram(f"op:{tag}")
            row["sample_mask"] = SAMPLE_EVERY - 1 if _short(operation) else 0
        row |= self.members(operation, path)
        number = self.plan.add("instructions", **row)
        if isinstance(operation, (ops.Repeat, ops.Periodic, ops.Serve)):
            self.block(operation.body, f"{path}.body")
            self.plan.rows["instructions"][number]["body"] = self.plan.count("instructions") - number - 1

    def members(self, operation: ops.Operation, path: str) -> dict[str, Any]:
        """What the runner must know of an operation."""
        match operation:
            case ops.Compute(work=draw):
                return {"draw": self.draw(draw, f"{path}.work")}
            case ops.Sleep(time=draw):
                return {"draw": self.draw(draw, f"{path}.time")}
            case ops.Touch():
                buffer = self.buffers.setdefault(operation.working_set, len(self.buffers))
                return {"index": buffer, "pages": operation.pages, "size": operation.stride}
            case ops.Syscall():
                if operation.kind != "null":
                    self.file_bytes = max(self.file_bytes, operation.size, 1)
                return {"kind": layout().constants[f"SYSCALL_{operation.kind.upper()}"], "size": operation.size}
            case ops.WriteFsync(size=size):
                self.file_bytes = max(self.file_bytes, size)
                return {"size": size}
            case ops.MapUnmap(pages=pages):
                return {"pages": pages}
            case ops.PageFault(pages=pages):
                self.fault_bytes = max(self.fault_bytes, pages * PAGE_BYTES)
                return {"pages": pages}
            case ops.Send() | ops.Receive():
                return {"index": self.owner.channel(operation.channel), "size": operation.size}
            case ops.Lock() | ops.Unlock():
                return {"index": self.owner.mutex(operation.name)}
            case ops.Repeat(count=count):
                return {"count": _count(count)}
            case ops.Periodic():
                return {
                    "count": _count(operation.count),
                    "period_ns": operation.period,
                    "histogram2": self.histogram("wakeup_latency"),
                    "histogram3": self.histogram("response_time"),
                }
            case ops.Serve():
                row = {"index": self.queue(operation, path), "histogram2": self.histogram("request_latency")}
                if not operation.arrivals.open:
                    seed = arrivals_seed(self.owner.streams, self.owner.guest.name, self.name, path, operation)
                    row["draw"] = add_draw(self.plan, operation.arrivals.gap, seed)
                return row
            case _:
                return {}

    def queue(self, serve: ops.Serve, path: str) -> int:
        try:
            return self.owner.queue(serve, self.name, path)
        except SpecError as problem:
            raise problem.inside(f"{self.where}.{path}.arrivals") from None

    def draw(self, draw: Draw, path: str) -> int:
        seed = 0 if draw.constant else draw_seed(self.owner.streams, self.owner.guest.name, self.name, path)
        return add_draw(self.plan, draw, seed)

    def histogram(self, kind: str) -> int:
        if kind not in self._kinds:
            self._kinds[kind] = self.plan.reserve("histograms", 1)
            self.owner.histograms.append((self.name, kind, self._kinds[kind]))
        return self._kinds[kind]


def add_draw(plan: Plan, draw: Draw, seed: int) -> int:
    """Row of a draw with its own random state."""
    values = plan.words(draw.durations_ns if draw.kind == "empirical" else ())
    bits = struct.unpack("<3q", struct.pack("<3d", *draw.coefficients()))
    return plan.add(
        "draws",
        kind=KINDS.index(draw.kind),
        low_ns=draw.durations_ns[0],
        high_ns=draw.durations_ns[-1],
        values=values["first"],
        values_count=values["count"],
        coefficients=bits,
        state=seed,
    )


def _count(count: int | None) -> int:
    return _ENDLESS if count is None else count


def _short(operation: ops.Operation) -> bool:
    if isinstance(operation, ops.Compute):
        return operation.work.mean_ns < _SHORT_COMPUTE_NS
    return isinstance(operation, _SHORT)
