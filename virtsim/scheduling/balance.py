"""Which waiting tasks should move to a CPU, within one of its domains: a pure decision.

References
----------
Linux ``kernel/sched/fair.c``, 6.18: ``should_we_balance``, ``update_sd_pick_busiest``,
``sched_balance_find_src_group``, ``calculate_imbalance``, ``sched_balance_find_src_rq``, ``detach_tasks``,
``can_migrate_task``, ``need_active_balance``, ``get_sd_balance_interval``. A runnable task is taken for one that
computes: loads and utilisation are those of the moment, not decayed averages.
"""

from __future__ import annotations

from virtsim.scheduling.cpu import Cpu
from virtsim.scheduling.domains import CpuGroup, Domain
from virtsim.scheduling.fair import Entity, FairQueue
from virtsim.scheduling.states import BUSY, FULL, IMBALANCED, NEWLY_IDLE, OVERLOADED, SPARE, STACKED
from virtsim.scheduling.task import RUNNING, Task

#: In which unit an imbalance is.
TASKS, LOAD, UTILISATION = range(3)
#: Balancing is this many times rarer while the CPU is busy (``busy_factor``).
BUSY_FACTOR = 16
#: Tasks looked at in one go (``sysctl_sched_nr_migrate``).
LOOK_AT = 32
#: Balancing that affinity prevents becomes rarer, up to this interval, ns (``MAX_PINNED_INTERVAL``).
LONGEST_PINNED_NS = 512_000_000
#: So many tasks may stay together on a node (``NUMA_IMBALANCE_MIN``).
PAIR = 2
#: Computing power of a CPU.
CAPACITY = 1024


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
    look_ns : int, ns
        Time it takes to look at a CPU.
    by_task : bool
        Whether tasks of a group that is throttled where they are may move: they are parked one by one.
    owing_stay : bool
        Whether a task that owes service stays as long as balancing has not failed.
    """

    def __init__(
        self,
        cpus: list[Cpu],
        tick_ns: int,
        migration_cost_ns: int,
        look_ns: int = 0,
        by_task: bool = True,
        owing_stay: bool = True,
    ) -> None:
        self.cpus = cpus
        self.tick_ns = tick_ns
        self.migration_cost_ns = migration_cost_ns
        self.look_ns = look_ns
        self.by_task = by_task
        self.owing_stay = owing_stay
        # What the last look at the groups has found.
        self._unit = TASKS
        self._imbalance = 0
        self._all_pinned = self._some_pinned = False

    def worth_it(self, idle: Cpu) -> bool:
        """Whether anybody waits anywhere, or did when all CPUs were last looked at; follows the average idle time of
        the CPU that asks."""
        if idle.last_idle_ns >= 0:
            idle.average_idle_ns += (idle.last_idle_ns - idle.average_idle_ns) // 8
            idle.average_idle_ns = min(idle.average_idle_ns, 2 * self.migration_cost_ns)
            idle.last_idle_ns = -1
        for cpu in self.cpus:  # noqa: SIM110 (a C loop)
            if cpu.crowded:
                return True
        return False

    def too_long(self, cpu: Cpu, domain: Domain) -> bool:
        """Whether a CPU that goes idle is likely to be busy again before it has looked through a domain."""
        return cpu.average_idle_ns < self.look_ns * domain.weight

    def due_ns(self, domain: Domain, busy: bool) -> int:
        """When a domain is due again: whole ticks after the last time."""
        ticks = -(-domain.interval_ns * (BUSY_FACTOR if busy else 1) // self.tick_ns) - busy
        longest = len(self.cpus) * 100_000_000 // self.tick_ns
        return domain.balanced_ns + max(min(ticks, longest), 1) * self.tick_ns

    def moves(self, cpu: Cpu, domain: Domain, why: int, now_ns: int) -> list[tuple[Task, Cpu]]:
        """Tasks that should move, and where to: to ``cpu``, or to another CPU of its group if they may run only there.

        One of them may be running. Keeps the domain's interval and failures, and
        tells the next larger domain what affinity prevents in this one.
        """
        if why != NEWLY_IDLE and not self._is_ours(cpu, domain):
            return []
        above = domain.above
        left_out = 0
        self._all_pinned = False
        while True:
            group = self._busiest_group(domain, why, left_out)
            source = self._busiest_cpu(cpu, group, left_out) if group is not None else None
            if source is None:
                if above is not None and not self._all_pinned:
                    local = above.groups[0]
                    local.imbalanced = False
                self._balanced(domain, why, self._all_pinned)
                return []
            self._all_pinned = source.root.runnable > 1
            self._some_pinned = False
            moving = self._detach(source, cpu, domain, why, now_ns) if source.root.runnable > 1 else []
            if above is not None and self._some_pinned and self._imbalance > 0:
                local = above.groups[0]
                local.imbalanced = True
            if not self._all_pinned:
                break
            left_out |= source.bit
            if domain.bits & ~left_out & ~domain.groups[0].bits == 0:
                self._balanced(domain, why, True)
                return []
        if moving:
            domain.failed = 0
        else:
            if why != NEWLY_IDLE:
                domain.failed += 1
            running: Task | None = source.current
            if (
                self._unit == TASKS
                and domain.failed > domain.cache_nice_tries + 2
                and running is not None
                and running.policy is None
                and running.state == RUNNING
                and running.cpu_bits & cpu.bit
            ):
                domain.failed = 0
                moving.append((running, cpu))
        domain.interval_ns = domain.min_interval_ns
        return moving

    def _balanced(self, domain: Domain, why: int, pinned: bool) -> None:
        domain.failed = 0
        if why == NEWLY_IDLE:
            return
        if domain.interval_ns < (LONGEST_PINNED_NS if pinned else 2 * domain.min_interval_ns):
            domain.interval_ns *= 2

    def _is_ours(self, cpu: Cpu, domain: Domain) -> bool:
        """Whether this CPU balances for its group: the first idle one does, rather one of an idle core."""
        local: CpuGroup = domain.groups[0]
        if local.weight == 1:
            return True
        first: Cpu | None = None
        for other in local.cpus:
            if not other.is_idle():
                continue
            if domain.shares_core or _core_is_idle(other):
                return other is cpu
            if first is None:
                first = other
        return (first if first is not None else local.cpus[0]) is cpu

    # -- from which CPU -----------------------------------------------------------------------------------------

    def _busiest_group(self, domain: Domain, why: int, left_out: int) -> CpuGroup | None:
        """The group that has too much, None if all is well; sets how much that is, and of what."""
        local: CpuGroup = domain.groups[0]
        busiest: CpuGroup | None = None
        load = weight = 0
        for group in domain.groups:
            group.survey(left_out)
            load += group.load
            weight += group.weight
            if group is local:
                continue
            if why != BUSY and group.smt and 1 < group.running <= group.weight and not group.imbalanced:
                group.kind = STACKED
            if group.running and (busiest is None or _is_busier(group, busiest)):
                busiest = group
        if domain.above is None:
            for cpu in self.cpus:
                cpu.crowded = cpu.root.runnable > 1
        if busiest is None or not self._is_unfair(domain, local, busiest, load // weight, why):
            return None
        self._imbalance = self._measure(domain, local, busiest, load // weight, why)
        return busiest if self._imbalance > 0 else None

    def _is_unfair(self, domain: Domain, local: CpuGroup, busiest: CpuGroup, average: int, why: int) -> bool:
        if busiest.kind == IMBALANCED:
            return True
        if local.kind > busiest.kind:
            return False
        if local.kind == OVERLOADED:
            here, there = local.average(), busiest.average()
            return here < there and here < average and 100 * there > domain.imbalance_percent * here
        if domain.spreads and local.kind == SPARE and _difference(local, busiest, why) > 1:
            return True
        if busiest.kind == OVERLOADED:
            return True
        if why == BUSY or busiest.running == 1:
            return False
        return busiest.weight == 1 or local.idle > busiest.idle + 1

    def _measure(self, domain: Domain, local: CpuGroup, busiest: CpuGroup, average: int, why: int) -> int:
        self._unit = TASKS
        if busiest.kind in (IMBALANCED, STACKED):
            return 1
        if local.kind == SPARE:
            if busiest.kind == OVERLOADED and not domain.shares_cache:
                self._unit = UTILISATION
                spare = (local.weight - min(local.running, local.weight)) * CAPACITY
                if spare == 0 and why != BUSY:
                    self._unit = TASKS
                    return 1
                return spare
            if busiest.weight == 1 or domain.spreads:
                count = _difference(local, busiest, why)
            else:
                count = max(local.idle - busiest.idle, 0)
            if domain.numa and local.running + 1 <= domain.imbalance_allowed and count <= PAIR:
                return 0
            return count >> 1
        here, there = local.average(), busiest.average()
        if here >= there or here >= average:
            return 0
        self._unit = LOAD
        return min((there - average) * busiest.weight, (average - here) * local.weight)

    def _busiest_cpu(self, cpu: Cpu, group: CpuGroup, left_out: int) -> Cpu | None:
        busiest: Cpu | None = None
        most = 0
        for other in group.cpus:
            runnable = other.root.runnable
            if runnable == 0 or other is cpu or left_out & other.bit:
                continue
            if self._unit == LOAD:
                value = other.load()
                if runnable == 1 and value > self._imbalance:
                    continue
            elif self._unit == UTILISATION:
                if runnable == 1:
                    continue
                value = CAPACITY
            else:
                value = runnable
            if value > most:
                busiest, most = other, value
        return busiest

    # -- which tasks --------------------------------------------------------------------------------------------

    def _detach(self, source: Cpu, target: Cpu, domain: Domain, why: int, now_ns: int) -> list[tuple[Task, Cpu]]:
        """Waiting tasks worth the imbalance, those that wait longest first; those that may not run on the target in
        another round, for the CPU of its group where the last of them may."""
        moving: list[tuple[Task, Cpu]] = []
        candidates: list[Task] = []
        self._collect(source.root, candidates)
        candidates.sort(key=_waiting_since)
        local: CpuGroup = domain.groups[0]
        untried = local.bits
        here: Cpu | None = target
        while here is not None:
            untried &= ~here.bit
            here = self._detach_for(source, here, domain, why, now_ns, candidates, moving, untried)
        return moving

    def _detach_for(
        self,
        source: Cpu,
        target: Cpu,
        domain: Domain,
        why: int,
        now_ns: int,
        candidates: list[Task],
        moving: list[tuple[Task, Cpu]],
        untried: int,
    ) -> Cpu | None:
        """One round of :meth:`_detach`; gives the CPU of the next one, if balance has not been reached."""
        left = source.root.runnable - len(moving)
        share = CAPACITY // source.root.runnable
        halvings = min(domain.failed, 60)
        other: Cpu | None = None
        for task in candidates[:LOOK_AT]:
            if why != BUSY and left <= 1:
                break
            if self._must_stay(task, target, domain):
                continue
            if not task.cpu_bits & target.bit:
                self._some_pinned = True
                if why != NEWLY_IDLE and other is None and task.cpu_bits & untried:
                    bits = task.cpu_bits & untried
                    other = self.cpus[(bits & -bits).bit_length() - 1]
                continue
            self._all_pinned = False
            if task.state == RUNNING or task is source.current or self._is_hot(task, domain, now_ns):
                continue
            if moving and _is_among(task, moving):
                continue
            value = 1
            if self._unit != TASKS:
                value = task.load_on_cpu() if self._unit == LOAD else share
                if value >> halvings > self._imbalance:
                    continue
            self._imbalance -= value
            moving.append((task, target))
            left -= 1
            if why == NEWLY_IDLE or self._imbalance <= 0:
                break
        return other if self._imbalance > 0 else None

    def _must_stay(self, task: Task, target: Cpu, domain: Domain) -> bool:
        """Whether a task could not run where it would go, since a group of it is throttled there, or had its share."""
        there: FairQueue = task.group.queues[target.number]
        if self.owing_stay and domain.failed == 0 and there.queued:
            queue = task.queue
            if queue is not None and not queue.eligible(task):
                return True
        above: FairQueue | None = there
        while above is not None:
            if above.throttled:
                return True
            above = above.entity.queue if above.entity is not None else None
        return False

    def _is_hot(self, task: Task, domain: Domain, now_ns: int) -> bool:
        """Whether a task's data may still be in its CPU's cache, and patience is not over yet."""
        if domain.shares_core or task.idle_policy or domain.failed > domain.cache_nice_tries:
            return False
        return now_ns - task.last_ran_ns < self.migration_cost_ns

    def _collect(self, queue: FairQueue, tasks: list[Task]) -> None:
        """Add the tasks on a queue and below it that are runnable."""
        if queue.throttled and not self.by_task:
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


def _waiting_since(task: Task) -> tuple[int, str]:
    return task.since_ns, task.name


def _is_among(task: Task, moving: list[tuple[Task, Cpu]]) -> bool:
    for other, _ in moving:  # noqa: SIM110 (a C loop)
        if other is task:
            return True
    return False


def _core_is_idle(cpu: Cpu) -> bool:
    for sibling in cpu.siblings:  # noqa: SIM110 (a C loop)
        if not sibling.is_idle():
            return False
    return True


def _is_busier(group: CpuGroup, busiest: CpuGroup) -> bool:
    """Whether a group is a better source than the best so far."""
    kind = group.kind
    if kind != busiest.kind:
        return kind > busiest.kind
    if kind == OVERLOADED:
        return group.average() > busiest.average()
    if kind == IMBALANCED:
        return False
    if kind == FULL or (kind == STACKED and group.idle == 0 and busiest.idle == 0):
        return not busiest.smt
    return group.idle < busiest.idle or (group.idle == busiest.idle and group.running > busiest.running)


def _difference(local: CpuGroup, busiest: CpuGroup, why: int) -> int:
    """By how many tasks a group has more than its share, if groups are filled evenly core by core."""
    if why == BUSY or busiest.running == 0:
        return 0
    if local.cores == busiest.cores:
        difference = max(busiest.running - local.running, 0)
    else:
        cores = local.cores + busiest.cores
        difference = max(local.cores * busiest.running - busiest.cores * local.running, 0)
        difference = (2 * difference + cores) // cores
    if difference <= 1 and local.running == 0 and busiest.running > 1:
        return 2
    return difference
