"""From the operations of the workload language to the events of a platform.

Charged here: the CPU time of the operation itself (the calls, faults, copies, and the interpreter's step).
Charged by the machine, because it depends on who else runs: waiting, switching to and from other tasks,
waking them, timers' latencies. The exceptions are :class:`~virtsim.workload.operations.ForkWait` and
``ForkExec``, whose child runs to its end while the parent waits: their events hold the child's CPU time
and the two switches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from virtsim.platform.mixes import load_mix
from virtsim.platform.topology import Cache, Topology
from virtsim.workload.operations import (
    Compute,
    DiskRead,
    DiskWrite,
    Exit,
    ForkExec,
    ForkWait,
    Lock,
    MapUnmap,
    Operation,
    PacketCall,
    PacketSend,
    PageFault,
    Periodic,
    Receive,
    Repeat,
    Send,
    Serve,
    Signal,
    Sleep,
    SpinLock,
    SpinUnlock,
    Syscall,
    Touch,
    Unlock,
    Work,
    WriteFsync,
)
from virtsim.workload.workload import Workload

_PAGE_BYTES = 4096


class Event(NamedTuple):
    """``times`` events of ``size`` bytes.

    Attributes
    ----------
    event : str
        A name of :data:`virtsim.platform.events.EVENTS`.
    times : float
        How many; ns of the reference core for ``compute``.
    size : int, bytes
        Of each, for events that have a size.
    """

    event: str
    times: float = 1.0
    size: int = 0


#: What the interpreter spends on every operation.
STEP = Event("runner_step")


def operation_events(
    operation: Operation, workload: Workload, topology: Topology, profile: TlbProfile | None = None
) -> tuple[Event, ...]:
    """Events of one execution of an operation, the interpreter's step first.

    Parameters
    ----------
    operation : Operation
        For :class:`Repeat` the step alone; for :class:`Periodic` and :class:`Serve` what one round costs
        besides its body.
    workload : Workload
        Says which channels are pipes.
    topology : Topology
        The host's caches, by which :class:`Touch` is priced.
    profile : TlbProfile, optional
        Of the program that computes.

    Notes
    -----
    A :class:`Compute` of random length counts its mean here; the machine multiplies the rate of
    ``compute`` by the length it draws.
    """
    if profile is not None and isinstance(operation, Compute):
        return (STEP, *compute_events(operation.work.mean_ns, profile))
    return (STEP, *_EVENTS[type(operation)](operation, workload, topology))


class TlbProfile(NamedTuple):
    """How often a program's translations miss.

    Attributes
    ----------
    misses_per_100k : float
        TLB misses in 100 000 instructions; published ones are in the workload card ``tlb``.
    instructions_per_ns : float
        Of the reference core while it does not wait for a walk.
    accesses : float
        Loads and stores for each instruction; assumed: a quarter loads, a tenth stores. They are part of computing,
        but where memory is emulated.
    """

    misses_per_100k: float
    instructions_per_ns: float = 1.0
    accesses: float = 0.35


def compute_events(work_ns: float, profile: TlbProfile | None = None) -> tuple[Event, ...]:
    """Events of computing for ``work_ns`` of the reference core.

    With a profile the work is that of a program whose translations never miss; the misses come on top, each
    a page-table walk, which a stack with two dimensions of tables makes longer. Under an emulator every access is
    looked up in software.

    References
    ----------
    R. Bhargava et al., "Accelerating two-dimensional page walks for virtualized systems", ASPLOS 2008, table 1.
    """
    events = (Event("compute", work_ns),)
    if profile is None:
        return events
    instructions = work_ns * profile.instructions_per_ns
    accesses = Event("memory_access", instructions * profile.accesses)
    return (*events, accesses, Event("tlb_miss", instructions * profile.misses_per_100k / 1e5))


def work_events(unit: str, times: float = 1.0, size: int = 0) -> tuple[Event, ...]:
    """Events of ``times`` units of work: a mix of a workload card, as ``card/mix``, or one event.

    Raises
    ------
    SpecError
        If there is no such card or mix; events are looked up when they are expanded.
    """
    if "/" in unit:
        return tuple(Event(e.event, times * e.times, e.size) for e in load_mix(unit).events)
    return (Event(unit, times, size),)


def contended_events(operation: Operation, workload: Workload) -> tuple[Event, ...]:
    """Events that an operation adds when it has to wait, or to wake a waiter.

    Lock, Unlock and a futex channel enter the kernel only then. Receiving from a pipe that has to be waited for
    makes no call more: the call that waits is the one that receives.
    """
    if isinstance(operation, Lock):
        return (Event("futex_wait"),)
    if isinstance(operation, Unlock):
        return (Event("futex_wake"),)
    if isinstance(operation, Send) and workload.kind_of(operation.channel) == "futex":
        return (Event("futex_wake"),)
    if isinstance(operation, Receive) and workload.kind_of(operation.channel) == "futex":
        return (Event("futex_wait"),)
    if isinstance(operation, Serve):
        return (Event("timer_sleep"),)
    return ()


def _compute(operation: Compute, workload: Workload, topology: Topology) -> tuple[Event, ...]:
    return (Event("compute", operation.work.mean_ns),)


def _touch(operation: Touch, workload: Workload, topology: Topology) -> tuple[Event, ...]:
    return touch_events(operation.pages, operation.stride, operation.working_set, topology)


def _syscall(operation: Syscall, workload: Workload, topology: Topology) -> tuple[Event, ...]:
    return (Event(operation.kind, 1, operation.size),)


def _page_fault(operation: PageFault, workload: Workload, topology: Topology) -> tuple[Event, ...]:
    return (Event("release"), Event("page_fault", operation.pages))


def _send(operation: Send, workload: Workload, topology: Topology) -> tuple[Event, ...]:
    if workload.kind_of(operation.channel) == "pipe":
        return (Event("pipe_write", 1, operation.size),)
    return (Event("atomic"),)


def _receive(operation: Receive, workload: Workload, topology: Topology) -> tuple[Event, ...]:
    if workload.kind_of(operation.channel) == "pipe":
        return (Event("pipe_read", 1, operation.size),)
    return (Event("atomic"),)


def _write_fsync(operation: WriteFsync, workload: Workload, topology: Topology) -> tuple[Event, ...]:
    return (Event("write", 1, operation.size), Event("fsync"))


def _disk(operation: DiskRead | DiskWrite, workload: Workload, topology: Topology) -> tuple[Event, ...]:
    return (Event("file_io", 1, operation.size),)


def _packet_send(operation: PacketSend, workload: Workload, topology: Topology) -> tuple[Event, ...]:
    return (Event("packet_send", 1, operation.size),)


def _packet_call(operation: PacketCall, workload: Workload, topology: Topology) -> tuple[Event, ...]:
    return (Event("packet_send", 1, operation.size), Event("packet_receive", 1, operation.answer))


def _work(operation: Work, workload: Workload, topology: Topology) -> tuple[Event, ...]:
    return work_events(operation.unit, operation.times, operation.size)


def _always(*events: Event) -> Callable[..., tuple[Event, ...]]:
    return lambda operation, workload, topology: events


_EVENTS: dict[type, Callable[[Any, Workload, Topology], tuple[Event, ...]]] = {
    Compute: _compute,
    Touch: _touch,
    Syscall: _syscall,
    MapUnmap: _always(Event("map_unmap")),
    PageFault: _page_fault,
    ForkWait: _always(Event("fork_wait")),
    ForkExec: _always(Event("fork_exec")),
    Send: _send,
    Receive: _receive,
    Signal: _always(Event("signal")),
    Sleep: _always(Event("timer_sleep")),
    Periodic: _always(Event("timer_sleep")),
    Serve: _always(Event("atomic", 2)),
    Lock: _always(Event("atomic")),
    Unlock: _always(Event("atomic")),
    SpinLock: _always(Event("atomic")),
    SpinUnlock: _always(Event("atomic")),
    WriteFsync: _write_fsync,
    DiskRead: _disk,
    DiskWrite: _disk,
    PacketSend: _packet_send,
    PacketCall: _packet_call,
    Work: _work,
    Repeat: _always(),
    Exit: _always(),
}


def touch_events(count: int, stride: int, working_set: int, topology: Topology) -> tuple[Event, ...]:
    """Events of ``count`` writes, ``stride`` bytes apart, round and round a buffer of ``working_set`` bytes.

    Each write finds its line in the first level that can hold all the lines of a round; neighbours on one
    line find it in the first level. A level of ``s`` sets and ``w`` ways holds
    ``w * max(1, s * line / stride)`` lines that lie ``stride`` apart, since a large stride reaches only
    some of the sets; beyond a page the physical addresses are scattered and the stride no longer matters.
    A write misses the TLB when a round visits more pages than it holds.

    References
    ----------
    J. L. Hennessy, D. A. Patterson, *Computer Architecture*, 6th ed., 2017, appendix B (sets and ways).
    """
    line = topology.caches[0].line
    new_lines = count * min(1.0, stride / line)
    lines = max(1, working_set // max(stride, line))
    level = next((i for i, cache in enumerate(topology.caches) if lines <= lines_held(cache, stride)), None)
    name = "touch_memory" if level is None else f"touch_l{level + 1}"
    events = (
        [Event(name, new_lines)]
        if new_lines == count
        else [Event(name, new_lines), Event("touch_l1", count - new_lines)]
    )
    pages = max(1, working_set // max(stride, _PAGE_BYTES))
    if pages > topology.tlb_entries:
        events.append(Event("tlb_miss", count * min(1.0, stride / _PAGE_BYTES)))
    return tuple(events)


def lines_held(cache: Cache, stride: int) -> int:
    """How many lines, ``stride`` bytes apart, a level of cache can hold."""
    sets = cache.size // (cache.line * cache.ways)
    apart = min(max(stride, cache.line), _PAGE_BYTES)
    return cache.ways * max(1, sets * cache.line // apart)
