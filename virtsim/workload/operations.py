"""The operations a task's program is made of.

Each is a :class:`~virtsim.core.spec.Spec` with the tag ``op`` in TOML. What an operation costs on a
stack is not its business: that is the platform's expansion. What the real runner does for it is
written in the runner's own interpreter, under the same name.
"""

from __future__ import annotations

from typing import Annotated, Literal, Union

from msgspec import Meta

from virtsim.core.spec import Duration, Size, Spec, explain_pattern
from virtsim.workload.arrivals import Arrivals
from virtsim.workload.draw import Draw

NAME_PATTERN = explain_pattern(
    r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$(?!\n)",
    "a name: 1 to 63 letters, digits, '_', '.' or '-', the first a letter or digit",
)
CARD_PATTERN = explain_pattern(
    r"^(?:[A-Za-z0-9][A-Za-z0-9_.-]{0,62}|[^\x00-\x1f\x7f]{1,240}\.toml)$(?!\n)",
    "a name: 1 to 63 letters, digits, '_', '.' or '-', the first a letter or digit; or the path of a .toml file",
)
Name = Annotated[str, Meta(pattern=NAME_PATTERN)]
#: Of a card: its name, or where it lies.
CardName = Annotated[str, Meta(pattern=CARD_PATTERN)]
Count = Annotated[int, Meta(ge=1, le=10**12)]
Pages = Annotated[int, Meta(ge=1, le=2**22)]
Body = Annotated[list["Operation"], Meta(min_length=1, max_length=1000)]

#: Buffers of one operation are at most this large, bytes.
LARGEST_BUFFER = 64 * 2**20


class _Operation(Spec, frozen=True, kw_only=True, tag_field="op"):
    """Base of all operations."""


class Compute(_Operation, frozen=True, kw_only=True, tag="compute"):
    """Run user-mode instructions for ``work`` of the reference core.

    The reference core does one round of the runner's reference loop in a nanosecond; how fast this
    host's core is in that unit is a price of its card (``compute``).
    """

    work: Draw


class Touch(_Operation, frozen=True, kw_only=True, tag="touch"):
    """Write to ``pages`` places, ``stride`` apart, round a buffer of ``working_set`` bytes.

    The buffer is the task's own, one for each size, and is faulted in when the task starts.
    """

    pages: Pages
    stride: Size = Size(4096)
    working_set: Size = Size(2**20)

    def _check(self) -> None:
        if not 1 <= self.working_set <= 2**32:
            raise ValueError("working_set must be 1B to 4GiB")
        if not 1 <= self.stride <= self.working_set:
            raise ValueError("stride must be at least 1B and at most the working set")


class Syscall(_Operation, frozen=True, kw_only=True, tag="syscall"):
    """One system call (``open_close`` is two).

    ``null`` does nothing in the kernel; ``stat``, ``open_close``, ``read`` and ``write`` act on a file
    in tmpfs, the last two on its first ``size`` bytes.
    """

    kind: Literal["null", "stat", "open_close", "read", "write"] = "null"
    size: Size = Size(0)

    def _check(self) -> None:
        if self.size > LARGEST_BUFFER:
            raise ValueError("size must be at most 64MiB")
        if self.size and self.kind not in ("read", "write"):
            raise ValueError(f"only read and write have a size, {self.kind} has none")


class MapUnmap(_Operation, frozen=True, kw_only=True, tag="map_unmap"):
    """Map ``pages`` anonymous pages and unmap them, untouched."""

    pages: Pages = 1


class PageFault(_Operation, frozen=True, kw_only=True, tag="page_fault"):
    """Take ``pages`` minor faults on anonymous memory that was given back to the kernel before."""

    pages: Pages = 1


class ForkWait(_Operation, frozen=True, kw_only=True, tag="fork_wait"):
    """Fork a child that exits at once, and wait for it."""


class ForkExec(_Operation, frozen=True, kw_only=True, tag="fork_exec"):
    """Fork a child that executes a minimal static program, and wait for its exit."""


class Send(_Operation, frozen=True, kw_only=True, tag="send"):
    """Hand a message of ``size`` bytes to ``channel``; never blocks unless a pipe is full.

    A channel is a pipe or, where the workload says so, a futex (a counter without data).
    """

    channel: Name
    size: Annotated[Size, Meta()] = Size(1)

    def _check(self) -> None:
        if not 1 <= self.size <= 4096:
            raise ValueError("size must be 1B to 4KiB (one atomic pipe write)")


class Receive(_Operation, frozen=True, kw_only=True, tag="receive"):
    """Take a message of ``size`` bytes from ``channel``; blocks while there is none."""

    channel: Name
    size: Size = Size(1)

    def _check(self) -> None:
        if not 1 <= self.size <= 4096:
            raise ValueError("size must be 1B to 4KiB (one atomic pipe read)")


class Signal(_Operation, frozen=True, kw_only=True, tag="signal"):
    """Send a signal to oneself and run its handler."""


class Sleep(_Operation, frozen=True, kw_only=True, tag="sleep"):
    """Sleep for ``time``, relative, with the task's timer slack."""

    time: Draw


class Periodic(_Operation, frozen=True, kw_only=True, tag="periodic"):
    """Run ``body`` at every multiple of ``period`` after the operation began, by an absolute timer.

    As the first operation of a program it begins at the task's start, whenever the task first gets a CPU.

    Records for each round the *wake-up latency* (from the due time until the task runs) and the
    *response time* (from the due time until the body is done). A round that is late does not move the
    later ones. ``count`` rounds, or until the end of the run.
    """

    period: Duration
    body: Body
    count: Count | None = None

    def _check(self) -> None:
        if not 1_000 <= self.period <= 3600 * 10**9:
            raise ValueError("period must be 1us to 1h")


class Serve(_Operation, frozen=True, kw_only=True, tag="serve"):
    """Serve requests: wait for the next arrival, run ``body``, note the request's latency.

    Tasks of one guest whose ``queue`` has the same name share one first-come-first-served queue. In an
    open loop the latency runs from the arrival, in a closed loop from the end of the think time.
    ``count`` requests in all for the queue, or until the end of the run.
    """

    arrivals: Arrivals
    body: Body
    count: Count | None = None
    queue: Name = "requests"


class Lock(_Operation, frozen=True, kw_only=True, tag="lock"):
    """Take the guest's mutex ``name`` (a futex: no system call when it is free)."""

    name: Name


class Unlock(_Operation, frozen=True, kw_only=True, tag="unlock"):
    """Release the guest's mutex ``name``; wakes one waiter, if any."""

    name: Name


class SpinLock(_Operation, frozen=True, kw_only=True, tag="spin_lock"):
    """Take the spinlock ``name`` of the guest's kernel, spinning while somebody else has it. Model only.

    Who spins for it or holds it is not preempted by its own kernel, but may be by the hypervisor below; the guest's
    ``machine.spinning`` says what happens then. Only computing is allowed until it is released.
    """

    name: Name


class SpinUnlock(_Operation, frozen=True, kw_only=True, tag="spin_unlock"):
    """Release the spinlock ``name`` of the guest's kernel. Model only."""

    name: Name


class WriteFsync(_Operation, frozen=True, kw_only=True, tag="write_fsync"):
    """Write ``size`` bytes at the start of a file in tmpfs and fsync it."""

    size: Size = Size(4096)

    def _check(self) -> None:
        if not 1 <= self.size <= LARGEST_BUFFER:
            raise ValueError("size must be 1B to 64MiB")


class DiskRead(_Operation, frozen=True, kw_only=True, tag="disk_read"):
    """Read ``size`` bytes from the host's disk, past the page cache, and wait for them. Model only."""

    size: Size = Size(4096)

    def _check(self) -> None:
        if not 1 <= self.size <= LARGEST_BUFFER:
            raise ValueError("size must be 1B to 64MiB")


class DiskWrite(_Operation, frozen=True, kw_only=True, tag="disk_write"):
    """Hand ``size`` bytes to the host's disk and go on; blocks while the device's queue is full. Model only."""

    size: Size = Size(4096)

    def _check(self) -> None:
        if not 1 <= self.size <= LARGEST_BUFFER:
            raise ValueError("size must be 1B to 64MiB")


class PacketSend(_Operation, frozen=True, kw_only=True, tag="packet_send"):
    """Send ``size`` bytes over the host's network device and go on; blocks while the ring is full. Model only."""

    size: Size = Size(1448)

    def _check(self) -> None:
        if not 1 <= self.size <= 65_536:
            raise ValueError("size must be 1B to 64KiB (one call of the stack with segmentation offload)")


class PacketCall(_Operation, frozen=True, kw_only=True, tag="packet_call"):
    """Send ``size`` bytes to a remote machine, which answers with ``answer`` bytes after ``remote``. Model only.

    ``remote`` is all that lies behind this host's own network device: the way there, the work, the way back.
    """

    size: Size = Size(64)
    answer: Size = Size(64)
    remote: Duration = Duration(0)

    def _check(self) -> None:
        if not 1 <= self.size <= 65_536 or not 1 <= self.answer <= 65_536:
            raise ValueError("size and answer must be 1B to 64KiB")


class Work(_Operation, frozen=True, kw_only=True, tag="work"):
    """Spend the CPU time of ``times`` units of work on the task's stack. Model only.

    ``unit`` is a mix of a workload card (``"units-of-work/compile"``) or one event of the platform: privileged and
    sensitive instructions (``cpuid``, ``msr_access``, ``port_io``), page-table updates (``pte_map``, ``pte_protect``),
    signals between processors (``ipi_send``), ticks, interrupts, and all that programs ask of kernels. ``size`` is
    for events that have one. What others spend on it is the task's, too, and nothing is waited for: operations on
    devices, locks and channels are those that wait.
    """

    unit: Annotated[str, Meta(min_length=1, max_length=130)]
    times: Annotated[float, Meta(gt=0, le=1e9)] = 1.0
    size: Size = Size(0)

    def _check(self) -> None:
        if not 0 <= self.size <= LARGEST_BUFFER:
            raise ValueError("size must be at most 64MiB")


class Repeat(_Operation, frozen=True, kw_only=True, tag="repeat"):
    """Run ``body`` ``count`` times, or until the end of the run."""

    body: Body
    count: Count | None = None


class Exit(_Operation, frozen=True, kw_only=True, tag="exit"):
    """End the task."""


Operation = Union[
    Compute,
    Touch,
    Syscall,
    MapUnmap,
    PageFault,
    ForkWait,
    ForkExec,
    Send,
    Receive,
    Signal,
    Sleep,
    Periodic,
    Serve,
    Lock,
    Unlock,
    WriteFsync,
    DiskRead,
    DiskWrite,
    PacketSend,
    PacketCall,
    SpinLock,
    SpinUnlock,
    Work,
    Repeat,
    Exit,
]

#: Those that use the host's devices; the real back end has none of them.
DEVICE_OPERATIONS = (DiskRead, DiskWrite, PacketSend, PacketCall)
