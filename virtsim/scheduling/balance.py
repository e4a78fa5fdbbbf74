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


class Balancer:
    """Placement and balancing for one heart."""

    def __init__(self, heart: Dispatcher) -> None:
        self.heart = heart
        self.min_interval_ns = len(heart.cpus) * 1_000_000

    # -- placement --------------------------------------------------------------------------------------------

    def choose(self, task: Task, waker_cpu: int, sync: bool) -> int:
        """CPU of a task that wakes."""
        allowed = task.cpus
        if len(allowed) == 1:
            return next(iter(allowed))
        previous = task.cpu if task.cpu in allowed else min(allowed)
        target = previous
        if waker_cpu != previous and waker_cpu in allowed:
            target = self._affine(task, previous, waker_cpu, sync)
        return self._idle_sibling(target, previous, allowed)

    def choose_for_fork(self, task: Task) -> int:
        """CPU of a new task: an idle one, else the least loaded; its parent's only if no other is better."""
        allowed = task.cpus
        if len(allowed) == 1:
            return next(iter(allowed))
        cpus = self.heart.cpus
        home = task.cpu if task.cpu in allowed else min(allowed)
        idle = [number for number in sorted(allowed) if self.idle(cpus[number])]
        if idle:
            return home if home in idle else idle[0]
        return min(sorted(allowed), key=lambda number: (cpus[number].root.runnable, number != home))

    def _affine(self, task: Task, previous: int, here: int, sync: bool) -> int:
        """Whether the waker's CPU or the previous one should be looked around."""
        cpus = self.heart.cpus
        if self.idle(cpus[here]):
            return previous if self.idle(cpus[previous]) else here
        if sync and cpus[here].root.runnable == 1:
            return here
        if self.idle(cpus[previous]):
            return previous
        load = task.weight
        here_load = self.cpu_load(cpus[here]) + load
        current = cpus[here].current
        if sync and current is not None:
            here_load -= self.task_load(current)
        there_load = self.cpu_load(cpus[previous])
        return here if here_load * 100 < there_load * (100 + (IMBALANCE_PERCENT - 100) // 2) else previous

    def _idle_sibling(self, target: int, previous: int, allowed: frozenset[int]) -> int:
        cpus = self.heart.cpus
        if target in allowed and self.idle(cpus[target]):
            return target
        if previous != target and self.idle(cpus[previous]):
            return previous
        count = len(cpus)
        for step in range(1, count):
            number = (target + step) % count
            if number in allowed and self.idle(cpus[number]):
                return number
        return target

    @staticmethod
    def idle(cpu: Cpu) -> bool:
        """Whether nothing runs or is about to run on a CPU."""
        return cpu.current is None and cpu.root.runnable == 0

    # -- loads --------------------------------------------------------------------------------------------------

    @staticmethod
    def cpu_load(cpu: Cpu) -> int:
        """Sum of the weights at the top of a CPU."""
        return cpu.root.total_load >> 10

    @staticmethod
    def task_load(task: Task) -> int:
        """A task's part of its CPU's load: its weight, scaled by its groups' shares."""
        load = task.weight
        queue = task.queue
        while queue is not None and queue.entity is not None:
            load = load * queue.entity.weight // max(queue.total_load >> 10, 1)
            queue = queue.entity.queue
        return max(load, 1)

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
        if not self.heart.spread:
            return False
        sources = [other for other in self.heart.cpus if other is not cpu and other.root.runnable > 1]
        for source in sorted(sources, key=lambda other: (-self.cpu_load(other), other.number)):
            for task in self._candidates(source, cpu):
                if not self._hot(task):
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
        tick_ns = heart.kernel.tick_ns
        ticks = -(-cpu.balance_interval_ns * BUSY_FACTOR // tick_ns) - 1
        cpu.balance_due_ns = heart.now_ns + max(ticks, 1) * tick_ns

    def _balance(self, cpu: Cpu) -> None:
        others = [other for other in self.heart.cpus if other is not cpu]
        busiest = max(others, key=lambda other: (self.cpu_load(other), -other.number))
        imbalance = self._imbalance(cpu, busiest)
        if imbalance <= 0:
            cpu.balance_failed = 0
            cpu.balance_interval_ns = min(2 * cpu.balance_interval_ns, 2 * self.min_interval_ns)
            return
        for task in self._candidates(busiest, cpu):
            if self.task_load(task) >> cpu.balance_failed > imbalance:
                continue
            if self._hot(task) and cpu.balance_failed <= 1:
                continue
            self._pull(task, cpu)
            cpu.balance_failed = 0
            cpu.balance_interval_ns = self.min_interval_ns
            return
        cpu.balance_failed += 1
        running = busiest.current
        if cpu.balance_failed > PATIENCE and running is not None and cpu.number in running.cpus:
            cpu.balance_failed = 0
            self._push_running(running, busiest, cpu)

    def _imbalance(self, cpu: Cpu, busiest: Cpu) -> int:
        """Load that should move here, in units of weight; 0 if all is well."""
        if busiest.root.runnable <= 1:
            return 0
        here, there = self.cpu_load(cpu), self.cpu_load(busiest)
        if there * 100 <= here * IMBALANCE_PERCENT:
            return 0
        total = sum(self.cpu_load(other) for other in self.heart.cpus)
        average = total // len(self.heart.cpus)
        if here >= average:
            return 0
        return min(there - average, average - here)

    def _candidates(self, source: Cpu, target: Cpu) -> list[Task]:
        """Waiting tasks that may move, the longest waiting first."""
        tasks: list[Task] = []
        self._collect(source.root, tasks)
        movable = [task for task in tasks if task.state == RUNNABLE and target.number in task.cpus]
        return sorted(movable, key=lambda task: (task.since_ns, task.name))

    def _collect(self, queue: FairQueue, tasks: list[Task]) -> None:
        if queue.throttled:
            return
        entities: list[Entity] = list(queue.entities)
        if queue.current is not None:
            entities.append(queue.current)
        for entity in entities:
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
