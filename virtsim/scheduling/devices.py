"""Rings, devices and back ends: what requests for input and output queue at.

A request is put into a *ring* by its task. On a bare machine the ring is the device's own queue; in a guest a
*back end*, a task of its own, has to be told (a kick), to run, and to pass the request on. A *station* is the
device: so many requests at a time are positioned, and their data go over one bus, first come first served.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virtsim.scheduling.program import Sampler
from virtsim.scheduling.tally import Tally
from virtsim.scheduling.task import Task

if TYPE_CHECKING:
    from virtsim.scheduling.input_output import InputOutput


class Station:
    """A device: ``ways`` requests at a time, each for a drawn time, and one bus behind them.

    Parameters
    ----------
    name : str
        For records.
    ways : int
        Requests that are positioned at a time (heads, channels). A request keeps its way until its data are over.

    Attributes
    ----------
    busy : int
        Ways in use.
    waiting : list of Request
        For a way.
    way_busy_ns, bus_busy_ns : int, ns
        Time of ways (summed) and of the bus in use, by requests that have begun.
    served, bytes : int
        Requests done, and their data.
    """

    __slots__ = ("bus_busy_ns", "bus_free_ns", "busy", "bytes", "name", "served", "waiting", "way_busy_ns", "ways")

    def __init__(self, name: str, ways: int = 1) -> None:
        self.name = name
        self.ways = ways
        self.busy = 0
        self.waiting: list[Request] = []
        self.bus_free_ns = 0
        self.way_busy_ns = 0
        self.bus_busy_ns = 0
        self.served = 0
        self.bytes = 0


class Ring:
    """Requests of one guest to one device, between its driver and whoever serves them.

    Parameters
    ----------
    name : str
        For records.
    size : int
        Requests that fit in, from their submission until the driver has seen their completion.
    backend : BackEnd or None
        None where the driver reaches the device itself.
    suppress : bool
        Notifications only where the other side has asked for one (event index; Xen's ``req_event``, ``rsp_event``).
    lazy : bool
        The driver looks for completions when it sends anyway, and asks for an interrupt only when the ring is full.
    refill : int
        A driver that found a lazy ring full asks for an interrupt when so many requests are done.
    batch : int
        Requests that its driver puts in before it tells the back end. It tells earlier of one that is waited for,
        when the ring is full, and before its task sleeps or ends.
    hidden : bool
        The back end sees the requests of a batch when it is complete (Xen's ``req_prod``), and not as they are put
        in (virtio's ``avail`` index).
    coalesced : int
        Completions for an interrupt, of the device and to the driver; fewer if none follows that the back end or the
        device have at work.

    Attributes
    ----------
    interrupt_ns : int, ns
        CPU time of the guest for an interrupt.
    device_ns, signal_ns, completion_ns : int, ns
        CPU time of the back end for the device's interrupt, for interrupting the guest, and for one completion.
    pass_on_ns : int, ns
        CPU time of the back end for telling the device of a batch, or of as many as lie there.
    driver : InputOutput
        The kernel whose tasks put requests in, and are interrupted.
    interrupting : bool
        An interrupt is on its way to a virtual CPU that does not run yet.
    used : list of Request
        Done, not seen by the driver.
    taken : int
        Entries in use.
    held : int
        Requests that the back end has not been told of, because their batch is not complete.
    untold : int
        Requests that the back end has taken since it last told the device.
    working : int
        Requests that the back end has taken or the device has, and that are not done there.
    done : list of Request
        Done by the device, which has not interrupted for them.
    returned : int
        Handed to the back end or the driver, and not looked at.
    owed : int
        Completions that the driver has to be interrupted for, and has not been.
    kicks, saved_kicks, interrupts, saved_interrupts : int
        Notifications made, and not made because they were not asked for or one was pending already.
    unclaimed_ns : int, ns
        CPU time of interrupts whose task had ended.
    """

    __slots__ = (
        "available",
        "backend",
        "batch",
        "blocked",
        "coalesced",
        "completed",
        "completion_ns",
        "device_ns",
        "done",
        "driver",
        "handler",
        "held",
        "hidden",
        "interrupt_ns",
        "interrupting",
        "interrupts",
        "kicks",
        "lazy",
        "listening",
        "name",
        "owed",
        "pass_on_ns",
        "quiet_until_ns",
        "refill",
        "returned",
        "saved_interrupts",
        "saved_kicks",
        "signal_ns",
        "size",
        "submitted",
        "suppress",
        "taken",
        "times",
        "unclaimed_ns",
        "untold",
        "used",
        "working",
    )

    def __init__(
        self,
        name: str,
        size: int,
        backend: BackEnd | None = None,
        suppress: bool = True,
        lazy: bool = False,
        refill: int = 1,
        batch: int = 1,
        hidden: bool = False,
        coalesced: int = 1,
    ) -> None:
        self.name = name
        self.size = size
        self.backend = backend
        self.suppress = suppress
        self.lazy = lazy
        self.refill = refill
        self.batch = batch
        self.hidden = hidden and batch > 1
        self.coalesced = coalesced
        self.driver: InputOutput = None  # type: ignore[assignment] # set by the heart that gets the first port
        self.interrupt_ns = 0
        self.device_ns = 0
        self.signal_ns = 0
        self.completion_ns = 0
        self.pass_on_ns = 0
        self.available: list[Request] = []
        self.used: list[Request] = []
        self.blocked: list[Task] = []
        self.taken = 0
        self.held = 0
        self.untold = 0
        self.working = 0
        self.done: list[Request] = []
        self.returned = 0
        self.owed = 0
        self.listening = True
        self.handler: Task | None = None
        self.interrupting = False
        self.quiet_until_ns = 0
        self.submitted = 0
        self.completed = 0
        self.kicks = 0
        self.saved_kicks = 0
        self.interrupts = 0
        self.saved_interrupts = 0
        self.unclaimed_ns = 0
        #: From submission to the driver's seeing the completion.
        self.times = Tally()
        if backend is not None:
            backend.rings.append(self)


class BackEnd:
    """The task that serves rings: a vhost worker, an I/O thread, a driver domain's virtual CPU.

    Attributes
    ----------
    task : Task
        Whose program is TAKE, FINISH and a jump back.
    wake_ns : int, ns
        CPU time it needs when it had gone to sleep, besides the scheduler's own (a switch of virtual CPUs).
    heart : InputOutput
        The kernel that schedules it.
    rings : list of Ring
        Served in turns.
    finished : list of Request
        Which the device is done with.
    """

    __slots__ = ("asleep", "finished", "hand", "heart", "next_ring", "phase", "rings", "task", "wake_ns")

    def __init__(self, wake_ns: int = 0) -> None:
        self.task: Task = None  # type: ignore[assignment] # set by the heart, which needs the back end first
        self.heart: InputOutput = None  # type: ignore[assignment] # as the task
        self.wake_ns = wake_ns
        self.rings: list[Ring] = []
        self.finished: list[Request] = []
        self.hand: Request = None  # type: ignore[assignment] # none before the first
        self.phase = 0
        self.next_ring = 0
        self.asleep = False


class Port:
    """One operation of one task on a ring: what each of its requests needs.

    Parameters
    ----------
    ring : Ring
    station : Station
    transfer_ns : int, ns
        On the bus.
    size : int, bytes
        Of the data.
    samplers : list of Sampler
        Drawn times of positioning, added up; none for a device without.
    awaited : bool
        Whether the task waits for the completion.
    backend_ns : int, ns
        CPU time of the back end for one request.
    answer : Port or None
        The way of the answer, where the request is to somebody behind the device.
    remote_ns : int, ns
        From the end of the request's transfer to the begin of the answer's.
    """

    __slots__ = (
        "answer",
        "awaited",
        "backend_ns",
        "remote_ns",
        "request",
        "ring",
        "samplers",
        "size",
        "station",
        "transfer_ns",
    )

    def __init__(
        self,
        ring: Ring,
        station: Station,
        transfer_ns: int,
        size: int,
        samplers: list[Sampler] | None = None,
        awaited: bool = True,
        backend_ns: int = 0,
        answer: Port | None = None,
        remote_ns: int = 0,
    ) -> None:
        self.ring = ring
        self.station = station
        self.transfer_ns = transfer_ns
        self.size = size
        self.samplers = samplers or []
        self.awaited = awaited
        self.backend_ns = backend_ns
        self.answer = answer
        self.remote_ns = remote_ns
        #: The last request, for which its task may wait.
        self.request: Request = None  # type: ignore[assignment] # none before the first


class Request:
    """One request under way.

    Attributes
    ----------
    seen : bool
        The driver knows that it is done.
    waiting : bool
        Its task is blocked until it is.
    begun_ns : int, ns
        Since when it has had a way of its device.
    """

    __slots__ = ("begun_ns", "owner", "port", "reply", "seen", "submit_ns", "waiting")

    def __init__(self, owner: Task, port: Port, submit_ns: int) -> None:
        self.owner = owner
        self.port = port
        self.submit_ns = submit_ns
        self.begun_ns = submit_ns
        self.seen = False
        self.waiting = False
        self.reply: Request | None = None
