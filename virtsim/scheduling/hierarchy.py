"""The fair class over nested groups: joining, leaving, picking, accounting and throttling, level by level.

A task's chain of entities leads from its own queue to the root: the task, its group's entity on that
CPU, the entity of the group above, and so on.
"""

from __future__ import annotations

from collections.abc import Callable

from virtsim.scheduling.bandwidth import SLACK_DELAY_NS
from virtsim.scheduling.cpu import Cpu
from virtsim.scheduling.events import PERIOD, SLACK, EventQueue
from virtsim.scheduling.fair import Entity, FairQueue
from virtsim.scheduling.governor import Governor
from virtsim.scheduling.group import Group
from virtsim.scheduling.settings import Kernel, SchedulingCosts
from virtsim.scheduling.task import RUNNABLE, RUNNING, Task


class Hierarchy:
    """State and the fair class's operations on it; see the module.

    Attributes
    ----------
    now_ns : int, ns
        Simulated time.
    cpus : list of Cpu
    idle_bits : int
        Bit mask of the CPUs on which nothing runs.
    groups : list of Group
        The root first.
    events : EventQueue
    spread : bool
        Whether any task may run on more than one CPU, so that balancing matters.
    """

    __slots__ = (
        "_delays",
        "_governed",
        "_idle_exit_ns",
        "_limited",
        "_migration_cache_ns",
        "_migration_ns",
        "_preempt_remote_ns",
        "_switch_ns",
        "_tick_cost_ns",
        "_wake_ns",
        "_wake_remote_ns",
        "costs",
        "cpus",
        "events",
        "governor",
        "groups",
        "idle_bits",
        "kernel",
        "now_ns",
        "on_task_throttle",
        "spread",
        "tick_ns",
        "tick_phase_ns",
    )

    def __init__(self, cpus: int, kernel: Kernel, costs: SchedulingCosts, tick_phase_ns: int) -> None:
        self.now_ns = 0
        self.kernel = kernel
        self.costs = costs
        self.tick_ns = kernel.tick_ns
        self.tick_phase_ns = tick_phase_ns % kernel.tick_ns
        # Read at every event: as attributes of their own.
        self._switch_ns = costs.switch_ns
        self._tick_cost_ns = costs.tick_ns
        self._wake_ns = costs.wake_ns
        self._wake_remote_ns = costs.wake_remote_ns
        self._idle_exit_ns = costs.idle_exit_ns
        self._preempt_remote_ns = costs.preempt_remote_ns
        self._migration_ns = costs.migration_ns
        self._migration_cache_ns = costs.migration_cache_ns
        self._delays = kernel.has("DELAY_DEQUEUE")
        self.cpus = [Cpu(number) for number in range(cpus)]
        self.idle_bits = (1 << cpus) - 1
        self.groups: list[Group] = []
        self.spread = False
        #: Whether any group has a quota.
        self._limited = False
        #: What chooses the CPUs' frequencies, and whether there is any choice.
        self.governor: Governor = None  # type: ignore[assignment] # set by the heart, where there is one
        self._governed = False
        self.events = EventQueue()
        #: Called with (from_ns, to_ns, task) when a quota has held a task back.
        self.on_task_throttle: Callable[[int, int, Task], None] | None = None

    def _account(self, cpu: Cpu) -> None:
        """Bring the running task's accounts up to now, tick by tick while no tick had anything to decide."""
        if not cpu.tick_armed and cpu.account_ns < self.now_ns:
            self._catch_up(cpu)
        self._account_until(cpu, self.now_ns)

    def _catch_up(self, cpu: Cpu) -> None:
        """Bring the running task's accounts up to the last tick, if that was not served since it decided nothing."""
        last_tick = self.now_ns - (self.now_ns - self.tick_phase_ns) % self.tick_ns
        if cpu.account_ns < last_tick < self.now_ns:
            self._account_until(cpu, last_tick)

    def _account_until(self, cpu: Cpu, time_ns: int) -> None:
        """Charge the running task, its entities and their groups; notes if somebody else should run."""
        last_ns = cpu.account_ns
        if time_ns <= last_ns:
            return
        cpu.account_ns = time_ns
        task = cpu.current
        assert task is not None
        if task.policy is not None:
            task.cpu_time_ns += time_ns - last_ns
            self._charge_by_policy(task, time_ns - last_ns)
            return
        entity: Entity | None = task
        while entity is not None:
            queue = entity.queue
            assert queue is not None
            delta = time_ns - (queue.account_ns if queue.account_ns > last_ns else last_ns)
            if delta > 0:
                self._charge_entity(queue, entity, delta)
            entity = entity.parent

    def _account_level(self, queue: FairQueue) -> None:
        """Charge who runs on one queue only, up to now.

        As in the kernel, where whoever joins or leaves a queue has that level's accounts brought up to now and no
        other's: what the running task's own group has left is looked at when its tick comes.
        """
        entity = queue.current
        if entity is None:
            return
        cpu = queue.cpu
        delta = self.now_ns - (queue.account_ns if queue.account_ns > cpu.account_ns else cpu.account_ns)
        if delta > 0:
            queue.account_ns = self.now_ns
            self._charge_entity(queue, entity, delta)

    def _charge_entity(self, queue: FairQueue, entity: Entity, delta: int) -> None:
        """Charge an entity, a task or a group's, that has been running on a queue."""
        vruntime = entity.vruntime = entity.vruntime + ((delta * entity.factor) >> entity.shift)
        renewed = vruntime >= entity.deadline
        if renewed:
            queue.renew_deadline(entity)
        if queue.queued > 1 and (renewed or vruntime >= entity.vprot):
            queue.cpu.resched = True
        if entity.owned is None:
            task: Task = entity  # type: ignore[assignment] # what owns no queue is a task
            task.cpu_time_ns += delta
        group = queue.group
        group.cpu_time_ns += delta
        if group.bandwidth is not None:
            self._charge_bandwidth(queue, delta)

    def _charge_by_policy(self, task: Task, delta_ns: int) -> None:
        """Charge a task that is not of the fair class, and its groups."""
        raise NotImplementedError

    def _charge_bandwidth(self, queue: FairQueue, delta_ns: int) -> None:
        queue.remaining_ns -= delta_ns
        if queue.remaining_ns > 0 or queue.throttled:
            return
        if not self._assign(queue, queue.group.bandwidth.slice_ns):  # type: ignore[union-attr]
            queue.cpu.resched = True

    def _assign(self, queue: FairQueue, target_ns: int) -> bool:
        """Draw runtime from the pool; a pool that is drawn from has its period timer running."""
        group = queue.group
        bandwidth = group.bandwidth
        assert bandwidth is not None
        if not bandwidth.active:
            bandwidth.active = True
            self.events.push(bandwidth.first_expiry_ns(self.now_ns), PERIOD, group, 0)
        return bandwidth.assign(queue, target_ns)

    def _put(self, task: Task, common: FairQueue | None) -> None:
        """The task no longer runs; its entities up to those on ``common`` wait again where they are still queued."""
        task.last_ran_ns = self.now_ns
        if task.state == RUNNING:
            task.run_ns += self.now_ns - task.entered_ns
            task.state = RUNNABLE
            task.since_ns = task.entered_ns = self.now_ns
            task.involuntary += 1
        entity: Entity | None = task if task.policy is None else None
        while entity is not None:
            queue = entity.queue
            assert queue is not None
            if queue.current is entity:
                queue.current = None
                if entity.on_queue:
                    queue.insert(entity)
            entity = None if queue is common else entity.parent

    def _take(self, task: Task, common: FairQueue | None) -> None:
        """The task runs; its entities up to that on ``common`` become the running ones of their queues.

        Where the task before it was in the same group, the group's own entity runs on, as protected as it was.
        """
        task.state = RUNNING
        task.run_delay_ns += self.now_ns - task.since_ns
        task.entered_ns = self.now_ns
        task.burst_ns += self._switch_ns
        if task.queue is not None and (task.parent is None or task.queue is common):
            task.queue.take(task)
        elif task.policy is None:
            self._take_from(task, common)

    def _take_from(self, entity: Entity, common: FairQueue | None) -> None:
        assert entity.queue is not None
        if entity.parent is not None and entity.queue is not common:
            self._take_from(entity.parent, common)
        entity.queue.take(entity)

    def _enqueue(self, task: Task, initial: bool = False) -> None:
        """Make a task runnable on ``task.cpu``; groups that were empty there join as well."""
        cpu = self.cpus[task.cpu]
        home = task.group.queues[task.cpu]
        task.queue, task.parent = home, home.entity
        if self._governed:
            self.governor.comes(cpu, task, self.now_ns)
        if task.on_queue or task.parent is not None:
            self._rejoin(task)
        if cpu.current is not None and not cpu.tick_armed:
            self._catch_up(cpu)
        if home.entity is not None:
            self._follow(home)
        if task.load_average is not None:
            task.load_average.update(task.weight if task.on_queue else 0, self.now_ns)
        entity: Entity | None = task
        while entity is not None:
            queue = entity.queue
            assert queue is not None
            if not entity.on_queue:
                if entity.owned is not None:
                    entity.slice_ns, entity.custom_slice = entity.owned.shortest_slice_ns(), True
                if cpu.account_ns < self.now_ns:
                    self._account_level(queue)
                queue.join(entity, initial and entity is task)
                if queue.queued == 1 and queue.group.bandwidth is not None:
                    self._check_runtime(queue)
            queue.runnable += 1
            if queue.detached:
                task.throttled_at_ns = self.now_ns
                return
            entity = entity.parent
        if cpu.root.runnable > 1:
            cpu.crowded = True
        if task.parent is not None:
            self._update_shares(task)

    def _rejoin(self, task: Task) -> None:
        """End the delay of the entity that is still queued, the task's own or its group's, if there is one.

        As in the kernel, where ``requeue_delayed_entity`` does not account for the running entity first, the
        mean it is placed by is that of the last tick or switch: one that wakes later is placed further back. What
        wakes in a throttled group ends no delay above it.
        """
        entity: Entity | None = task
        while entity is not None and not entity.on_queue:
            assert entity.queue is not None
            entity = None if entity.queue.detached else entity.parent
        if entity is not None and entity.delayed:
            assert entity.queue is not None
            entity.queue.rejoin_delayed(entity)

    def _check_runtime(self, queue: FairQueue) -> None:
        """A queue that was empty gets runtime before it runs, or is throttled at once."""
        if queue.current is None and not queue.throttled:
            self._charge_bandwidth(queue, 0)

    def _dequeue(self, task: Task, asleep: bool, delay: bool = True) -> None:
        """Take a task from its queue; groups that become empty leave as well.

        One that goes to sleep while it owes service stays on its queue, delayed, until it is eligible, if it may.
        """
        if self._governed:
            self.governor.goes(self.cpus[task.cpu], task, asleep, self.now_ns)
        if task.parent is not None:
            self._follow(task.queue)
        if task.load_average is not None:
            task.load_average.update(task.weight, self.now_ns)
        entity: Entity | None = task
        leaving = True
        may_stay = delay and self._delays
        while entity is not None:
            queue = entity.queue
            assert queue is not None
            queue.runnable -= 1
            if leaving:
                if queue.cpu.account_ns < self.now_ns:
                    self._account_level(queue)
                leaving = queue.leave(entity, asleep, asleep and may_stay) and queue.queued == 0
                asleep = True
                if leaving and queue.group.bandwidth is not None:
                    self._return_runtime(queue)
            if queue.detached:
                if task.throttled_at_ns >= 0:
                    self._end_throttling(task)
                return
            entity = entity.parent
        if task.parent is not None:
            self._update_shares(task)

    def _end_throttling(self, task: Task) -> None:
        """A quota no longer holds a task back."""
        if self.on_task_throttle is not None:
            self.on_task_throttle(task.throttled_at_ns, self.now_ns, task)
        task.end_throttling(self.now_ns)

    def _return_runtime(self, queue: FairQueue) -> None:
        """A queue that has become empty gives runtime back to the pool, which hands it on a little later."""
        bandwidth = queue.group.bandwidth
        if bandwidth is not None and bandwidth.give_back(queue) and not bandwidth.slack_pending:
            bandwidth.slack_pending = True
            self.events.push(self.now_ns + SLACK_DELAY_NS, SLACK, queue.group, 0)

    def _settle(self, entity: Entity) -> None:
        """The delayed dequeue of an entity takes place; an emptied group's entity sleeps in turn."""
        queue = entity.queue
        assert queue is not None
        queue.settle_delayed(entity)
        parent = queue.entity
        while queue.queued == 0 and parent is not None and not queue.detached:
            above = parent.queue
            assert above is not None
            if not above.leave(parent, True, True):
                return
            if above.queued == 0:
                self._return_runtime(above)
            queue, parent = above, above.entity

    def _follow(self, queue: FairQueue | None) -> None:
        """Bring the load averages of a queue and those above it up to now; call before anything changes."""
        while queue is not None:
            average = queue.load_average
            if average is not None:
                queue.group.load_average += average.update(queue.total_load >> 10, self.now_ns)
            queue = queue.entity.queue if queue.entity is not None else None

    def _update_shares(self, task: Task) -> None:
        """Distribute the shares of the task's groups anew over the CPUs (groups on one CPU keep theirs whole)."""
        if not self.spread:
            return
        queue = task.queue
        while queue is not None and queue.entity is not None:
            entity = queue.entity
            if queue.load_average is not None and queue.total_load:
                load = queue.group.share_on(queue)
                if load != entity.load:
                    assert entity.queue is not None
                    if entity.on_queue:
                        self._account_level(entity.queue)
                    entity.queue.reweight(entity, load)
            queue = entity.queue
