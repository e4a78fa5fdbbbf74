"""Which CPU a task runs on: placement at wake-up and fork, pulling when idle, periodic balancing.

The CPUs share one last-level cache here, so one domain spans them all, each CPU a group of its own.

References
----------
Linux ``kernel/sched/fair.c``, 6.18: ``select_task_rq_fair`` (``wake_affine``, ``select_idle_sibling``),
``sched_balance_newidle``, ``sched_balance_rq`` (``calculate_imbalance``, ``detach_tasks``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virtsim.scheduling.fair import Entity, FairQueue
from virtsim.scheduling.task import RUNNABLE, Task

if TYPE_CHECKING:
    from virtsim.scheduling.cpu import Cpu
    from virtsim.scheduling.dispatcher import Dispatcher

#: A busier CPU is left alone while it has at most this percentage of the load here (``imbalance_pct``).
IMBALANCE_PERCENT = 117
#: Balancing is this many times rarer while the CPU is busy (``busy_factor``).
BUSY_FACTOR = 16
#: After this many failures even the running task is moved (``cache_nice_tries + 2``).
PATIENCE = 3
#: More than any load.
ANY_LOAD = 1 << 62


def is_idle(cpu: Cpu) -> bool:
    """Whether nothing runs or is about to run on a CPU."""
    return cpu.current is None and cpu.root.runnable == 0


def cpu_load(cpu: Cpu) -> int:
    """Sum of the weights at the top of a CPU."""
    return cpu.root.total_load >> 10


def task_load(task: Task) -> int:
    """A task's part of its CPU's load: its weight, scaled by its groups' shares."""
    load = task.weight
    queue = task.queue
    while queue is not None and queue.entity is not None:
        load = load * queue.entity.weight // max(queue.total_load >> 10, 1)
        queue = queue.entity.queue
    return max(load, 1)


class Balancer:
    """Placement and balancing for one heart."""

    def __init__(self, heart: Dispatcher) -> None:
        self.heart = heart
        self.min_interval_ns = len(heart.cpus) * 1_000_000

    # -- placement --------------------------------------------------------------------------------------------

    def choose(self, task: Task, waker_cpu: int, sync: bool) -> int:
        """CPU of a task that wakes."""
        if waker_cpu == task.cpu and not self.heart.idle_bits:
            return waker_cpu
        allowed = task.cpus
        if len(allowed) == 1:
            return next(iter(allowed))
        previous = task.cpu if task.cpu in allowed else min(allowed)
        target = previous
        if waker_cpu != previous and waker_cpu in allowed:
            target = self._affine(task, previous, waker_cpu, sync)
        return self._idle_sibling(target, previous, task)

    def choose_for_fork(self, task: Task) -> int:
        """CPU of a new task: an idle one, else the least loaded; its parent's only if no other is better."""
        allowed = task.cpus
        if len(allowed) == 1:
            return next(iter(allowed))
        cpus = self.heart.cpus
        home = task.cpu if task.cpu in allowed else min(allowed)
        if is_idle(cpus[home]):
            return home
        best = cpus[home]
        for number in sorted(allowed):
            cpu = cpus[number]
            if is_idle(cpu):
                return number
            if cpu.root.runnable < best.root.runnable:
                best = cpu
        return best.number

    def _affine(self, task: Task, previous: int, here: int, sync: bool) -> int:
        """Whether the waker's CPU or the previous one should be looked around."""
        waker, before = self.heart.cpus[here], self.heart.cpus[previous]
        if is_idle(waker):
            return previous if is_idle(before) else here
        if sync and waker.root.runnable == 1:
            return here
        if is_idle(before):
            return previous
        here_load = cpu_load(waker) + task.weight
        current = waker.current
        if sync and current is not None:
            here_load -= task_load(current)
        there_load = cpu_load(before)
        return here if here_load * 100 < there_load * (100 + (IMBALANCE_PERCENT - 100) // 2) else previous

    def _idle_sibling(self, target: int, previous: int, task: Task) -> int:
        """An idle CPU: the target, the previous one, or the next after the target, round all CPUs."""
        idle = self.heart.idle_bits & task.cpu_bits
        if not idle:
            return target
        cpus = self.heart.cpus
        if is_idle(cpus[target]):
            return target
        if previous != target and is_idle(cpus[previous]):
            return previous
        target_cpu = cpus[target]
        for bits in (idle & -target_cpu.bit, idle & (target_cpu.bit - 1)):
            while bits:
                number = (bits & -bits).bit_length() - 1
                if is_idle(cpus[number]):
                    return number
                bits &= bits - 1
        return target

    # -- loads --------------------------------------------------------------------------------------------------

    def follow(self, queue: FairQueue | None) -> None:
        """Bring the load averages of a queue and those above it up to now; call before anything changes."""
        now = self.heart.now_ns
        while queue is not None:
            average = queue.load_average
            if average is not None:
                queue.group.load_average += average.update(queue.total_load >> 10, now)
            queue = queue.entity.queue if queue.entity is not None else None

    # -- moving tasks -------------------------------------------------------------------------------------------

    def needs_tick(self, cpu: Cpu) -> bool:
        """Whether ticks matter on a CPU with one running task: they do where tasks may move."""
        return self.heart.spread

    def pull_for_idle(self, cpu: Cpu) -> bool:
        """A CPU is about to go idle: fetch a waiting task from the most loaded other one."""
        heart = self.heart
        if not heart.spread:
            return False
        sources = [(-cpu_load(other), other.number) for other in heart.cpus if other.root.runnable > 1]
        sources.sort()
        for _, number in sources:
            if number != cpu.number:
                task = self._longest_waiting(heart.cpus[number], cpu, ANY_LOAD, 0, False)
                if task is not None:
                    self._pull(task, cpu)
                    return True
        return False

    def tick(self, cpu: Cpu) -> None:
        """Periodic balancing on a busy CPU, when it is due."""
        heart = self.heart
        if not heart.spread:
            return
        if cpu.balance_interval_ns == 0:
            cpu.balance_interval_ns = self.min_interval_ns
        if heart.now_ns < cpu.balance_due_ns:
            return
        self._balance(cpu)
        tick_ns = heart.tick_ns
        ticks = -(-cpu.balance_interval_ns * BUSY_FACTOR // tick_ns) - 1
        cpu.balance_due_ns = heart.now_ns + max(ticks, 1) * tick_ns

    def _balance(self, cpu: Cpu) -> None:
        busiest = self._busiest(cpu)
        imbalance = self._imbalance(cpu, busiest)
        if imbalance <= 0:
            cpu.balance_failed = 0
            cpu.balance_interval_ns = min(2 * cpu.balance_interval_ns, 2 * self.min_interval_ns)
            return
        task = self._longest_waiting(busiest, cpu, imbalance, cpu.balance_failed, cpu.balance_failed > 1)
        if task is not None:
            self._pull(task, cpu)
            cpu.balance_failed = 0
            cpu.balance_interval_ns = self.min_interval_ns
            return
        cpu.balance_failed += 1
        running = busiest.current
        if cpu.balance_failed > PATIENCE and running is not None and cpu.number in running.cpus:
            cpu.balance_failed = 0
            self._push_running(running, busiest, cpu)

    def _busiest(self, cpu: Cpu) -> Cpu:
        """The most loaded other CPU, the first of several."""
        busiest = cpu
        most = -1
        for other in self.heart.cpus:
            load = cpu_load(other)
            if load > most and other is not cpu:
                busiest, most = other, load
        return busiest

    def _imbalance(self, cpu: Cpu, busiest: Cpu) -> int:
        """Load that should move here, in units of weight; 0 if all is well."""
        if busiest.root.runnable <= 1:
            return 0
        here, there = cpu_load(cpu), cpu_load(busiest)
        if there * 100 <= here * IMBALANCE_PERCENT:
            return 0
        total = 0
        for other in self.heart.cpus:
            total += cpu_load(other)
        average = total // len(self.heart.cpus)
        if here >= average:
            return 0
        return min(there - average, average - here)

    def _longest_waiting(self, source: Cpu, target: Cpu, most: int, halvings: int, hot: bool) -> Task | None:
        """Which waiting task moves: of those that weigh at most ``most``, the one that waits longest.

        Its load is halved ``halvings`` times before it is compared; ``hot`` lets cache-hot tasks go too.
        """
        tasks: list[Task] = []
        self._collect(source.root, tasks)
        best = None
        for task in tasks:
            if task.state != RUNNABLE or target.number not in task.cpus:
                continue
            if (not hot and self._hot(task)) or task_load(task) >> halvings > most:
                continue
            if (
                best is None
                or task.since_ns < best.since_ns
                or (task.since_ns == best.since_ns and task.name < best.name)
            ):
                best = task
        return best

    def _collect(self, queue: FairQueue, tasks: list[Task]) -> None:
        """Add the tasks on a queue and below it that are runnable."""
        if queue.throttled:
            return
        for entity in queue.waiting():
            self._collect_from(entity, tasks)
        if queue.current is not None:
            self._collect_from(queue.current, tasks)

    def _collect_from(self, entity: Entity, tasks: list[Task]) -> None:
        if entity.owned is not None:
            self._collect(entity.owned, tasks)
        elif isinstance(entity, Task) and not entity.delayed:
            tasks.append(entity)

    def _hot(self, task: Task) -> bool:
        return self.heart.now_ns - task.last_ran_ns < self.heart.kernel.migration_cost_ns

    def _pull(self, task: Task, cpu: Cpu) -> None:
        """Move a waiting task, and its load average with it."""
        source = task.queue
        self.heart.detach(task)
        target = task.group.queues[cpu.number]
        average = task.load_average
        if average is not None and source is not None and source.load_average is not None:
            assert target.load_average is not None
            self.follow(target)
            moved = min(average.value, source.load_average.value)
            source.load_average.value -= moved
            target.load_average.value += moved
        self.heart.attach(task, cpu)

    def _push_running(self, task: Task, source: Cpu, target: Cpu) -> None:
        """Stop the running task of a CPU and move it (the kernel's stopper thread does it)."""
        self.heart.evict(source)
        if task.state == RUNNABLE:
            self._pull(task, target)
