"""Earliest eligible virtual deadline first (EEVDF), as Linux has it since 6.6, on one run-queue of one CPU.

With V the load-weighted mean of the virtual run times, an entity is *eligible* while its lag ``w (V - v)`` is not
negative; among the eligible the one with the earliest virtual deadline ``v + slice * NICE_0 / w`` runs.

Features that decide what is seen from outside (:mod:`virtsim.scheduling.features` says since when), and how they
are modelled:

- *run to parity*: a picked entity is protected until ``vprot``, its deadline or, since 6.17, the shortest slice on the
  queue;
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

from virtsim.scheduling.fair import Entity, FairQueue
from virtsim.scheduling.settings import Kernel
from virtsim.scheduling.words import Words

if TYPE_CHECKING:
    from virtsim.scheduling.cpu import Cpu
    from virtsim.scheduling.group import Group

#: Queues longer than this keep what is not eligible apart, so that picks need not look at it.
LONG_QUEUE = 32


class EevdfQueue(FairQueue):
    """The entities of one group on one CPU, ordered by virtual deadline.

    Parameters
    ----------
    cpu : Cpu
        Where it is.
    group : Group
        Whose tasks and child groups it holds.
    kernel : Kernel
        Base slice, tick and features.
    """

    __slots__ = (
        "base_slice_ns",
        "deadlines",
        "delay_zero",
        "early",
        "halve_first",
        "keep_deadlines",
        "keep_lags",
        "least_slice_ns",
        "longer_slices",
        "protecting",
        "short_preempts",
        "shortest_count",
        "shortest_ns",
        "sum_product",
        "sum_weight",
        "tick_ns",
        "whole_requests",
    )

    def __init__(self, cpu: Cpu, group: Group, kernel: Kernel) -> None:
        super().__init__(cpu, group)
        self.base_slice_ns = kernel.base_slice_ns
        self.tick_ns = kernel.tick_ns
        #: The deadlines of those in ``entities``, in the same order.
        self.deadlines = Words()
        #: On long queues those that came too early wait apart from ``entities``, latest first.
        self.early: list[Entity] = []
        #: The shortest request of those that wait, how many have it, and how many have each longer one.
        self.shortest_ns = 0
        self.shortest_count = 0
        self.longer_slices: dict[int, int] = {}
        #: Sums over the waiting entities of weight * vruntime, and of weight.
        self.sum_product = 0
        self.sum_weight = 0
        self.keep_lags = kernel.has("PLACE_LAG")
        self.keep_deadlines = kernel.has("PLACE_REL_DEADLINE")
        self.halve_first = kernel.has("PLACE_DEADLINE_INITIAL")
        self.delay_zero = kernel.has("DELAY_ZERO")
        self.short_preempts = kernel.has("PREEMPT_SHORT")
        # Before 6.17 whoever was picked was protected for its whole request, or not at all.
        parity = kernel.has("RUN_TO_PARITY")
        recent = kernel.version >= (6, 17)
        self.whole_requests = not recent
        self.protecting = parity or recent
        self.least_slice_ns = kernel.least_slice_ns if recent and not parity else 0

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
            self.entities.insert(self.deadlines.sort_in(entity.deadline), entity)

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
            place = self.deadlines.take_out(entity.deadline)
            if self.entities[place] is not entity:
                place = _place_by_deadline(self.deadlines, self.entities, entity)
            del self.entities[place]

    def _admit(self) -> None:
        """Those that came too early and have become eligible wait by deadline from now on."""
        while self.early:
            entity = self.early[-1]
            if not self.eligible(entity):
                return
            self.early.pop()
            entity.early = False
            place = _place_by_deadline(self.deadlines, self.entities, entity)
            self.entities.insert(place, entity)
            self.deadlines.insert(place, entity.deadline)

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
        if entity.vlag and self.queued and self.keep_lags:
            entity.vruntime -= _proportion(entity.vlag, weight + entity.weight, weight or 1)
        if entity.relative_deadline:
            entity.deadline += entity.vruntime
            entity.relative_deadline = False
            return
        request = entity.virtual(entity.slice_ns)
        entity.deadline = entity.vruntime + (request // 2 if initial and self.halve_first else request)

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
        """Put an entity on the queue that was not on it; ``initial`` if it is a new task."""
        self.place(entity, initial)
        if entity is not self.current:
            self.insert(entity)
        self.total_load += entity.load
        self.queued += 1
        entity.on_queue = True

    def leave(self, entity: Entity, asleep: bool, may_stay: bool = False) -> bool:
        """Take an entity off the queue; its lag is kept, and its relative deadline unless it sleeps."""
        self.keep_lag(entity)
        if may_stay and entity.vlag < 0:
            entity.delayed = True
            return False
        if entity is not self.current:
            self.remove(entity)
        if not asleep and self.keep_deadlines:
            entity.deadline -= entity.vruntime
            entity.relative_deadline = True
        entity.on_queue = False
        self.total_load -= entity.load
        self.queued -= 1
        return True

    def settle_delayed(self, entity: Entity) -> None:
        """An entity that slept on the queue is eligible again: now it leaves, and is owed nothing."""
        self.leave(entity, asleep=True)
        entity.delayed = False
        if self.delay_zero:
            entity.vlag = min(entity.vlag, 0)

    def rejoin_delayed(self, entity: Entity) -> None:
        """An entity wakes while its dequeue is delayed; credit it has gathered asleep is dropped."""
        self.keep_lag(entity)
        if entity.vlag > 0 and self.delay_zero:
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
        if self.least_slice_ns:
            self._protect(entity, self.least_slice_ns)
        elif self.shortest_count and self.shortest_ns < entity.slice_ns and not self.whole_requests:
            self._protect(entity, self.shortest_ns)

    def _protect(self, entity: Entity, slice_ns: int) -> None:
        """Protect an entity for ``slice_ns`` only, if that ends before its deadline."""
        vprot = entity.vruntime + entity.virtual(slice_ns)
        if slice_ns < entity.slice_ns and vprot < entity.vprot:
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
                elif protect and self.protecting and current.vruntime < current.vprot:
                    return current
            else:
                current = None
        for entity in self.entities:
            if product >= entity.vruntime * weight:
                return entity if current is None or current.deadline >= entity.deadline else current
        return current

    def preempts(self, woken: Entity, running: Entity) -> bool:
        """Whether one that has joined is the one to run; who asks for less need not wait for the other's slice."""
        shorter = self.short_preempts and woken.slice_ns < running.slice_ns and self.eligible(woken)
        return self.pick(not shorter) is woken

    def put_first(self, entity: Entity) -> None:
        """Give a waiting entity the earliest deadline."""
        if not self.entities:
            return
        first = self.entities[0]
        first_ns = first.deadline
        if first_ns < entity.deadline:
            self.remove(entity)
            entity.deadline = first_ns - 1
            self.insert(entity)

    def turn_ns(self, entity: Entity) -> int:
        """How long the running entity may run on end: its request."""
        return entity.slice_ns


def _proportion(value: int, part: int, whole: int) -> int:
    """``value * part / whole``, rounded towards zero as C does; ``part`` and ``whole`` are positive."""
    product = value * part
    return product // whole if product >= 0 else -(-product // whole)


def _place_by_deadline(deadlines: Words, entities: list[Entity], entity: Entity) -> int:
    """How many entities have an earlier deadline, or the same and came before."""
    low = deadlines.first_not_below(entity.deadline)
    high = deadlines.first_above(entity.deadline)
    while low < high:
        middle = (low + high) >> 1
        other = entities[middle]
        if other.arrival < entity.arrival:
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
