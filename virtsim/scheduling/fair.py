"""What the fair class's queues have in common: who competes, and what may be asked of a queue.

An :class:`Entity` is a task or a group on one CPU; a :class:`FairQueue` holds the entities that compete
at one level. Virtual time runs at ``NICE_0 / weight`` of real time. How the one that runs is chosen is a matter of the
kernel: :class:`~virtsim.scheduling.eevdf.EevdfQueue` since 6.6, :class:`~virtsim.scheduling.cfs.CfsQueue` before.
Groups, quotas and balancing are the same on both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virtsim.scheduling.load import LoadAverage
from virtsim.scheduling.weight import scale_down, scaling

if TYPE_CHECKING:
    from virtsim.scheduling.cpu import Cpu
    from virtsim.scheduling.group import Group


class Entity:
    """A competitor for CPU time on one queue: a task, or a group's part on one CPU.

    Attributes
    ----------
    load : int
        Weight with ten extra bits; ``weight`` is the same scaled down.
    vruntime, deadline, vprot : int, ns
        Virtual run time, virtual deadline, and the virtual time up to which it is protected; the running one is
        asked about again when it has reached one of the two.
    vlag : int, ns
        Virtual lag kept while it is not on the queue.
    slice_ns : int, ns
        Request size.
    on_queue : bool
        Queued or running; true as well while its dequeue is delayed.
    delayed : bool
        Asleep, but kept on the queue until it is eligible.
    early : bool
        Waiting among those that were not eligible when they came.
    idle_policy : bool
        A task of ``SCHED_IDLE``.
    frame : FairQueue or None
        CFS: the queue in whose virtual time ``vruntime`` is; None while it is counted from the queue's minimum.
    left_ns : int, ns
        CFS: when it left the queue.
    arrival : int
        Which insertion into the queue it was: of those with the same deadline the first goes first.
    """

    __slots__ = (
        "arrival",
        "custom_slice",
        "deadline",
        "delayed",
        "early",
        "factor",
        "frame",
        "idle_policy",
        "left_ns",
        "load",
        "on_queue",
        "owned",
        "parent",
        "queue",
        "relative_deadline",
        "shift",
        "slice_ns",
        "vlag",
        "vprot",
        "vruntime",
        "weight",
    )

    def __init__(self, load: int, slice_ns: int) -> None:
        self.slice_ns = slice_ns
        self.custom_slice = False
        self.vruntime = 0
        self.deadline = 0
        self.vprot = 0
        self.vlag = 0
        self.on_queue = False
        self.delayed = False
        self.early = False
        self.arrival = 0
        self.idle_policy = False
        self.frame: FairQueue | None = None
        self.left_ns = 0
        self.relative_deadline = False
        #: The queue it competes on, its group's entity one level up, and the queue it stands for (groups only).
        self.queue: FairQueue | None = None
        self.parent: Entity | None = None
        self.owned: FairQueue | None = None
        self.set_load(load)

    def set_load(self, load: int) -> None:
        """Change the weight; the caller keeps lag and deadline right (see :meth:`FairQueue.reweight`)."""
        self.load = load
        self.weight = scale_down(load)
        self.factor, self.shift = scaling(load)

    def virtual(self, delta_ns: int) -> int:
        """Virtual time that passes in ``delta_ns`` of running."""
        return (delta_ns * self.factor) >> self.shift

    @property
    def protected(self) -> bool:
        """Whether a woken entity may not preempt it yet."""
        return self.vruntime < self.vprot


class FairQueue:
    """The entities of one group on one CPU.

    Parameters
    ----------
    cpu : Cpu
        Where it is.
    group : Group
        Whose tasks and child groups it holds.

    Attributes
    ----------
    entities : list of Entity
        Who waits; a kind of queue may keep some apart.
    """

    __slots__ = (
        "account_ns",
        "arrivals",
        "cpu",
        "current",
        "detached",
        "entities",
        "entity",
        "group",
        "load_average",
        "queued",
        "remaining_ns",
        "runnable",
        "throttled",
        "throttled_at_ns",
        "total_load",
    )

    def __init__(self, cpu: Cpu, group: Group) -> None:
        self.cpu = cpu
        self.group = group
        #: The group's entity on the parent's queue; None for the root.
        self.entity: Entity | None = None
        self.current: Entity | None = None
        #: Who runs here has been charged up to here, if that is later than for the CPU as a whole.
        self.account_ns = 0
        self.entities: list[Entity] = []
        self.arrivals = 0
        #: Entities on the queue, the running one included; runnable tasks below it.
        self.queued = 0
        self.runnable = 0
        #: Sum of entity loads on the queue.
        self.total_load = 0
        #: Bandwidth: local runtime, whether the group is throttled here, and whether its entity has left for that.
        self.remaining_ns = 0
        self.throttled = False
        self.detached = False
        self.throttled_at_ns = 0
        #: Decayed average of ``total_load``, where shares are distributed over CPUs.
        self.load_average: LoadAverage | None = None

    def waiting(self) -> list[Entity]:
        """All waiting entities."""
        return self.entities

    def insert(self, entity: Entity) -> None:
        """Put an entity among the waiting ones."""
        raise NotImplementedError

    def join(self, entity: Entity, initial: bool = False) -> None:
        """Put an entity on the queue that was not on it; ``initial`` if it is a new task.

        It may still be the running one there: a group whose last task has just blocked is joined by another.
        """
        raise NotImplementedError

    def leave(self, entity: Entity, asleep: bool, may_stay: bool = False) -> bool:
        """Take an entity off the queue, to sleep or to be moved; tells whether it has left.

        One that owes service stays, delayed, if it may.
        """
        raise NotImplementedError

    def take(self, entity: Entity) -> None:
        """Make an entity the running one; its turn begins."""
        raise NotImplementedError

    def pick(self, protect: bool = True) -> Entity | None:
        """Who should run; the running one while it is protected."""
        raise NotImplementedError

    def preempts(self, woken: Entity, running: Entity) -> bool:
        """Whether one that has joined should run at once."""
        raise NotImplementedError

    def renew_deadline(self, entity: Entity) -> bool:
        """The running entity has reached its deadline: give it a new one; tells whether it needed one."""
        return False

    def turn_is_over(self, entity: Entity) -> bool:
        """Whether others should be looked at now, at a tick; asked only where queues decide that at ticks."""
        raise NotImplementedError

    def turn_ns(self, entity: Entity) -> int:
        """How long the running entity may run on end."""
        raise NotImplementedError

    def reweight(self, entity: Entity, load: int) -> None:
        """Change an entity's weight."""
        raise NotImplementedError

    def shortest_slice_ns(self) -> int:
        """The shortest request on the queue, which is its group's request one level up."""
        return 0

    def eligible(self, entity: Entity) -> bool:
        """Whether the entity's lag is not negative: it owes no service."""
        return True

    def settle_delayed(self, entity: Entity) -> None:
        """An entity that slept on the queue is eligible again: now it leaves."""
        raise NotImplementedError

    def rejoin_delayed(self, entity: Entity) -> None:
        """An entity wakes that slept on the queue."""
        raise NotImplementedError

    def favour(self, woken: Entity) -> None:
        """Prefer a woken entity at the next pick (feature ``NEXT_BUDDY``); asked of the running task's queue."""

    def put_first(self, entity: Entity) -> None:
        """Have a waiting entity run before the others: somebody yields to it."""
        raise NotImplementedError
