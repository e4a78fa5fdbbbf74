"""Requests on their way: from a task's ring through the back end to the device, and back as an interrupt.

Everything that works on a request is scheduled: the task that asked, the back end as a task of its own, and the
device as a station. Two notifications wake the other side, and each is left out where nobody needs it: the kick,
while the back end is at work; the interrupt, while one is pending, or where the driver has not asked for it.
A driver may tell of a batch of requests at once (one ``virtqueue_kick``, one ``RING_PUSH_REQUESTS_AND_CHECK_NOTIFY``),
and a device interrupt for several completions.

Driver, back end and device may be three kernels' (:mod:`virtsim.scheduling.storey`): each works on its own, with its
clock set to the instant at which another reaches it.

An interrupt is taken by the task that waits for it, as soon as it gets a CPU, or by the owner of the request: at
once where that runs, with its next CPU time where not. Its CPU time is then that task's.

References
----------
OASIS, *Virtual I/O Device (VIRTIO) Version 1.1*, 2019, section 2.6.7 (used and available event indices).
P. Barham et al., SOSP 2003, section 3.4 (I/O rings).
Linux 6.12: ``drivers/virtio/virtio_ring.c`` (``virtqueue_kick_prepare``), ``drivers/net/virtio_net.c`` (``xmit_more``),
``include/xen/interface/io/ring.h``; ``block/blk-core.c`` (``blk_start_plug``: a plug is flushed when its task sleeps).
"""

from __future__ import annotations

from virtsim.scheduling.devices import BackEnd, Port, Request, Ring
from virtsim.scheduling.events import DEVICE
from virtsim.scheduling.interpreter import Interpreter
from virtsim.scheduling.program import GAVE_UP, GO_ON, NEEDS_TIME, Code
from virtsim.scheduling.settings import Kernel, SchedulingCosts
from virtsim.scheduling.task import ENDED, Task

_SUBMIT = int(Code.SUBMIT)
_JUMP_UNLESS_KICK = int(Code.JUMP_UNLESS_KICK)
_KICK = int(Code.KICK)
_AWAIT = int(Code.AWAIT)
_TAKE = int(Code.TAKE)
_FINISH = int(Code.FINISH)
_JUMP_UNLESS_PUSH = int(Code.JUMP_UNLESS_PUSH)

# What a back end has in hand: a request, one that is done, one that is done and about to be told.
_REQUEST, _DONE, _SIGNAL = range(3)
# Where a request is in its device: positioned, transferred, answered.
_POSITIONED, _TRANSFERRED, _ANSWERED = range(3)


class InputOutput(Interpreter):
    """Adds rings, back ends and devices to what tasks can do."""

    __slots__ = ("back_ends", "ports")

    def __init__(self, cpus: int, kernel: Kernel, costs: SchedulingCosts, tick_phase_ns: int, seed: int) -> None:
        super().__init__(cpus, kernel, costs, tick_phase_ns, seed)
        self.ports: list[Port] = []
        self.back_ends: list[BackEnd] = []

    def _extended(self, task: Task, code: int, a: int, b: int) -> int:
        if code == _SUBMIT:
            return self._submit(task, self.ports[a])
        if code == _AWAIT:
            return self._await(task, self.ports[a])
        if code == _TAKE:
            return self._take_next(task, self.back_ends[a])
        if code == _FINISH:
            return self._finish(task, self.back_ends[a])
        if code == _JUMP_UNLESS_KICK:
            if not self._kick_wanted(self.ports[b]):
                task.pc = a
            return GO_ON
        if code == _KICK:
            port = self.ports[a]
            return self._tell(task, port.ring)
        if code == _JUMP_UNLESS_PUSH:
            port = self.ports[b]
            if not self._push_wanted(port.ring):
                task.pc = a
            return GO_ON
        return Interpreter._extended(self, task, code, a, b)

    # -- the driver -------------------------------------------------------------------------------------------

    def _submit(self, task: Task, port: Port) -> int:
        ring = port.ring
        if ring.lazy or ring.handler is task:
            task.burst_ns += self._reap(ring, task)
        if ring.taken >= ring.size:
            ring.blocked.append(task)
            task.pc -= 1
            self._block(task)
            return GAVE_UP
        request = Request(task, port, self.now_ns)
        port.request = request
        if port.answer is not None:
            request.reply = port.request = Request(task, port.answer, self.now_ns)
            port.answer.ring.taken += 1
            port.answer.ring.submitted += 1
        ring.taken += 1
        ring.submitted += 1
        if ring.backend is None:
            ring.working += 1
            self._pass_on(request)
        else:
            ring.available.append(request)
            ring.held += 1
        return NEEDS_TIME if task.burst_ns > 0 else GO_ON

    def _kick_wanted(self, port: Port) -> bool:
        """Whether the back end is told now that a request has been put in."""
        ring = port.ring
        waited_for = port.awaited or port.answer is not None
        if ring.batch > 1 and ring.held < ring.batch and ring.taken < ring.size and not waited_for:
            ring.saved_kicks += 1
            return False
        if self._pushed(ring):
            ring.kicks += 1
            return True
        ring.saved_kicks += 1
        return False

    def _push_wanted(self, ring: Ring) -> bool:
        """Whether the back end is told now of a batch that is not complete."""
        if ring.held == 0 or not self._pushed(ring):
            return False
        # Counted as left out when it was put in.
        ring.saved_kicks -= 1
        ring.kicks += 1
        return True

    def _pushed(self, ring: Ring) -> bool:
        """A batch ends; tells whether somebody has to be told of it."""
        # A back end that was at work may have all of them already; in a batch of one it is told nevertheless.
        unseen = ring.batch == 1 or (ring.held > 0 and len(ring.available) > 0)
        ring.held = 0
        if (ring.listening and unseen) or not ring.suppress:
            ring.listening = False
            return True
        return False

    def _tell(self, task: Task, ring: Ring) -> int:
        backend = ring.backend
        if backend is None or not backend.asleep:
            return GO_ON
        backend.asleep = False
        heart = backend.heart
        heart.now_ns = self.now_ns
        # What waking costs is in the price of the kick.
        heart._wake_back_end(backend, self._cpu_below(task.cpu), False)
        cpu = self.cpus[task.cpu]
        return NEEDS_TIME if cpu.resched else GO_ON

    def _await(self, task: Task, port: Port) -> int:
        request = port.request
        ring = request.port.ring
        if ring.handler is task:
            task.burst_ns += self._reap(ring, task)
        if not request.seen:
            request.waiting = True
            task.pc -= 1
            self._block(task)
            return GAVE_UP
        cpu = self.cpus[task.cpu]
        return NEEDS_TIME if task.burst_ns > 0 or cpu.resched else GO_ON

    def _reap(self, ring: Ring, by: Task) -> int:
        """The driver sees what is done; returns what waking other tasks costs ``by``, ns."""
        if ring.handler is by:
            ring.handler = None
        ring.owed = 0
        if not ring.used:
            return 0
        cost_ns = 0
        done, ring.used = ring.used, []
        for request in done:
            request.seen = True
            ring.taken -= 1
            ring.times.add(self.now_ns - request.submit_ns)
            if request.waiting:
                request.waiting = False
                if request.owner is not by:
                    cost_ns += self.wake(request.owner, by.cpu)
        free = ring.size - ring.taken
        while ring.blocked and free > 0:
            free -= 1
            waiter = ring.blocked.pop(0)
            if waiter is not by:
                cost_ns += self.wake(waiter, by.cpu)
        return cost_ns

    # -- interrupts -------------------------------------------------------------------------------------------

    def _done(self, request: Request) -> bool:
        """The driver may see that a request is done; tells whether it has to be interrupted for it."""
        ring = request.port.ring
        ring.completed += 1
        ring.used.append(request)
        wanted = request.port.awaited or not ring.suppress or not ring.lazy
        if not wanted:
            wanted = len(ring.blocked) > 0 and len(ring.used) >= ring.refill
        if ring.coalesced > 1:
            ring.returned -= 1
            if wanted or ring.owed:
                ring.owed += 1
                wanted = ring.returned == 0 or ring.owed >= ring.coalesced
        if wanted and ring.handler is None and not ring.interrupting:
            if self.now_ns >= ring.quiet_until_ns or self._stands_still(request.owner.cpu):
                ring.owed = 0
                return True
            # The handler is at work and finds it by itself.
            self._charge(request.owner, self._reap(ring, request.owner))
        ring.saved_interrupts += 1
        return False

    def _interrupt(self, request: Request) -> None:
        """Interrupt the driver."""
        request.port.ring.interrupts += 1
        self._take_interrupt(request, -1)

    def _take_interrupt(self, request: Request, cpu: int) -> None:
        """The handler's work on ``cpu`` (-1: where the task is that it wakes): for who waits, or else the owner."""
        ring, task = request.port.ring, request.owner
        ring.interrupting = False
        waits = request.waiting
        if not waits and ring.blocked:
            task = ring.blocked.pop(0)
            waits = True
        if waits:
            request.waiting = False
            task.burst_ns += ring.interrupt_ns
            ring.handler = task
            self.wake(task, task.cpu if cpu < 0 else cpu, True)
        elif task.state == ENDED:
            ring.unclaimed_ns += ring.interrupt_ns
            self._reap(ring, task)
        else:
            ring.quiet_until_ns = self.now_ns + ring.interrupt_ns
            self._charge(task, ring.interrupt_ns + self._reap(ring, task))

    def _charge(self, task: Task, cost_ns: int) -> None:
        """CPU time of an interrupt: at once if the task runs, else with its next CPU time."""
        if cost_ns <= 0:
            return
        cpu = self.cpus[task.cpu]
        if cpu.current is task and not self._stands_still(task.cpu):
            self._follow_burst(cpu, task)
            task.burst_ns += cost_ns
            self._run_on(cpu, task)
        else:
            task.burst_ns += cost_ns

    # -- kernels on virtual CPUs ------------------------------------------------------------------------------

    def _stands_still(self, cpu: int) -> bool:
        """Whether a CPU does not run now, because it is a virtual one."""
        return False

    def _cpu_below(self, cpu: int) -> int:
        """The CPU of the bare machine on which one of this kernel's is now."""
        return cpu

    def _machine(self) -> InputOutput:
        """The kernel on the bare machine, which has the devices."""
        return self

    # -- the back end -----------------------------------------------------------------------------------------

    def _wake_back_end(self, backend: BackEnd, waker_cpu: int, interrupt: bool) -> None:
        """A back end has work: from a guest's kick on a CPU, or from its device's interrupt where it was last."""
        self.wake(backend.task, waker_cpu, interrupt)

    def _take_next(self, task: Task, backend: BackEnd) -> int:
        if backend.finished:
            backend.hand = backend.finished.pop(0)
            backend.phase = _DONE
            task.burst_ns += backend.hand.port.ring.completion_ns
            return NEEDS_TIME if task.burst_ns > 0 else GO_ON
        rings = len(backend.rings)
        for _ in range(rings):
            ring = backend.rings[backend.next_ring]
            backend.next_ring = (backend.next_ring + 1) % rings
            waiting = len(ring.available)
            if ring.hidden:
                waiting -= ring.held
            if waiting > 0:
                ring.listening = False
                ring.working += 1
                backend.hand = ring.available.pop(0)
                backend.phase = _REQUEST
                task.burst_ns += backend.hand.port.backend_ns
                if ring.pass_on_ns > 0:
                    ring.untold += 1
                    if waiting == 1 or ring.untold >= ring.batch:
                        ring.untold = 0
                        task.burst_ns += ring.pass_on_ns
                return NEEDS_TIME if task.burst_ns > 0 else GO_ON
        for ring in backend.rings:
            ring.listening = True
        backend.asleep = True
        task.pc -= 1
        self._block(task)
        task.burst_ns += backend.wake_ns
        return GAVE_UP

    def _finish(self, task: Task, backend: BackEnd) -> int:
        request = backend.hand
        ring = request.port.ring
        if backend.phase == _REQUEST:
            self._pass_on(request)
            return GO_ON
        driver = ring.driver
        driver.now_ns = self.now_ns
        if backend.phase == _DONE:
            if not driver._done(request):
                cpu = self.cpus[task.cpu]
                return NEEDS_TIME if cpu.resched else GO_ON
            backend.phase = _SIGNAL
            if ring.signal_ns > 0:
                task.burst_ns += ring.signal_ns
                task.pc -= 1
                return NEEDS_TIME
        driver._interrupt(request)
        cpu = self.cpus[task.cpu]
        return NEEDS_TIME if cpu.resched else GO_ON

    # -- the device -------------------------------------------------------------------------------------------

    def _pass_on(self, request: Request) -> None:
        machine = self._machine()
        machine.now_ns = self.now_ns
        machine._to_device(request)

    def _to_device(self, request: Request) -> None:
        station = request.port.station
        if not request.port.samplers:
            self._transfer(request)
        elif station.busy < station.ways:
            self._position(request)
        else:
            station.waiting.append(request)

    def _position(self, request: Request) -> None:
        port = request.port
        station = port.station
        station.busy += 1
        request.begun_ns = self.now_ns
        positioning_ns = 0
        for sampler in port.samplers:
            positioning_ns += sampler.sample_ns()
        self.events.push(self.now_ns + positioning_ns, DEVICE, request, _POSITIONED)

    def _transfer(self, request: Request) -> None:
        """The data go over the bus when all before them have."""
        port = request.port
        station = port.station
        begin_ns = self.now_ns if station.bus_free_ns < self.now_ns else station.bus_free_ns
        station.bus_free_ns = begin_ns + port.transfer_ns
        station.bus_busy_ns += port.transfer_ns
        self.events.push(station.bus_free_ns, DEVICE, request, _TRANSFERRED)

    def _device(self, request: Request, stage: int) -> None:
        port = request.port
        if stage == _POSITIONED:
            self._transfer(request)
            return
        if stage == _ANSWERED:
            port.ring.working += 1
            self._to_device(request)
            return
        station = port.station
        station.served += 1
        station.bytes += port.size
        if port.samplers:
            station.busy -= 1
            station.way_busy_ns += self.now_ns - request.begun_ns
            if station.waiting:
                self._position(station.waiting.pop(0))
        if request.reply is not None:
            self.events.push(self.now_ns + port.remote_ns, DEVICE, request.reply, _ANSWERED)
        self._hand_back(request)

    def _hand_back(self, request: Request) -> None:
        """The device is done: it interrupts at once, or when so many are done, or nothing more is to come."""
        ring = request.port.ring
        ring.working -= 1
        if ring.coalesced == 1:
            self._interrupt_for(request)
            return
        ring.done.append(request)
        if len(ring.done) < ring.coalesced and (ring.working > 0 or len(ring.available) > ring.held):
            return
        together, ring.done = ring.done, []
        ring.returned += len(together)
        for done in together:
            self._interrupt_for(done)

    def _interrupt_for(self, request: Request) -> None:
        """The device's interrupt goes to the back end, or to the driver itself."""
        ring = request.port.ring
        backend = ring.backend
        if backend is None:
            driver = ring.driver
            driver.now_ns = self.now_ns
            if driver._done(request):
                driver._interrupt(request)
            return
        heart = backend.heart
        heart.now_ns = self.now_ns
        backend.finished.append(request)
        if len(backend.finished) == 1:
            heart._charge(backend.task, ring.device_ns)
        if backend.asleep:
            backend.asleep = False
            heart._wake_back_end(backend, backend.task.cpu, True)
