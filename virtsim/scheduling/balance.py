"""Which waiting task should move to a CPU: pulling when idle, periodic balancing; a pure decision.

References
----------
Linux ``kernel/sched/fair.c``, 6.18: ``sched_balance_newidle``, ``sched_balance_rq`` (``calculate_imbalance``,
``detach_tasks``).
"""

from __future__ import annotations

from virtsim.scheduling.cpu import Cpu
from virtsim.scheduling.fair import Entity, FairQueue
from virtsim.scheduling.task import RUNNABLE, Task

#: A busier CPU is left alone while it has at most this percentage of the load here (``imbalance_pct``).
IMBALANCE_PERCENT = 117
#: Balancing is this many times rarer while the CPU is busy (``busy_factor``).
BUSY_FACTOR = 16
#: After this many failures even the running task is moved (``cache_nice_tries + 2``).
PATIENCE = 3
#: More than any load.
ANY_LOAD = 1 << 62


class Balancer:
    """Chooses tasks that should move; whoever asks moves them.

    Parameters
    ----------
    cpus : list of Cpu
        What it looks at.
    tick_ns : int, ns
        Time between ticks.
    migration_cost_ns : int, ns
        A task that ran less than this ago is cache-hot.
    """

    def __init__(self, cpus: list[Cpu], tick_ns: int, migration_cost_ns: int) -> None:
        self.cpus = cpus
        self.tick_ns = tick_ns
        self.migration_cost_ns = migration_cost_ns
        self.min_interval_ns = len(cpus) * 1_000_000

    def for_idle(self, cpu: Cpu, now_ns: int) -> Task | None:
        """The task that a CPU which is about to go idle should fetch: a waiting one of the most loaded other CPU."""
        sources = [(-other.load(), other.number) for other in self.cpus if other.root.runnable > 1]
        sources.sort()
        for _, number in sources:
            if number != cpu.number:
                task = self._longest_waiting(self.cpus[number], cpu, ANY_LOAD, 0, False, now_ns)
                if task is not None:
                    return task
        return None

    def at_tick(self, cpu: Cpu, now_ns: int) -> Task | None:
        """The task that a busy CPU should fetch, when balancing is due; it may be running."""
        if cpu.balance_interval_ns == 0:
            cpu.balance_interval_ns = self.min_interval_ns
        if now_ns < cpu.balance_due_ns:
            return None
        task = self._balance(cpu, now_ns)
        ticks = -(-cpu.balance_interval_ns * BUSY_FACTOR // self.tick_ns) - 1
        cpu.balance_due_ns = now_ns + max(ticks, 1) * self.tick_ns
        return task

    def _balance(self, cpu: Cpu, now_ns: int) -> Task | None:
        busiest = self._busiest(cpu)
        imbalance = self._imbalance(cpu, busiest)
        if imbalance <= 0:
            cpu.balance_failed = 0
            cpu.balance_interval_ns = min(2 * cpu.balance_interval_ns, 2 * self.min_interval_ns)
            return None
        task = self._longest_waiting(busiest, cpu, imbalance, cpu.balance_failed, cpu.balance_failed > 1, now_ns)
        if task is not None:
            cpu.balance_failed = 0
            cpu.balance_interval_ns = self.min_interval_ns
            return task
        cpu.balance_failed += 1
        running: Task | None = busiest.current
        if running is None or running.policy is not None:
            return None
        if cpu.balance_failed > PATIENCE and cpu.number in running.cpus:
            cpu.balance_failed = 0
            return running
        return None

    def _busiest(self, cpu: Cpu) -> Cpu:
        """The most loaded other CPU, the first of several."""
        busiest = cpu
        most = -1
        for other in self.cpus:
            load = other.load()
            if load > most and other is not cpu:
                busiest, most = other, load
        return busiest

    def _imbalance(self, cpu: Cpu, busiest: Cpu) -> int:
        """Load that should move here, in units of weight; 0 if all is well."""
        if busiest.root.runnable <= 1:
            return 0
        here, there = cpu.load(), busiest.load()
        if there * 100 <= here * IMBALANCE_PERCENT:
            return 0
        total = 0
        for other in self.cpus:
            total += other.load()
        average = total // len(self.cpus)
        if here >= average:
            return 0
        return min(there - average, average - here)

    def _longest_waiting(
        self, source: Cpu, target: Cpu, most: int, halvings: int, hot: bool, now_ns: int
    ) -> Task | None:
        """Which waiting task moves: of those that weigh at most ``most``, the one that waits longest.

        Its load is halved ``halvings`` times before it is compared; ``hot`` lets cache-hot tasks go too.
        """
        tasks: list[Task] = []
        self._collect(source.root, tasks)
        best = None
        for task in tasks:
            if task.state != RUNNABLE or target.number not in task.cpus:
                continue
            if (not hot and now_ns - task.last_ran_ns < self.migration_cost_ns) or (
                task.load_on_cpu() >> halvings > most
            ):
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
