"""Earliest eligible virtual deadline first (EEVDF), as Linux has it since 6.6, on one run-queue of one CPU.

An :class:`Entity` is a task or a group on one CPU; a :class:`FairQueue` holds the entities that compete
at one level. Virtual time runs at ``NICE_0 / weight`` of real time. With V the load-weighted mean of the
virtual run times, an entity is *eligible* while its lag ``w (V - v)`` is not negative; among the eligible
the one with the earliest virtual deadline ``v + slice * NICE_0 / w`` runs.

Features that decide what is seen from outside, and how they are modelled:

- *run to parity*: a picked entity is protected until ``vprot``, its deadline or the shortest slice on the queue;
- *place lag*: an entity keeps its lag over sleep, inflated so that joining does not eat it up;
- *delayed dequeue*: one that sleeps while it owes service stays queued until it is eligible again;
- *relative deadline*: one that is moved or reweighted keeps the distance to its deadline.

References
----------
I. Stoica, H. Abdel-Wahab, "Earliest Eligible Virtual Deadline First", TR-95-22, Old Dominion University, 1995.
Linux ``kernel/sched/fair.c``, 6.18: ``place_entity``, ``update_entity_lag``, ``__pick_eevdf``, ``set_protect_slice``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virtsim.scheduling.load import LoadAverage
from virtsim.scheduling.weight import scale_down, scaling

if TYPE_CHECKING:
    from virtsim.scheduling.cpu import Cpu
    from virtsim.scheduling.group import Group

#: Queues longer than this keep what is not eligible apart, so that picks need not look at it.
LONG_QUEUE = 32


class Entity:
    """A competitor for CPU time on one queue: a task, or a group's part on one CPU.

    Attributes
    ----------
    load : int
        Weight with ten extra bits; ``weight`` is the same scaled down.
    vruntime, deadline, vprot : int, ns
        Virtual run time, virtual deadline, and the virtual time up to which it is protected.
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
    """The entities of one group on one CPU, ordered by virtual deadline.

    Parameters
    ----------
    cpu : Cpu
        Where it is.
    group : Group
        Whose tasks and child groups it holds.
    base_slice_ns, tick_ns : int, ns
        The kernel's base slice (scaled by the number of CPUs) and tick.
    """

    __slots__ = (
        "arrivals",
        "base_slice_ns",
        "cpu",
        "current",
        "detached",
        "early",
        "entities",
        "entity",
        "group",
        "load_average",
        "longer_slices",
        "queued",
        "remaining_ns",
        "runnable",
        "shortest_count",
        "shortest_ns",
        "sum_product",
        "sum_weight",
        "throttled",
        "throttled_at_ns",
        "tick_ns",
        "total_load",
    )

    def __init__(self, cpu: Cpu, group: Group, base_slice_ns: int, tick_ns: int) -> None:
        self.cpu = cpu
        self.group = group
        self.base_slice_ns = base_slice_ns
        self.tick_ns = tick_ns
        #: The group's entity on the parent's queue; None for the root.
        self.entity: Entity | None = None
        self.current: Entity | None = None
        #: Waiting entities by deadline, but on long queues those that came too early, latest first.
        self.entities: list[Entity] = []
        self.early: list[Entity] = []
        self.arrivals = 0
        #: Their shortest request, how many have it, and how many have each longer one.
        self.shortest_ns = 0
        self.shortest_count = 0
        self.longer_slices: dict[int, int] = {}
        #: Entities on the queue, the running one included; runnable tasks below it.
        self.queued = 0
        self.runnable = 0
        #: Sums over the waiting entities of weight * vruntime, and of weight.
        self.sum_product = 0
        self.sum_weight = 0
        #: Sum of entity loads on the queue.
        self.total_load = 0
        #: Bandwidth: local runtime, whether the group is throttled here, and whether its entity has left for that.
        self.remaining_ns = 0
        self.throttled = False
        self.detached = False
        self.throttled_at_ns = 0
        #: Decayed average of ``total_load``, where shares are distributed over CPUs.
        self.load_average: LoadAverage | None = None

    # -- the mean of virtual run times ------------------------------------------------------------------

    def mean(self) -> int:
        """V, the weighted mean virtual run time of all entities, rounded down; an empty queue begins at 0 again."""
        product, weight = self.sum_product, self.sum_weight
        current = self.current
        if current is not None and current.on_queue:
            product += current.vruntime * current.weight
            weight += current.weight
        return product // weight if weight else 0

    def eligible(self, entity: Entity) -> bool:
        """Whether the entity's lag is not negative; no division, no rounding."""
        product, weight = self.sum_product, self.sum_weight
        current = self.current
        if current is not None and current.on_queue:
            product += current.vruntime * current.weight
            weight += current.weight
        return product >= entity.vruntime * weight

    # -- order --------------------------------------------------------------------------------------------

    def insert(self, entity: Entity) -> None:
        """Put an entity among the waiting ones, behind those with the same deadline."""
        self.arrivals += 1
        entity.arrival = self.arrivals
        self.sum_product += entity.vruntime * entity.weight
        self.sum_weight += entity.weight
        if entity.slice_ns == self.shortest_ns and self.shortest_count:
            self.shortest_count += 1
        else:
            self._count_slice(entity.slice_ns)
        if len(self.entities) > LONG_QUEUE and not self.eligible(entity):
            entity.early = True
            self.early.insert(_place_by_vruntime(self.early, entity), entity)
        else:
            self.entities.insert(_place_by_deadline(self.entities, entity), entity)

    def remove(self, entity: Entity) -> None:
        """Take an entity from among the waiting ones."""
        self.sum_product -= entity.vruntime * entity.weight
        self.sum_weight -= entity.weight
        if entity.slice_ns == self.shortest_ns and self.shortest_count > 1:
            self.shortest_count -= 1
        else:
            self._forget_slice(entity.slice_ns)
        if entity.early:
            entity.early = False
            del self.early[_place_by_vruntime(self.early, entity)]
        else:
            del self.entities[_place_by_deadline(self.entities, entity)]

    def _admit(self) -> None:
        """Those that came too early and have become eligible wait by deadline from now on."""
        while self.early:
            entity = self.early[-1]
            if not self.eligible(entity):
                return
            self.early.pop()
            entity.early = False
            self.entities.insert(_place_by_deadline(self.entities, entity), entity)

    def waiting(self) -> list[Entity]:
        """All waiting entities."""
        return self.entities + self.early

    def shortest_slice_ns(self) -> int:
        """The shortest request on the queue."""
        current = self.current
        if current is None or not current.on_queue:
            return self.shortest_ns if self.shortest_count else self.base_slice_ns
        if self.shortest_count and self.shortest_ns < current.slice_ns:
            return self.shortest_ns
        return current.slice_ns

    def _count_slice(self, slice_ns: int) -> None:
        if self.shortest_count == 0:
            self.shortest_ns = slice_ns
        elif slice_ns > self.shortest_ns:
            self.longer_slices[slice_ns] = self.longer_slices.get(slice_ns, 0) + 1
            return
        elif slice_ns < self.shortest_ns:
            self.longer_slices[self.shortest_ns] = self.shortest_count
            self.shortest_ns, self.shortest_count = slice_ns, 0
        self.shortest_count += 1

    def _forget_slice(self, slice_ns: int) -> None:
        longer = self.longer_slices
        if slice_ns != self.shortest_ns:
            longer[slice_ns] -= 1
            if longer[slice_ns] == 0:
                del longer[slice_ns]
            return
        self.shortest_count -= 1
        if self.shortest_count == 0 and longer:
            self.shortest_ns = min(longer)
            self.shortest_count = longer.pop(self.shortest_ns)

    # -- lag, placement, deadline -------------------------------------------------------------------------

    def keep_lag(self, entity: Entity) -> None:
        """Note the virtual lag, bounded by two slices or a tick, whichever is longer."""
        limit = 2 * entity.slice_ns
        if limit < self.tick_ns:
            limit = self.tick_ns
        limit = (limit * entity.factor) >> entity.shift
        lag = self.mean() - entity.vruntime
        if lag > limit:
            lag = limit
        elif lag < -limit:
            lag = -limit
        entity.vlag = lag

    def place(self, entity: Entity, initial: bool = False) -> None:
        """Give a joining entity its virtual run time and deadline."""
        if not entity.custom_slice:
            entity.slice_ns = self.base_slice_ns
        product, weight = self.sum_product, self.sum_weight
        current = self.current
        if current is not None and current.on_queue:
            product += current.vruntime * current.weight
            weight += current.weight
        entity.vruntime = product // weight if weight else 0
        if entity.vlag and self.queued:
            entity.vruntime -= _proportion(entity.vlag, weight + entity.weight, weight or 1)
        if entity.relative_deadline:
            entity.deadline += entity.vruntime
            entity.relative_deadline = False
            return
        request = entity.virtual(entity.slice_ns)
        entity.deadline = entity.vruntime + (request // 2 if initial else request)

    def renew_deadline(self, entity: Entity) -> bool:
        """Give an entity that has used its request a new one; tells whether it did."""
        if entity.vruntime < entity.deadline:
            return False
        if not entity.custom_slice:
            entity.slice_ns = self.base_slice_ns
        entity.deadline = entity.vruntime + entity.virtual(entity.slice_ns)
        return True

    # -- joining and leaving --------------------------------------------------------------------------------

    def join(self, entity: Entity, initial: bool = False) -> None:
        """Put an entity on the queue that was not on it.

        It may still be the running one there: a group whose last task has just blocked is joined by another.
        """
        self.place(entity, initial)
        if entity is not self.current:
            self.insert(entity)
        self.total_load += entity.load
        self.queued += 1
        entity.on_queue = True

    def leave(self, entity: Entity, asleep: bool) -> None:
        """Take an entity off the queue; its lag is kept, and its relative deadline unless it sleeps."""
        self.keep_lag(entity)
        if entity is not self.current:
            self.remove(entity)
        if not asleep:
            entity.deadline -= entity.vruntime
            entity.relative_deadline = True
        entity.on_queue = False
        self.total_load -= entity.load
        self.queued -= 1

    def settle_delayed(self, entity: Entity) -> None:
        """An entity that slept on the queue is eligible again: now it leaves, and owes nothing more."""
        self.leave(entity, asleep=True)
        entity.delayed = False
        entity.vlag = min(entity.vlag, 0)

    def rejoin_delayed(self, entity: Entity) -> None:
        """An entity wakes while its dequeue is delayed; credit it has gathered asleep is dropped."""
        self.keep_lag(entity)
        if entity.vlag > 0:
            self.queued -= 1
            if entity is not self.current:
                self.remove(entity)
            entity.vlag = 0
            self.place(entity)
            if entity is not self.current:
                self.insert(entity)
            self.queued += 1
        entity.delayed = False

    def reweight(self, entity: Entity, load: int) -> None:
        """Change an entity's weight so that its lag and the distance to its deadline stay the same in real time."""
        if not entity.on_queue:
            entity.vlag = _proportion(entity.vlag, entity.load, load)
            entity.set_load(load)
            return
        running = entity is self.current
        self.keep_lag(entity)
        self.queued -= 1
        if not running:
            self.remove(entity)
        entity.deadline -= entity.vruntime
        self.total_load += load - entity.load
        entity.vlag = _proportion(entity.vlag, entity.load, load)
        entity.deadline = _proportion(entity.deadline, entity.load, load)
        entity.relative_deadline = True
        entity.set_load(load)
        self.place(entity)
        if not running:
            self.insert(entity)
        self.queued += 1

    # -- running --------------------------------------------------------------------------------------------

    def take(self, entity: Entity) -> None:
        """Make an entity the running one and protect its first slice."""
        if entity.on_queue:
            self.remove(entity)
        self.current = entity
        entity.vprot = entity.deadline
        if self.shortest_count and self.shortest_ns < entity.slice_ns:
            vprot = entity.vruntime + entity.virtual(self.shortest_ns)
            if vprot < entity.vprot:
                entity.vprot = vprot

    def pick(self, protect: bool = True) -> Entity | None:
        """The eligible entity with the earliest deadline; the running one while it is protected."""
        current = self.current
        if self.early:
            self._admit()
        if self.queued == 1:
            if current is not None and current.on_queue:
                return current
            return self.entities[0] if self.entities else None
        product, weight = self.sum_product, self.sum_weight
        if current is not None:
            if current.on_queue:
                product += current.vruntime * current.weight
                weight += current.weight
                if product < current.vruntime * weight:
                    current = None
                elif protect and current.vruntime < current.vprot:
                    return current
            else:
                current = None
        for entity in self.entities:
            if product >= entity.vruntime * weight:
                return entity if current is None or current.deadline >= entity.deadline else current
        return current


def _proportion(value: int, part: int, whole: int) -> int:
    """``value * part / whole``, rounded towards zero as C does; ``part`` and ``whole`` are positive."""
    product = value * part
    return product // whole if product >= 0 else -(-product // whole)


def _place_by_deadline(entities: list[Entity], entity: Entity) -> int:
    """How many entities have an earlier deadline, or the same and came before."""
    deadline = entity.deadline
    low, high = 0, len(entities)
    while low < high:
        middle = (low + high) >> 1
        other = entities[middle]
        if other.deadline < deadline or (other.deadline == deadline and other.arrival < entity.arrival):
            low = middle + 1
        else:
            high = middle
    return low


def _place_by_vruntime(entities: list[Entity], entity: Entity) -> int:
    """How many entities have a later virtual run time, or the same and came afterwards."""
    vruntime = entity.vruntime
    low, high = 0, len(entities)
    while low < high:
        middle = (low + high) >> 1
        other = entities[middle]
        if other.vruntime > vruntime or (other.vruntime == vruntime and other.arrival > entity.arrival):
            low = middle + 1
        else:
            high = middle
    return low
