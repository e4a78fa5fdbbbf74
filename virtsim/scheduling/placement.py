"""Which CPU a task is put on when it wakes up or begins: a pure decision from the state of the CPUs.

References
----------
Linux ``kernel/sched/fair.c``, 6.18: ``select_task_rq_fair`` (``wake_affine``, ``select_idle_sibling``,
``sched_balance_find_dst_group``). Loads are those of the moment, not decayed averages; ``wake_wide`` (one
waker of very many) and the limit of the search on busy caches (``SIS_UTIL``) are left out. Kernels for guests that are
built to keep halted vCPUs halted (``VCPU_PACK``) leave out the search altogether: a woken task goes to another CPU than
its own only if that is the waker's.
"""

from __future__ import annotations

from virtsim.scheduling.cpu import Cpu
from virtsim.scheduling.domains import CpuGroup, Domain
from virtsim.scheduling.states import FULL, SPARE
from virtsim.scheduling.task import Task

#: Weight of a task of nice 0.
NICE_0_WEIGHT = 1024
#: So many tasks may stay together on a node before memory distance is the lesser evil (``NUMA_IMBALANCE_MIN``).
PAIR = 2


class Placement:
    """Chooses CPUs; whoever asks carries it out.

    Parameters
    ----------
    cpus : list of Cpu
        What it looks at.
    searches : bool
        Whether an idle CPU is looked for in the cache if a woken task's own is busy.
    """

    def __init__(self, cpus: list[Cpu], searches: bool = True) -> None:
        self.cpus = cpus
        self.searches = searches

    def choose(self, task: Task, waker_cpu: int, sync: bool, idle_bits: int) -> int:
        """CPU of a task that wakes; ``idle_bits`` marks CPUs on which nothing runs."""
        if waker_cpu == task.cpu and not idle_bits:
            task.recent_cpu = waker_cpu
            return waker_cpu
        allowed = task.cpus
        if len(allowed) == 1:
            return next(iter(allowed))
        previous = task.cpu if task.cpu in allowed else min(allowed)
        target = previous
        if waker_cpu != previous and waker_cpu in allowed:
            target = self._affine(task, previous, waker_cpu, sync)
        return self._idle_sibling(target, previous, task, idle_bits)

    def choose_for_fork(self, task: Task) -> int:
        """CPU of a new task: down the domains of its parent's CPU, each time into the idlest group."""
        allowed = task.cpus
        if len(allowed) == 1:
            return next(iter(allowed))
        here = self.cpus[task.cpu if task.cpu in allowed else min(allowed)]
        task.recent_cpu = here.number
        place = len(here.domains) - 1
        while place >= 0:
            domain: Domain = here.domains[place]
            place -= 1
            group = self._idlest_group(task, domain) if domain.near else None
            if group is None:
                continue
            here = self._idlest_cpu(task, group)
            # Go on within what has been chosen.
            place = len(here.domains) - 1
            while place >= 0 and here.domains[place].weight >= domain.weight:
                place -= 1
        return here.number

    # -- waking -------------------------------------------------------------------------------------------------

    def _affine(self, task: Task, previous: int, here: int, sync: bool) -> int:
        """Whether the waker's CPU or the previous one should be looked around."""
        waker, before = self.cpus[here], self.cpus[previous]
        common: Domain | None = None
        for domain in waker.domains:
            if domain.near and domain.bits & before.bit:
                common = domain
                break
        if common is None:
            return previous
        if waker.cache is before.cache and waker.is_idle():
            return previous if before.is_idle() else here
        if sync and waker.root.runnable == 1:
            return here
        if before.is_idle():
            return previous
        here_load = waker.load()
        current = waker.current
        if sync and current is not None:
            waker_load = current.load_on_cpu()
            if waker_load > here_load:
                return here
            here_load -= waker_load
        here_load = (here_load + task.weight) * 100
        there_load = before.load() * (100 + (common.imbalance_percent - 100) // 2)
        if sync:
            there_load += 1
        return here if here_load < there_load else previous

    def _idle_sibling(self, target: int, previous: int, task: Task, idle_bits: int) -> int:
        """An idle CPU near a target: itself, the previous one, the one before, then one of the target's cache."""
        target_cpu, before = self.cpus[target], self.cpus[previous]
        if target_cpu.is_idle():
            return target
        near = before.cache is target_cpu.cache
        if previous != target and near and before.is_idle():
            return previous
        recent = task.recent_cpu
        task.recent_cpu = previous
        if not self.searches:
            return target
        idle = idle_bits & task.cpu_bits & target_cpu.cache.bits
        if not idle:
            return target
        if recent >= 0 and recent != previous and recent != target:
            other = self.cpus[recent]
            if idle & other.bit and other.is_idle():
                return recent
        if target_cpu.cache.smt:
            return self._idle_core(target_cpu, before, task)
        for bits in (idle & -target_cpu.bit, idle & (target_cpu.bit - 1)):
            while bits:
                number = (bits & -bits).bit_length() - 1
                cpu = self.cpus[number]
                if cpu.is_idle():
                    return number
                bits &= bits - 1
        return target

    def _idle_core(self, target: Cpu, before: Cpu, task: Task) -> int:
        """A thread of an idle core of the target's cache; else an idle sibling; else any idle thread there."""
        cache = target.cache
        whole = cache.idle_core
        if not whole and before.cache is cache:
            for sibling in before.siblings:
                if sibling is not before and task.cpu_bits & sibling.bit and sibling.is_idle():
                    return sibling.number
        fallback = -1
        seen = 0
        count = len(self.cpus)
        number = target.number
        for _ in range(count):
            number = number + 1 if number + 1 < count else 0
            cpu = self.cpus[number]
            if cpu.cache is not cache or seen & cpu.bit or not task.cpu_bits & cpu.bit:
                continue
            if not whole:
                if cpu.is_idle():
                    return number
                continue
            idle = True
            for sibling in cpu.siblings:
                seen |= sibling.bit
                if not sibling.is_idle():
                    idle = False
                elif fallback < 0 and task.cpu_bits & sibling.bit:
                    fallback = sibling.number
            if idle:
                return number
        if whole:
            cache.idle_core = False
        return fallback if fallback >= 0 else target.number

    # -- beginning ----------------------------------------------------------------------------------------------

    def _idlest_group(self, task: Task, domain: Domain) -> CpuGroup | None:
        """Where a new task should go; None for the CPU's own group."""
        local: CpuGroup = domain.groups[0]
        idlest: CpuGroup | None = None
        for group in domain.groups:
            if not task.cpu_bits & group.bits:
                continue
            group.survey(0)
            if group is not local and (idlest is None or _is_idler(group, idlest)):
                idlest = group
        if idlest is None:
            return None
        if not task.cpu_bits & local.bits or local.kind > idlest.kind:
            return idlest
        if local.kind < idlest.kind:
            return None
        if local.kind != SPARE:
            margin = NICE_0_WEIGHT * (domain.imbalance_percent - 100) // 100
            return None if idlest.average() + margin >= local.average() else idlest
        if domain.numa:
            difference = abs(local.idle - idlest.idle)
            may_stay = min((task.cpu_bits & local.bits).bit_count(), domain.imbalance_allowed)
            if local.running + 1 <= may_stay and difference <= PAIR:
                return None
        return None if local.idle >= idlest.idle else idlest

    def _idlest_cpu(self, task: Task, group: CpuGroup) -> Cpu:
        """The CPU that went idle last, else the least loaded one."""
        best: Cpu | None = None
        least: Cpu | None = None
        for cpu in group.cpus:
            if not task.cpu_bits & cpu.bit:
                continue
            if cpu.is_idle():
                if best is None or cpu.idle_since_ns > best.idle_since_ns:
                    best = cpu
            elif least is None or cpu.load() < least.load():
                least = cpu
        chosen = best if best is not None else least
        assert chosen is not None
        return chosen


def _is_idler(group: CpuGroup, idlest: CpuGroup) -> bool:
    if group.kind != idlest.kind:
        return group.kind < idlest.kind
    if group.kind >= FULL:
        return group.average() < idlest.average()
    return group.idle > idlest.idle or (group.idle == idlest.idle and group.running < idlest.running)
