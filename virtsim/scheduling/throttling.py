"""What happens when a group's quota is used up, on a CPU: throttling, and picking around what is throttled.

Linux has done it in two ways. Before 6.18 the *group* left its parent's queue with all its tasks at once. Since
then a throttled group stays where it is, and each *task* of it is parked when it would next run; one that is
not picked before the next period loses nothing, and only time in which a task is parked counts as throttled.

References
----------
Linux ``kernel/sched/fair.c``, 6.12 and 6.18: ``throttle_cfs_rq``, ``unthrottle_cfs_rq``, ``throttle_cfs_rq_work``,
``record_throttle_clock``, ``tg_unthrottle_up``.
"""

from __future__ import annotations

from collections.abc import Callable

from virtsim.scheduling.cpu import Cpu
from virtsim.scheduling.fair import Entity, FairQueue
from virtsim.scheduling.group import Group
from virtsim.scheduling.hierarchy import Hierarchy
from virtsim.scheduling.settings import Kernel, SchedulingCosts
from virtsim.scheduling.task import RUNNABLE, RUNNING, Task

#: A throttled queue's clock while no task of it is parked: a negative time.
STOPPED = -1


class Throttling(Hierarchy):
    """Picks the task that should run, and throttles what has no runtime left."""

    __slots__ = ("_by_task", "on_throttle")

    def __init__(self, cpus: int, kernel: Kernel, costs: SchedulingCosts, tick_phase_ns: int) -> None:
        super().__init__(cpus, kernel, costs, tick_phase_ns)
        self._by_task = kernel.throttles_tasks
        #: Called with (from_ns, to_ns, cpu, group) when a group has been throttled on a CPU.
        self.on_throttle: Callable[[int, int, int, Group], None] | None = None

    def _pick(self, cpu: Cpu) -> Task | None:
        """Go down from the root to the task that should run; throttles and settles what it meets.

        ``cpu.parking`` tells whether that task is of a throttled group, and so has to park instead.
        """
        queue = cpu.root
        parks = False
        while True:
            if queue.queued == 0:
                if queue is cpu.root:
                    return None
                queue, parks = cpu.root, False
                continue
            if queue.group.bandwidth is not None and self._throttled(queue):
                if not self._by_task:
                    queue = cpu.root
                    continue
                parks = True
            entity = queue.pick()
            assert entity is not None
            if entity.delayed:
                self._settle(entity)
                queue, parks = cpu.root, False
            elif entity.owned is not None:
                queue = entity.owned
            else:
                cpu.parking = parks
                return entity  # type: ignore[return-value] # what owns no queue is a task

    def _throttled(self, queue: FairQueue) -> bool:
        """Whether a limited queue is throttled; it becomes so if its runtime is used up and the pool is empty."""
        if queue.remaining_ns > 0:
            return False
        if queue.throttled:
            return True
        if self._assign(queue, 1):
            return False
        bandwidth = queue.group.bandwidth
        assert bandwidth is not None
        queue.throttled = True
        bandwidth.throttled.append(queue)
        if self._by_task:
            queue.throttled_at_ns = STOPPED
        else:
            queue.throttled_at_ns = self.now_ns
            if self._governed:
                self.governor.measure(queue.cpu, self.now_ns)
            self._detach_group(queue)
        return True

    def _throttle_put(self, task: Task, common: FairQueue | None) -> None:
        """A task stops running: what it leaves dry is throttled at once, even if nothing of it waits."""
        entity: Entity | None = task if task.policy is None else None
        while entity is not None:
            queue = entity.queue
            assert queue is not None
            if queue.group.bandwidth is not None:
                self._throttled(queue)
            entity = None if queue is common else entity.parent

    def _unthrottle(self, queue: FairQueue) -> None:
        bandwidth = queue.group.bandwidth
        assert bandwidth is not None
        queue.throttled = False
        bandwidth.throttled.remove(queue)
        if queue.throttled_at_ns != STOPPED:
            bandwidth.throttled_time_ns += self.now_ns - queue.throttled_at_ns
            if self.on_throttle is not None:
                self.on_throttle(queue.throttled_at_ns, self.now_ns, queue.cpu.number, queue.group)
        if self._by_task:
            self._unpark(queue.cpu)
        else:
            if self._governed:
                self.governor.measure(queue.cpu, self.now_ns)
            self._attach_group(queue)

    # -- tasks, one by one ------------------------------------------------------------------------------------

    def _parks_at_once(self, task: Task) -> bool:
        """Whether a task can park without coming to its CPU first, since that would take no time."""
        return self._switch_ns == 0

    def _set_aside(self, cpu: Cpu, task: Task) -> None:
        """A task of a throttled group comes to its CPU only to park there: it will need what the switch takes."""
        cpu.set_aside_ns = task.burst_ns
        task.burst_ns = 0

    def _end_parking(self, cpu: Cpu) -> None:
        """The running task takes up what it set aside."""
        task = cpu.current
        assert task is not None
        cpu.parking = False
        task.burst_ns = max(task.burst_ns, 0) + cpu.set_aside_ns
        cpu.set_aside_ns = 0

    def _park_if_throttled(self, task: Task) -> None:
        if _stays_parked(task):
            self._park(task)

    def _park(self, task: Task) -> None:
        """A task of a throttled group would run: it leaves its queue until the group may run again.

        As in the kernel it does so itself, on its way back to user mode: it has been switched to before.
        """
        queue = task.queue
        assert queue is not None
        self._dequeue(task, True, False)
        queue.cpu.parked.append(task)
        task.throttled_at_ns = self.now_ns
        while queue is not None:
            if queue.throttled and queue.throttled_at_ns == STOPPED:
                queue.throttled_at_ns = self.now_ns
            queue = queue.entity.queue if queue.entity is not None else None

    def _unpark(self, cpu: Cpu) -> None:
        """Bring back the tasks of a CPU of which no group is throttled any more: group by group, the latest first.

        Who joins an empty queue loses its lag, so the order decides who runs when several groups are released at once.
        """
        staying: list[Task] = []
        going: list[Task] = []
        for task in cpu.parked:
            (staying if _stays_parked(task) else going).append(task)
        cpu.parked = staying
        going.reverse()
        for task in sorted(going, key=_walk):
            self._end_throttling(task)
            self._enqueue(task)

    # -- groups as a whole ------------------------------------------------------------------------------------

    def _detach_group(self, queue: FairQueue) -> None:
        """A group's entity leaves the parent's queue, with all that is below it."""
        queue.detached = True
        self._count_throttled(queue, True)
        entity = queue.entity
        # Its last task may have left just now, and the group with it.
        leaving = entity is not None and entity.on_queue
        while entity is not None:
            above = entity.queue
            assert above is not None
            above.runnable -= queue.runnable
            if leaving:
                above.leave(entity, True)
                entity.delayed = False
                leaving = above.queued == 0
                if leaving:
                    self._return_runtime(above)
            entity = None if above.detached else above.entity

    def _attach_group(self, queue: FairQueue) -> None:
        """A group's entity comes back to the parent's queue, with all that is below it."""
        queue.detached = False
        if queue.queued == 0:
            return
        if not _is_cut_off(queue):
            self._count_throttled(queue, False)
        if queue.cpu.current is not None and not queue.cpu.tick_armed:
            self._catch_up(queue.cpu)
        entity = queue.entity
        joining = True
        slice_ns = queue.shortest_slice_ns()
        while entity is not None:
            above = entity.queue
            assert above is not None
            if joining:
                if entity.on_queue:
                    if entity.delayed:
                        above.rejoin_delayed(entity)
                    joining = False
                else:
                    entity.slice_ns, entity.custom_slice = slice_ns, True
                    self._account_level(above)
                    above.join(entity)
                    if above.queued == 1 and above.group.bandwidth is not None:
                        self._check_runtime(above)
                slice_ns = above.shortest_slice_ns()
            above.runnable += queue.runnable
            entity = None if above.detached else above.entity

    def _count_throttled(self, queue: FairQueue, begins: bool) -> None:
        """Runnable tasks on a queue and below it begin, or cease, to be throttled; those below others that are stay so.

        Delayed ones are asleep.
        """
        for entity in queue.waiting():
            self._count_entity(entity, begins)
        if queue.current is not None:
            self._count_entity(queue.current, begins)

    def _count_entity(self, entity: Entity, begins: bool) -> None:
        if entity.owned is not None:
            if not entity.owned.detached:
                self._count_throttled(entity.owned, begins)
            return
        task: Task = entity  # type: ignore[assignment] # what owns no queue is a task
        if begins and task.throttled_at_ns < 0 and task.state in (RUNNABLE, RUNNING):
            task.throttled_at_ns = self.now_ns
        elif not begins and task.throttled_at_ns >= 0:
            self._end_throttling(task)


def _is_cut_off(queue: FairQueue) -> bool:
    """Whether a group around has left its parent's queue."""
    entity = queue.entity
    while entity is not None:
        above = entity.queue
        assert above is not None
        if above.detached:
            return True
        entity = above.entity
    return False


def _walk(task: Task) -> tuple[int, ...]:
    return task.group.walk


def _stays_parked(task: Task) -> bool:
    queue = task.queue
    while queue is not None:
        if queue.throttled:
            return True
        queue = queue.entity.queue if queue.entity is not None else None
    return False
