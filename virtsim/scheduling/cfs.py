"""The completely fair scheduler (CFS), as Linux had it from 2.6.23 to 6.5, on one run-queue of one CPU.

The entity with the least virtual run time runs. Features that decide what is seen from outside:

- *slices*: the latency (more if there are more than eight tasks) is shared out by weight, level by level; who has
  had its slice, or is a slice ahead of the first that waits, goes at the next tick, but nobody before the minimum
  granularity;
- *sleeper credit*: who wakes up is placed up to a latency (with gentle sleepers half of one) before the queue's
  minimum, and preempts if it is more than the wake-up granularity behind the running one;
- *start debit*: new tasks begin a slice late;
- *last buddy*: on queues of eight and more, one that was preempted by a wake-up is preferred next;
- *next buddy*: the one that preempted is preferred, and every woken one where the feature of that name is on.

What a task asks for by ``sched_setattr`` is ignored, as it was. The skip buddy of ``sched_yield`` is left out: no
operation of a program yields.

References
----------
Linux ``Documentation/scheduler/sched-design-CFS.rst``; ``kernel/sched/fair.c``, 6.1: ``place_entity``,
``update_min_vruntime``, ``sched_slice``, ``check_preempt_tick``, ``check_preempt_wakeup``, ``pick_next_entity``,
``migrate_task_rq_fair``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virtsim.scheduling.fair import Entity, FairQueue
from virtsim.scheduling.settings import Kernel
from virtsim.scheduling.weight import part_of

if TYPE_CHECKING:
    from virtsim.scheduling.cpu import Cpu
    from virtsim.scheduling.group import Group

#: Later than any virtual time: the running entity is asked about at ticks only.
NEVER = 1 << 62
#: Who was away for longer than this is placed anew, whatever it had used, ns (since 6.3).
LONG_SLEEP_NS = 60 * 10**9


class CfsQueue(FairQueue):
    """The entities of one group on one CPU, ordered by virtual run time.

    Parameters
    ----------
    cpu : Cpu
        Where it is.
    group : Group
        Whose tasks and child groups it holds.
    kernel : Kernel
        Latency, granularities and features.
    switch_ns : int, ns
        What a switch takes: a turn begins behind it, so that ticks see a little less than whole ticks of it.

    Attributes
    ----------
    min_vruntime : int, ns
        Follows the least virtual run time on the queue, and never goes back.
    next, last : Entity or None
        The buddies.
    """

    __slots__ = (
        "alternate_period",
        "at_least_granularity",
        "began_ns",
        "credit_ns",
        "crowd",
        "debit",
        "granularity_ns",
        "idle_credit_ns",
        "last",
        "last_buddy",
        "latency_ns",
        "min_vruntime",
        "next",
        "recent",
        "switch_ns",
        "wakeup_granularity_ns",
    )

    def __init__(self, cpu: Cpu, group: Group, kernel: Kernel, switch_ns: int) -> None:
        super().__init__(cpu, group)
        self.min_vruntime = 0
        self.next: Entity | None = None
        self.last: Entity | None = None
        #: When the running one's turn began, on the CPU's clock of time that tasks ran.
        self.began_ns = 0
        self.switch_ns = switch_ns
        self.latency_ns = kernel.latency_ns
        self.granularity_ns = kernel.min_granularity_ns
        self.wakeup_granularity_ns = kernel.wakeup_granularity_ns
        #: How many tasks a latency can be shared out to in turns of the minimum granularity.
        self.crowd = -(-kernel.latency_ns // kernel.min_granularity_ns)
        halves = 1 if kernel.has("GENTLE_FAIR_SLEEPERS") else 0
        self.credit_ns = kernel.latency_ns >> halves
        # Since 5.15 tasks of ``SCHED_IDLE`` get less.
        self.idle_credit_ns = kernel.min_granularity_ns >> halves if kernel.version >= (5, 15) else self.credit_ns
        self.debit = kernel.has("START_DEBIT")
        self.last_buddy = kernel.has("LAST_BUDDY")
        self.alternate_period = kernel.has("ALT_PERIOD")
        self.at_least_granularity = kernel.has("BASE_SLICE")
        self.recent = kernel.version >= (6, 3)

    # -- order --------------------------------------------------------------------------------------------

    def insert(self, entity: Entity) -> None:
        """Put an entity among the waiting ones, behind those with the same virtual run time."""
        self.arrivals += 1
        entity.arrival = self.arrivals
        self.entities.insert(_place(self.entities, entity), entity)

    def _remove(self, entity: Entity) -> None:
        del self.entities[_place(self.entities, entity)]

    def follow_minimum(self) -> None:
        """Bring ``min_vruntime`` up to the least virtual run time on the queue."""
        least = self.min_vruntime
        current = self.current
        if current is not None and current.on_queue:
            least = current.vruntime
            if self.entities:
                first = self.entities[0]
                if first.vruntime < least:
                    least = first.vruntime
        elif self.entities:
            first = self.entities[0]
            least = first.vruntime
        if least > self.min_vruntime:
            self.min_vruntime = least

    # -- slices -------------------------------------------------------------------------------------------

    def slice_of(self, entity: Entity) -> int:
        """The entity's slice: its part, by weight, of the time in which everybody should have run once."""
        count = self.queued
        if self.alternate_period:
            count = self.cpu.root.runnable
        if not entity.on_queue:
            count += 1
        slice_ns = self.latency_ns if count <= self.crowd else count * self.granularity_ns
        part: Entity | None = entity
        while part is not None:
            queue = part.queue
            assert queue is not None
            load = queue.total_load if part.on_queue else queue.total_load + part.load
            slice_ns = part_of(slice_ns, part.weight, load)
            part = part.parent
        if self.at_least_granularity and slice_ns < self.granularity_ns:
            return self.granularity_ns
        return slice_ns

    def turn_ns(self, entity: Entity) -> int:
        """How long the running entity may run on end: its slice."""
        return self.slice_of(entity)

    def turn_is_over(self, entity: Entity) -> bool:
        """Whether the running entity has had its slice, or is a slice ahead of the first that waits; at ticks."""
        slice_ns = self.slice_of(entity)
        if self.recent and slice_ns > self.latency_ns:
            slice_ns = self.latency_ns
        ran_ns = self.cpu.account_ns - self.cpu.stolen_ns - self.began_ns
        if ran_ns > slice_ns:
            self._forget(entity)
            return True
        if ran_ns < self.granularity_ns or not self.entities:
            return False
        first = self.entities[0]
        return entity.vruntime - first.vruntime > slice_ns

    # -- joining and leaving --------------------------------------------------------------------------------

    def join(self, entity: Entity, initial: bool = False) -> None:
        """Put an entity on the queue; where it stands in virtual time depends on where it comes from."""
        self.follow_minimum()
        if initial:
            current = self.current
            if current is not None:
                entity.vruntime = current.vruntime
            self._place(entity, entity.virtual(self.slice_of(entity)) if self.debit else 0)
        elif entity.frame is None and entity.owned is None:
            entity.vruntime += self.min_vruntime
        else:
            self._wake(entity)
        entity.frame = self
        self.total_load += entity.load
        self.queued += 1
        entity.on_queue = True
        if entity is not self.current:
            self.insert(entity)

    def _wake(self, entity: Entity) -> None:
        """Place one that slept; if it slept elsewhere it keeps its distance to the minimum there."""
        frame = entity.frame
        if frame is not None and frame is not self:
            assert isinstance(frame, CfsQueue)
            frame.follow_minimum()
            entity.vruntime += self.min_vruntime - frame.min_vruntime
        credit_ns = self.idle_credit_ns if entity.idle_policy else self.credit_ns
        if self.recent and self.cpu.account_ns - entity.left_ns > LONG_SLEEP_NS:
            entity.vruntime = self.min_vruntime - credit_ns
        else:
            self._place(entity, -credit_ns)

    def _place(self, entity: Entity, offset_ns: int) -> None:
        """Not before ``offset_ns`` from the minimum, and never back."""
        vruntime = self.min_vruntime + offset_ns
        if vruntime > entity.vruntime:
            entity.vruntime = vruntime

    def leave(self, entity: Entity, asleep: bool, may_stay: bool = False) -> bool:
        """Take an entity off the queue; one that is moved takes its distance to the minimum along."""
        self.follow_minimum()
        self._forget(entity)
        if entity is not self.current:
            self._remove(entity)
        entity.on_queue = False
        entity.left_ns = self.cpu.account_ns
        self.total_load -= entity.load
        self.queued -= 1
        if not asleep:
            entity.vruntime -= self.min_vruntime
            entity.frame = None
        self.follow_minimum()
        return True

    def reweight(self, entity: Entity, load: int) -> None:
        """Change an entity's weight; its virtual run time stays."""
        if entity.on_queue:
            self.total_load += load - entity.load
        entity.set_load(load)

    # -- running --------------------------------------------------------------------------------------------

    def take(self, entity: Entity) -> None:
        """Make an entity the running one; its turn begins when the switch to it is done."""
        if entity.on_queue:
            self._remove(entity)
        self._forget(entity)
        self.current = entity
        self.began_ns = self.cpu.account_ns - self.cpu.stolen_ns + self.switch_ns
        entity.deadline = entity.vprot = NEVER

    def pick(self, protect: bool = True) -> Entity | None:
        """The entity with the least virtual run time, or a buddy that is not much worse."""
        current = self.current
        if current is not None and not current.on_queue:
            current = None
        if not self.entities:
            return current
        first = self.entities[0]
        if current is not None and current.vruntime < first.vruntime:
            first = current
        if self.next is not None and self._ahead(self.next, first) < 1:
            return self.next
        if self.last is not None and self._ahead(self.last, first) < 1:
            return self.last
        return first

    def _ahead(self, entity: Entity, other: Entity) -> int:
        """Whether ``other`` is behind (in virtual time) by more than the granularity (1), by less (0), or not (-1)."""
        ahead = entity.vruntime - other.vruntime
        if ahead <= 0:
            return -1
        return 1 if ahead > other.virtual(self.wakeup_granularity_ns) else 0

    def preempts(self, woken: Entity, running: Entity) -> bool:
        """Whether a woken entity is so far behind the running one that it should run at once."""
        if self._ahead(running, woken) < 1:
            return False
        self._mark_next(woken)
        if self.last_buddy and running.on_queue and running.owned is None:
            home = running.queue
            if home is not None and home.queued >= self.crowd:
                self._mark_last(running)
        return True

    # -- buddies --------------------------------------------------------------------------------------------

    def favour(self, woken: Entity) -> None:
        """Prefer a woken entity at the next pick, if many wait."""
        if self.queued >= self.crowd:
            self._mark_next(woken)

    def put_first(self, entity: Entity) -> None:
        """Make a waiting entity the next buddy, as ``yield_to`` does."""
        self._mark_next(entity)

    def _mark_next(self, entity: Entity) -> None:
        """Prefer an entity, and its groups' entities above it, at the next pick."""
        part: Entity | None = entity
        while part is not None and part.on_queue and not part.idle_policy:
            queue = part.queue
            assert isinstance(queue, CfsQueue)
            queue.next = part
            part = part.parent

    def _mark_last(self, entity: Entity) -> None:
        part: Entity | None = entity
        while part is not None and part.on_queue and not part.idle_policy:
            queue = part.queue
            assert isinstance(queue, CfsQueue)
            queue.last = part
            part = part.parent

    def _forget(self, entity: Entity) -> None:
        """An entity runs, or leaves: it is no buddy any more, nor are its groups on its account."""
        part: Entity | None = entity
        while part is not None:
            queue = part.queue
            assert isinstance(queue, CfsQueue)
            if queue.next is not part:
                break
            queue.next = None
            part = part.parent
        part = entity
        while part is not None:
            queue = part.queue
            assert isinstance(queue, CfsQueue)
            if queue.last is not part:
                break
            queue.last = None
            part = part.parent


def _place(entities: list[Entity], entity: Entity) -> int:
    """How many entities have an earlier virtual run time, or the same and came before."""
    vruntime = entity.vruntime
    low, high = 0, len(entities)
    while low < high:
        middle = (low + high) >> 1
        other = entities[middle]
        if other.vruntime < vruntime or (other.vruntime == vruntime and other.arrival < entity.arrival):
            low = middle + 1
        else:
            high = middle
    return low
