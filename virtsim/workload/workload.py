"""Tasks and the workload they make up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta

from virtsim.core.errors import SpecError
from virtsim.core.spec import CpuSet, Duration, Spec
from virtsim.workload.operations import (
    Compute,
    Lock,
    Name,
    Operation,
    Periodic,
    Receive,
    Repeat,
    Send,
    Serve,
    SpinLock,
    SpinUnlock,
    Touch,
    Unlock,
)

MAX_TASKS = 100_000


class Task(Spec, frozen=True, kw_only=True):
    """One program, run by ``count`` processes.

    Parameters
    ----------
    name : str
        Name inside the guest; with ``count`` > 1 the processes are called ``name.0``, ``name.1``, ...
    program : list of Operation
        What each process does, once; see :class:`~virtsim.workload.operations.Repeat`.
    count : int
        Number of processes.
    nice : int
        -20 to 19. Negative values need privileges on the real back end.
    policy : str
        ``other`` (the fair class), ``batch``, ``idle``, ``fifo`` or ``rr``, which take ``priority``, or ``deadline``,
        which takes ``runtime``, ``deadline`` and ``period``.
    priority : int
        1 to 99, for ``fifo`` and ``rr``.
    runtime, deadline, period : str or int, ns, optional
        Of ``deadline`` tasks: CPU time that is promised before the deadline in every period; the period is the
        deadline if absent.
    slice : str or int, ns, optional
        Requested slice of the fair class, 100us to 100ms (``sched_attr.sched_runtime``).
    cpus : str, optional
        CPUs the task may use, as ``"0,2-3"``.
    start : str or int, ns
        The task begins its program this long after the run's start.
    timer_slack : str or int, ns
        Timer slack of the task; the kernel's default is 50us.
    tlb_misses : float
        TLB misses of 100 000 instructions of its `compute`, an instruction each ns of the reference core; each costs a
        walk of the page tables, which is longer where memory is virtual twice. Model only. The workload card ``tlb``
        has published ones.
    """

    name: Name
    program: Annotated[list[Operation], Meta(min_length=1, max_length=1000)]
    count: Annotated[int, Meta(ge=1, le=MAX_TASKS)] = 1
    nice: Annotated[int, Meta(ge=-20, le=19)] = 0
    policy: Literal["other", "batch", "idle", "fifo", "rr", "deadline"] = "other"
    priority: Annotated[int, Meta(ge=0, le=99)] = 0
    runtime: Duration | None = None
    deadline: Duration | None = None
    period: Duration | None = None
    slice: Duration | None = None
    cpus: CpuSet | None = None
    start: Duration = Duration(0)
    timer_slack: Duration = Duration(50_000)
    tlb_misses: Annotated[float, Meta(ge=0, le=100_000)] = 0.0

    def _check(self) -> None:
        realtime = self.policy in ("fifo", "rr")
        if realtime != (self.priority > 0):
            raise SpecError("priority", "fifo and rr tasks have a priority of 1 to 99, other tasks have none")
        self._check_reservation()
        above_fair = realtime or self.policy == "deadline"
        if self.slice is not None and (above_fair or not 100_000 <= self.slice <= 100_000_000):
            raise SpecError("slice", "a slice is 100us to 100ms, for tasks of the fair class")
        if not 1 <= self.timer_slack <= 10**9:
            raise SpecError("timer_slack", "must be 1ns to 1s")

    def _check_reservation(self) -> None:
        if self.policy != "deadline":
            for name in ("runtime", "deadline", "period"):
                if getattr(self, name) is not None:
                    raise SpecError(name, "only tasks of policy deadline have one")
            return
        if self.runtime is None or self.deadline is None:
            raise SpecError("runtime", "deadline tasks need a runtime and a deadline")
        if not 1024 <= self.runtime <= self.deadline <= (self.period or self.deadline):
            raise SpecError("runtime", "must be at least 1024ns, at most the deadline, and that at most the period")

    @property
    def process_names(self) -> tuple[str, ...]:
        """Names of the processes, in order."""
        if self.count == 1:
            return (self.name,)
        return tuple(f"{self.name}.{i}" for i in range(self.count))


class Workload(Spec, frozen=True, kw_only=True):
    """What runs in one guest.

    Parameters
    ----------
    tasks : list of Task
        At least one; their names differ.
    channels : dict of str to str
        Kind of each channel, ``pipe`` or ``futex``; a channel not named here is a pipe.
    """

    tasks: Annotated[list[Task], Meta(min_length=1, max_length=10_000)]
    channels: dict[Name, Literal["pipe", "futex"]] = {}

    def _check(self) -> None:
        seen: set[str] = set()
        for i, task in enumerate(self.tasks):
            for name in task.process_names if task.count <= MAX_TASKS else ():
                if name in seen:
                    raise SpecError(f"tasks[{i}].name", f"two processes would be called {name!r}")
                seen.add(name)
        self._check_channels()
        self._check_queues()
        for i, task in enumerate(self.tasks):
            _check_locks(task.program, f"tasks[{i}].program", [])

    def _check_channels(self) -> None:
        sizes: dict[str, int] = {}
        ends: dict[str, set[type]] = {}
        for path, operation in self.walk():
            if not isinstance(operation, (Send, Receive)):
                continue
            name = operation.channel
            if sizes.setdefault(name, operation.size) != operation.size:
                raise SpecError(f"{path}.size", f"all messages of channel {name!r} must have one size")
            ends.setdefault(name, set()).add(type(operation))
        for name, kinds in ends.items():
            if kinds == {Receive}:
                raise SpecError("tasks", f"channel {name!r} is received from but never sent to")
        for name in self.channels:
            if name not in ends:
                raise SpecError(f"channels.{name}", "no task uses this channel")

    def _check_queues(self) -> None:
        queues: dict[str, tuple[object, object]] = {}
        for path, operation in self.walk():
            if isinstance(operation, Serve):
                terms = (operation.arrivals, operation.count)
                if queues.setdefault(operation.queue, terms) != terms:
                    raise SpecError(
                        path, f"all servers of queue {operation.queue!r} must have the same arrivals and count"
                    )

    def walk(self) -> Iterator[tuple[str, Operation]]:
        """All operations with their paths, depth first, in program order."""
        for i, task in enumerate(self.tasks):
            yield from walk_program(task.program, f"tasks[{i}].program")

    def kind_of(self, channel: str) -> str:
        """``pipe`` or ``futex``."""
        return self.channels.get(channel, "pipe")

    @property
    def process_count(self) -> int:
        """Number of processes of all tasks."""
        return sum(task.count for task in self.tasks)


def walk_program(program: list[Operation], path: str) -> Iterator[tuple[str, Operation]]:
    """The operations of a program and of the bodies in it, with their paths."""
    for i, operation in enumerate(program):
        here = f"{path}[{i}]"
        yield here, operation
        if isinstance(operation, (Repeat, Periodic, Serve)):
            yield from walk_program(operation.body, f"{here}.body")


#: What takes a lock, and what releases it.
_PAIRS: dict[type, type] = {Lock: Unlock, SpinLock: SpinUnlock}
#: All that may be done with a spinlock held: nothing that could wait.
_WHILE_SPINNING = (Compute, Touch, SpinLock, SpinUnlock)


def _check_locks(program: list[Operation], path: str, held: list[Lock | SpinLock]) -> None:
    """A program takes and releases its locks in pairs within one body, innermost first."""
    mine: list[Lock | SpinLock] = []
    for i, operation in enumerate(program):
        here = f"{path}[{i}]"
        spins = any(isinstance(lock, SpinLock) for lock in held + mine)
        if spins and not isinstance(operation, _WHILE_SPINNING):
            tag = operation.__struct_config__.tag
            raise SpecError(here, f"{tag} may wait, which nobody may while holding a spinlock; release it first")
        if isinstance(operation, (Lock, SpinLock)):
            if any(type(operation) is type(other) and operation.name == other.name for other in held + mine):
                raise SpecError(
                    f"{here}.name", f"lock {operation.name!r} is held already; the task would wait for itself"
                )
            mine.append(operation)
        elif isinstance(operation, (Unlock, SpinUnlock)):
            if not mine or mine[-1].name != operation.name or _PAIRS[type(mine[-1])] is not type(operation):
                raise SpecError(f"{here}.name", f"lock {operation.name!r} is not the last one taken in this body")
            mine.pop()
        elif isinstance(operation, (Repeat, Periodic, Serve)):
            _check_locks(operation.body, f"{here}.body", held + mine)
    if mine:
        raise SpecError(path, f"lock {mine[-1].name!r} is not released in the body that takes it")
