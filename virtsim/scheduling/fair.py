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

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from virtsim.scheduling.load import LoadAverage
from virtsim.scheduling.weight import inverse_of, scale_down, virtual

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
        Virtual run time, virtual deadline, and the virtual time up to which it is protected.
    vlag : int, ns
        Virtual lag kept while it is not on the queue.
    slice_ns : int, ns
        Request size.
    on_queue : bool
        Queued or running; true as well while its dequeue is delayed.
    delayed : bool
        Asleep, but kept on the queue until it is eligible.
    """

    __slots__ = (
        "custom_slice",
        "deadline",
        "delayed",
        "inverse",
        "load",
        "on_queue",
        "owned",
        "parent",
        "queue",
        "relative_deadline",
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
        self.inverse = inverse_of(load)

    def virtual(self, delta_ns: int) -> int:
        """Virtual time that passes in ``delta_ns`` of running."""
        return virtual(delta_ns, self.load, self.inverse)

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
        "base_slice_ns",
        "cpu",
        "current",
        "deadlines",
        "entities",
        "entity",
        "group",
        "load_average",
        "queued",
        "remaining_ns",
        "runnable",
        "sum_product",
        "sum_weight",
        "throttled",
        "throttled_above",
        "throttled_at_ns",
        "tick_ns",
        "total_load",
        "zero",
    )

    def __init__(self, cpu: Cpu, group: Group, base_slice_ns: int, tick_ns: int) -> None:
        self.cpu = cpu
        self.group = group
        self.base_slice_ns = base_slice_ns
        self.tick_ns = tick_ns
        #: The group's entity on the parent's queue; None for the root.
        self.entity: Entity | None = None
        self.current: Entity | None = None
        #: Waiting entities and their deadlines, in the same order.
        self.entities: list[Entity] = []
        self.deadlines: list[int] = []
        #: Entities on the queue, the running one included; runnable tasks below it.
        self.queued = 0
        self.runnable = 0
        #: Sums over the waiting entities of weight * (vruntime - zero), and of weight.
        self.sum_product = 0
        self.sum_weight = 0
        self.zero = 0
        #: Sum of entity loads on the queue.
        self.total_load = 0
        #: Bandwidth: local runtime, and whether this group (or one above) is throttled here.
        self.remaining_ns = 0
        self.throttled = False
        self.throttled_at_ns = 0
        #: Decayed average of ``total_load``, where shares are distributed over CPUs.
        self.load_average: LoadAverage | None = None

    # -- the mean of virtual run times ------------------------------------------------------------------

    def mean(self) -> int:
        """V, the weighted mean virtual run time of all entities, rounded towards minus infinity."""
        product, weight = self.sum_product, self.sum_weight
        current = self.current
        if current is not None and current.on_queue:
            product += (current.vruntime - self.zero) * current.weight
            weight += current.weight
        return self.zero + product // weight if weight else self.zero

    def advance_zero(self) -> None:
        """Move the reference point to V, so that the sums stay small."""
        mean = self.mean()
        self.sum_product -= self.sum_weight * (mean - self.zero)
        self.zero = mean

    def eligible(self, entity: Entity) -> bool:
        """Whether the entity's lag is not negative; no division, no rounding."""
        product, weight = self.sum_product, self.sum_weight
        current = self.current
        if current is not None and current.on_queue:
            product += (current.vruntime - self.zero) * current.weight
            weight += current.weight
        return product >= (entity.vruntime - self.zero) * weight

    # -- order --------------------------------------------------------------------------------------------

    def insert(self, entity: Entity) -> None:
        """Put an entity among the waiting ones, behind those with the same deadline."""
        place = bisect_right(self.deadlines, entity.deadline)
        self.deadlines.insert(place, entity.deadline)
        self.entities.insert(place, entity)
        self.sum_product += (entity.vruntime - self.zero) * entity.weight
        self.sum_weight += entity.weight

    def remove(self, entity: Entity) -> None:
        """Take an entity from among the waiting ones."""
        place = bisect_left(self.deadlines, entity.deadline)
        while self.entities[place] is not entity:
            place += 1
        del self.deadlines[place]
        del self.entities[place]
        self.sum_product -= (entity.vruntime - self.zero) * entity.weight
        self.sum_weight -= entity.weight

    def shortest_slice_ns(self) -> int:
        """The shortest request on the queue."""
        slices = [entity.slice_ns for entity in self.entities]
        current = self.current
        if current is not None and current.on_queue:
            slices.append(current.slice_ns)
        return min(slices, default=self.base_slice_ns)

    # -- lag, placement, deadline -------------------------------------------------------------------------

    def keep_lag(self, entity: Entity) -> None:
        """Note the virtual lag, bounded by two slices or a tick, whichever is longer."""
        limit = entity.virtual(max(2 * entity.slice_ns, self.tick_ns))
        self_lag = self.mean() - entity.vruntime
        entity.vlag = min(max(self_lag, -limit), limit)

    def place(self, entity: Entity, initial: bool = False) -> None:
        """Give a joining entity its virtual run time and deadline."""
        if not entity.custom_slice:
            entity.slice_ns = self.base_slice_ns
        lag = 0
        if self.queued and entity.vlag:
            load = self.sum_weight
            current = self.current
            if current is not None and current.on_queue:
                load += current.weight
            lag = _divide(entity.vlag * (load + entity.weight), load or 1)
        entity.vruntime = self.mean() - lag
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
        self.advance_zero()

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
        self.advance_zero()

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
            entity.vlag = _divide(entity.vlag * entity.load, load)
            entity.set_load(load)
            return
        running = entity is self.current
        self.keep_lag(entity)
        self.queued -= 1
        if not running:
            self.remove(entity)
        entity.deadline -= entity.vruntime
        self.total_load += load - entity.load
        entity.vlag = _divide(entity.vlag * entity.load, load)
        entity.deadline = _divide(entity.deadline * entity.load, load)
        entity.relative_deadline = True
        entity.set_load(load)
        self.place(entity)
        if not running:
            self.insert(entity)
        self.queued += 1
        self.advance_zero()

    # -- running --------------------------------------------------------------------------------------------

    def take(self, entity: Entity) -> None:
        """Make an entity the running one and protect its first slice."""
        if entity.on_queue:
            self.remove(entity)
        self.current = entity
        shortest = min(self.shortest_slice_ns(), entity.slice_ns)
        entity.vprot = entity.deadline
        if shortest != entity.slice_ns:
            entity.vprot = min(entity.deadline, entity.vruntime + entity.virtual(shortest))

    def put_back(self) -> None:
        """The running entity waits again, if it is still on the queue."""
        entity = self.current
        self.current = None
        if entity is not None and entity.on_queue:
            self.insert(entity)

    def pick(self, protect: bool = True) -> Entity | None:
        """The eligible entity with the earliest deadline; the running one while it is protected."""
        current = self.current
        if self.queued == 1:
            if current is not None and current.on_queue:
                return current
            return self.entities[0] if self.entities else None
        if current is not None and (not current.on_queue or not self.eligible(current)):
            current = None
        if current is not None and protect and current.vruntime < current.vprot:
            return current
        best = None
        for entity in self.entities:
            if self.eligible(entity):
                best = entity
                break
        if best is None or (current is not None and current.deadline < best.deadline):
            return current
        return best


def _divide(a: int, b: int) -> int:
    """Division that rounds towards zero, as C does."""
    return a // b if (a >= 0) == (b > 0) else -((-a) // b)
