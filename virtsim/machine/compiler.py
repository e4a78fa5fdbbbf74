"""From a task's program of operations to the heart's instructions.

Every operation becomes CPU time (what its stack charges for it) around what the heart does itself:
waiting, waking, sleeping, forking. Loops whose bodies are nothing but fixed CPU time are folded into
pieces of about :data:`FOLD_NS`, so that a million system calls are not a million events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from virtsim.core.errors import SpecError
from virtsim.core.streams import Streams
from virtsim.machine.devices import GuestDevices, PartTimes
from virtsim.platform.costs import Costs
from virtsim.platform.operations import TlbProfile
from virtsim.scheduling.devices import Port, Ring
from virtsim.scheduling.heart import Heart
from virtsim.scheduling.program import Code, Program, Sampler
from virtsim.scheduling.request import RequestQueue
from virtsim.scheduling.storey import Storey
from virtsim.workload.draw import Draw
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
from virtsim.workload.seeds import arrivals_seed, draw_seed
from virtsim.workload.workload import Task, Workload, walk_program

#: A folded piece of a loop lasts about this long, ns.
FOLD_NS = 1_000_000
#: A pipe holds this many bytes; a writer that found it full is woken when a page of it is free.
PIPE_BYTES = 65_536
PAGE_BYTES = 4096

#: Parts of a forked process's cost: the parent's before, the child's, the parent's after.
FORK_PARTS = (0.5, 0.4)
#: Part of a sleeping call's cost that is spent before the task blocks; the rest delays it when it wakes.
BEFORE_BLOCKING = 0.5

#: Numbers of the histograms a task records.
WAKEUP, RESPONSE, IO = 0, 1, 2

#: Number of each kind of operation in the heart's counts.
OPERATION_KINDS: tuple[type, ...] = (
    Compute, Touch, Syscall, MapUnmap, PageFault, ForkWait, ForkExec, Send, Receive, Signal,
    Sleep, Periodic, Serve, Lock, Unlock, WriteFsync, Repeat, Exit,
    DiskRead, DiskWrite, PacketSend, PacketCall, SpinLock, SpinUnlock, Work,
)  # fmt: skip
OPERATION_NAMES = tuple(str(kind.__struct_config__.tag) for kind in OPERATION_KINDS)  # type: ignore[attr-defined]
_NUMBER = {kind: number for number, kind in enumerate(OPERATION_KINDS)}
_CPU_ONLY = (Compute, Touch, Syscall, MapUnmap, PageFault, Signal, WriteFsync, Work)


class GuestCompiler:
    """Compiles the programs of one guest.

    Parameters
    ----------
    heart : Heart
        Gets the guest's channels, locks and queues.
    guest : str
        Its name.
    workload : Workload
        Its tasks.
    costs : Costs
        Prices on its stack.
    streams : Streams
        Of the run.
    until_ns : int, ns
        Arrivals later than this are not drawn.
    folder : Path, optional
        Where files of arrivals are looked up.
    devices : GuestDevices, optional
        The guest's way to the machine's devices; needed by operations that use one.
    """

    def __init__(
        self,
        heart: Heart,
        guest: str,
        workload: Workload,
        costs: Costs,
        streams: Streams,
        until_ns: int,
        folder: Path | None = None,
        devices: GuestDevices | None = None,
    ) -> None:
        self.devices = devices
        self.heart = heart
        self.guest = guest
        self.workload = workload
        self.costs = costs
        self.streams = streams
        self.until_ns = until_ns
        self.folder = folder
        self._messages: dict[str, int] = {}
        self._spaces: dict[str, int] = {}
        self._locks: dict[str, int] = {}
        self._spinlocks: dict[str, int] = {}
        self._queues: dict[str, int] = {}

    def compile(self, task: Task, process: str) -> Program:
        """The instructions of one process."""
        return _ProgramCompiler(self, task, process).compile(task.program)

    def messages(self, channel: str) -> int:
        """Semaphore of a channel's messages."""
        if channel not in self._messages:
            self._messages[channel] = self.heart.add_semaphore()
        return self._messages[channel]

    def space(self, channel: str, size: int) -> int:
        """Semaphore of a pipe's free space, in messages."""
        if channel not in self._spaces:
            self._spaces[channel] = self.heart.add_semaphore(PIPE_BYTES // size, max(1, PAGE_BYTES // size))
        return self._spaces[channel]

    def lock(self, name: str) -> int:
        """Mutex of a name."""
        if name not in self._locks:
            self._locks[name] = self.heart.add_lock()
        return self._locks[name]

    def spinlock(self, name: str) -> int:
        """Spinlock of a name."""
        assert isinstance(self.heart, Storey)
        if name not in self._spinlocks:
            self._spinlocks[name] = self.heart.add_spinlock()
        return self._spinlocks[name]

    def queue(self, serve: Serve, process: str, path: str) -> int:
        """Queue of requests, shared by all that serve it."""
        if serve.queue not in self._queues:
            seed = arrivals_seed(self.streams, self.guest, process, path, serve)
            arrivals: Iterator[int] = iter(())
            if serve.arrivals.open:
                arrivals = serve.arrivals.times_ns(seed, self.until_ns, self.folder)
            sleep_ns = self.costs.contended_ns(serve, self.workload)
            queue = RequestQueue(serve.queue, arrivals, serve.count, sleep_ns)
            self._queues[serve.queue] = self.heart.add_queue(queue)
        return self._queues[serve.queue]


class _ProgramCompiler:
    """Compiles one process's program."""

    def __init__(self, guest: GuestCompiler, task: Task, process: str) -> None:
        self.guest = guest
        self.profile = TlbProfile(task.tlb_misses) if task.tlb_misses else None
        self.process = process
        self.program = Program()
        self.costs = guest.costs
        self.rate = guest.costs.compute_rate(self.profile)
        self.step_ns = guest.costs.event_ns("runner_step")
        self._last_port = -1
        #: Ports, and the CPU time of a kick, of rings in which requests of this program may be held back.
        self._held: list[tuple[int, int]] = []
        self.emitters: dict[type, Callable[[Any, str], None]] = {
            Compute: self._compute,
            ForkWait: self._fork,
            ForkExec: self._fork,
            Send: self._send,
            Receive: self._receive,
            Sleep: self._sleep,
            Periodic: self._periodic,
            Serve: self._serve,
            Lock: self._lock,
            Unlock: self._unlock,
            SpinLock: self._spin_lock,
            SpinUnlock: self._spin_unlock,
            DiskRead: self._disk,
            DiskWrite: self._disk,
            PacketSend: self._packet_send,
            PacketCall: self._packet_call,
            Repeat: self._repeat,
            Exit: self._exit,
        }

    def compile(self, program: list[Operation]) -> Program:
        self._find_held(program)
        self._body(program, "program")
        self._push()
        self.program.emit(Code.EXIT)
        return self.program

    def _body(self, body: list[Operation], path: str) -> None:
        for i, operation in enumerate(body):
            self.emitters.get(type(operation), self._cpu_only)(operation, f"{path}[{i}]")

    def _cost_ns(self, operation: Operation) -> int:
        try:
            return self.costs.operation_ns(operation, self.guest.workload, self.profile)
        except SpecError as problem:
            if not isinstance(operation, Work):
                raise
            where = f"guest {self.guest.guest!r}, task {self.process!r}: work {operation.unit!r}"
            raise SpecError(where, str(problem)) from None

    def _count(self, operation: Operation, times: int = 1) -> None:
        self.program.emit(Code.COUNT, _NUMBER[type(operation)], times)

    def _sampler(self, draw: Draw, path: str, factor: float = 1.0) -> int:
        seed = draw_seed(self.guest.streams, self.guest.guest, self.process, path)
        return self._add_sampler(Sampler(draw, seed, factor))

    def _add_sampler(self, sampler: Sampler) -> int:
        self.program.samplers.append(sampler)
        return len(self.program.samplers) - 1

    # -- CPU time ---------------------------------------------------------------------------------------------

    def _cpu_only(self, operation: Operation, path: str) -> None:
        self.program.cpu(self._cost_ns(operation))
        self._count(operation)

    def _compute(self, operation: Compute, path: str) -> None:
        if operation.work.constant:
            self._cpu_only(operation, path)
            return
        self.program.cpu(self.step_ns)
        self.program.emit(Code.CPU_DRAWN, self._sampler(operation.work, f"{path}.work", self.rate))
        self._count(operation)

    def _repeat(self, operation: Repeat, path: str) -> None:
        count = operation.count
        fixed_ns = self._fixed_ns(operation.body)
        if fixed_ns is None:
            self._loop(count, lambda: self._body(operation.body, f"{path}.body"))
            self._count(operation)
            return
        rounds = max(1, FOLD_NS // max(fixed_ns, 1))
        if count is None:
            self._loop(None, lambda: self._fold(operation.body, fixed_ns, rounds))
            return
        pieces, rest = divmod(count, rounds)
        if pieces:
            self._loop(pieces, lambda: self._fold(operation.body, fixed_ns, rounds))
        if rest:
            self._fold(operation.body, fixed_ns, rest)
        self._count(operation)

    def _fixed_ns(self, body: list[Operation]) -> int | None:
        """CPU time of a body that is nothing else, always the same; None for other bodies."""
        total_ns = 0
        for operation in body:
            if not isinstance(operation, _CPU_ONLY):
                return None
            if isinstance(operation, Compute) and not operation.work.constant:
                return None
            total_ns += self._cost_ns(operation)
        return total_ns

    def _fold(self, body: list[Operation], fixed_ns: int, rounds: int) -> None:
        self.program.cpu(fixed_ns * rounds)
        counts: dict[type, int] = {}
        for operation in body:
            counts[type(operation)] = counts.get(type(operation), 0) + 1
        for kind, times in counts.items():
            self.program.emit(Code.COUNT, _NUMBER[kind], times * rounds)

    def _loop(self, count: int | None, emit_body: Callable[[], None]) -> None:
        counter = self.program.slot()
        self.program.emit(Code.LOOP_BEGIN, count or 0, counter)
        top = len(self.program)
        emit_body()
        self.program.emit(Code.LOOP_END, top, counter)

    # -- processes --------------------------------------------------------------------------------------------

    def _fork(self, operation: ForkWait | ForkExec, path: str) -> None:
        """The child is a task of its own, so that it may run elsewhere; its cost holds two switches already."""
        cost_ns = max(0, self._cost_ns(operation) - 2 * self.guest.heart.costs.switch_ns)
        before_ns, child_ns = (round(cost_ns * part) for part in FORK_PARTS)
        child = Program()
        child.cpu(child_ns)
        child.emit(Code.EXIT)
        self.program.children.append(child)
        self.program.cpu(before_ns)
        self._push()
        self.program.emit(Code.FORK_WAIT, len(self.program.children) - 1)
        self.program.cpu(cost_ns - before_ns - child_ns)
        self._count(operation)

    def _exit(self, operation: Exit, path: str) -> None:
        self._count(operation)
        self._push()
        self.program.emit(Code.EXIT)

    # -- handing over -----------------------------------------------------------------------------------------

    def _send(self, operation: Send, path: str) -> None:
        pipe = self.guest.workload.kind_of(operation.channel) == "pipe"
        if pipe:
            self.program.emit(Code.WAIT, self.guest.space(operation.channel, operation.size))
        self.program.cpu(self._cost_ns(operation))
        messages = self.guest.messages(operation.channel)
        if pipe:
            self.program.emit(Code.POST_SYNC, messages)
        else:
            self.program.emit(Code.POST, messages, self.costs.contended_ns(operation, self.guest.workload))
        self._count(operation)

    def _receive(self, operation: Receive, path: str) -> None:
        pipe = self.guest.workload.kind_of(operation.channel) == "pipe"
        cost_ns = self._cost_ns(operation)
        before_ns = round(cost_ns * BEFORE_BLOCKING)
        waiting_ns = 0 if pipe else self.costs.contended_ns(operation, self.guest.workload)
        self.program.cpu(before_ns)
        self._push()
        self.program.emit(Code.WAIT, self.guest.messages(operation.channel), waiting_ns)
        self.program.cpu(cost_ns - before_ns)
        if pipe:
            self.program.emit(Code.POST_SYNC, self.guest.space(operation.channel, operation.size))
        self._count(operation)

    def _lock(self, operation: Lock, path: str) -> None:
        self.program.cpu(self._cost_ns(operation))
        waiting_ns = self.costs.contended_ns(operation, self.guest.workload)
        self.program.emit(Code.LOCK, self.guest.lock(operation.name), waiting_ns)
        self._count(operation)

    def _unlock(self, operation: Unlock, path: str) -> None:
        self.program.cpu(self._cost_ns(operation))
        waking_ns = self.costs.contended_ns(operation, self.guest.workload)
        self.program.emit(Code.UNLOCK, self.guest.lock(operation.name), waking_ns)
        self._count(operation)

    def _spin_lock(self, operation: SpinLock, path: str) -> None:
        self.program.cpu(self._cost_ns(operation))
        self.program.emit(Code.SPIN_LOCK, self.guest.spinlock(operation.name))
        self._count(operation)

    def _spin_unlock(self, operation: SpinUnlock, path: str) -> None:
        self.program.cpu(self._cost_ns(operation))
        self.program.emit(Code.SPIN_UNLOCK, self.guest.spinlock(operation.name))
        self._count(operation)

    # -- devices ------------------------------------------------------------------------------------------------

    @property
    def devices(self) -> GuestDevices:
        devices = self.guest.devices
        assert devices is not None, "the builder gives every guest its devices"
        return devices

    def _disk(self, operation: DiskRead | DiskWrite, path: str) -> None:
        awaited = isinstance(operation, DiskRead)
        port, times = self.devices.disk_port(operation.size, awaited)
        since = self._request(port, times)
        if awaited:
            self._push()
            self.program.emit(Code.AWAIT, self._last_port)
            self.program.emit(Code.RECORD_SINCE, IO, since)
        self._count(operation)

    def _packet_send(self, operation: PacketSend, path: str) -> None:
        port, times = self.devices.send_port(operation.size)
        self._request(port, times)
        self._count(operation)

    def _packet_call(self, operation: PacketCall, path: str) -> None:
        port, there, back = self.devices.call_port(operation.size, operation.answer, operation.remote)
        since = self._request(port, there)
        self._push()
        self.program.emit(Code.AWAIT, self._last_port)
        self.program.cpu(back.submit)
        self.program.emit(Code.RECORD_SINCE, IO, since)
        self._count(operation)

    def _request(self, port: Port, times: PartTimes) -> int:
        """Up to the ring, and the kick where there is somebody to be told; the slot of the operation's begin."""
        number = self._last_port = self.guest.heart.add_port(port)
        since = self.program.slot()
        self.program.emit(Code.PERIODIC_BEGIN, 0, since)
        self.program.cpu(self.step_ns + times.submit)
        self.program.emit(Code.SUBMIT, number)
        if times.party:
            self._tell(Code.JUMP_UNLESS_KICK, number, times.kick)
        return since

    def _tell(self, unless: Code, port: int, kick_ns: int) -> None:
        skip = self.program.emit(unless, 0, port)
        self.program.cpu(kick_ns)
        self.program.emit(Code.KICK, port)
        self.program.land(skip)

    def _find_held(self, program: list[Operation]) -> None:
        """Find the rings in which the program leaves requests that are told of in batches."""
        found: dict[Ring, tuple[int, int]] = {}
        for _, operation in walk_program(program, ""):
            if not isinstance(operation, (DiskWrite, PacketSend)):
                continue
            event = "file_io" if isinstance(operation, DiskWrite) else "packet_send"
            times = self.devices.times(event, operation.size)
            if times.party and times.batch > 1:
                port = self._port(operation)
                if port.ring not in found:
                    found[port.ring] = (self.guest.heart.add_port(port), times.kick)
        self._held = list(found.values())

    def _port(self, operation: DiskWrite | PacketSend) -> Port:
        if isinstance(operation, DiskWrite):
            return self.devices.disk_port(operation.size, False)[0]
        return self.devices.send_port(operation.size)[0]

    def _push(self) -> None:
        """Before the task sleeps or ends, back ends are told of what has been held back."""
        for port, kick_ns in self._held:
            self._tell(Code.JUMP_UNLESS_PUSH, port, kick_ns)

    # -- time ---------------------------------------------------------------------------------------------------

    def _sleep(self, operation: Sleep, path: str) -> None:
        cost_ns = self._cost_ns(operation)
        before_ns = round(cost_ns * BEFORE_BLOCKING)
        self.program.cpu(before_ns)
        self._push()
        if operation.time.constant:
            self.program.emit(Code.SLEEP, operation.time.durations_ns[0])
        else:
            self.program.emit(Code.SLEEP_DRAWN, self._sampler(operation.time, f"{path}.time"))
        self.program.cpu(cost_ns - before_ns)
        self._count(operation)

    def _periodic(self, operation: Periodic, path: str) -> None:
        cost_ns = self._cost_ns(operation)
        before_ns = round(cost_ns * BEFORE_BLOCKING)
        due = self.program.slot()
        self.program.emit(Code.PERIODIC_BEGIN, int(path == "program[0]"), due)

        def one_round() -> None:
            self.program.cpu(before_ns)
            self._push()
            self.program.emit(Code.PERIODIC_WAIT, operation.period, due)
            self.program.cpu(cost_ns - before_ns)
            self.program.emit(Code.RECORD_SINCE, WAKEUP, due)
            self._body(operation.body, f"{path}.body")
            self.program.emit(Code.RECORD_SINCE, RESPONSE, due)

        self._loop(operation.count, one_round)
        self._count(operation)

    def _serve(self, operation: Serve, path: str) -> None:
        queue = self.guest.queue(operation, self.process, path)
        request = self.program.slot(2)
        top = len(self.program)
        leave = self.program.emit(Code.JUMP_IF_DONE, 0, queue)
        self.program.cpu(self._cost_ns(operation))
        self._push()
        if operation.arrivals.open:
            self.program.emit(Code.REQUEST_WAIT, queue, request)
        else:
            self._think(operation, path)
            self.program.emit(Code.REQUEST_NOW, queue, request)
        self.program.emit(Code.REQUEST_BEGIN, queue, request)
        self._body(operation.body, f"{path}.body")
        self.program.emit(Code.REQUEST_END, queue, request)
        self.program.emit(Code.JUMP, top)
        self.program.land(leave)
        self._count(operation)

    def _think(self, operation: Serve, path: str) -> None:
        gap = operation.arrivals.gap
        if gap.mean_ns > 0:
            seed = arrivals_seed(self.guest.streams, self.guest.guest, self.process, path, operation)
            self.program.emit(Code.SLEEP_DRAWN, self._add_sampler(Sampler(gap, seed)))
            self.program.cpu(self.costs.contended_ns(operation, self.guest.workload))
