"""Which CPU a task is put on when it wakes up or begins: a pure decision from the state of the CPUs.

References
----------
Linux ``kernel/sched/fair.c``, 6.18: ``select_task_rq_fair`` (``wake_affine``, ``select_idle_sibling``).
"""

from __future__ import annotations

from virtsim.scheduling.cpu import Cpu
from virtsim.scheduling.task import Task

#: A busier CPU is left alone while it has at most this percentage of the load here (``imbalance_pct``).
IMBALANCE_PERCENT = 117


class Placement:
    """Chooses CPUs; whoever asks carries it out.

    Parameters
    ----------
    cpus : list of Cpu
        What it looks at.
    """

    def __init__(self, cpus: list[Cpu]) -> None:
        self.cpus = cpus

    def choose(self, task: Task, waker_cpu: int, sync: bool, idle_bits: int) -> int:
        """CPU of a task that wakes; ``idle_bits`` marks CPUs on which nothing runs."""
        if waker_cpu == task.cpu and not idle_bits:
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
        """CPU of a new task: an idle one, else the least loaded; its parent's only if no other is better."""
        allowed = task.cpus
        if len(allowed) == 1:
            return next(iter(allowed))
        cpus = self.cpus
        home = task.cpu if task.cpu in allowed else min(allowed)
        best = cpus[home]
        if best.is_idle():
            return home
        for number in sorted(allowed):
            cpu = cpus[number]
            if cpu.is_idle():
                return number
            if cpu.root.runnable < best.root.runnable:
                best = cpu
        return best.number

    def _affine(self, task: Task, previous: int, here: int, sync: bool) -> int:
        """Whether the waker's CPU or the previous one should be looked around."""
        waker, before = self.cpus[here], self.cpus[previous]
        if waker.is_idle():
            return previous if before.is_idle() else here
        if sync and waker.root.runnable == 1:
            return here
        if before.is_idle():
            return previous
        here_load = waker.load() + task.weight
        current = waker.current
        if sync and current is not None:
            here_load -= current.load_on_cpu()
        return here if here_load * 100 < before.load() * (100 + (IMBALANCE_PERCENT - 100) // 2) else previous

    def _idle_sibling(self, target: int, previous: int, task: Task, idle_bits: int) -> int:
        """An idle CPU: the target, the previous one, or the next after the target, round all CPUs."""
        idle = idle_bits & task.cpu_bits
        if not idle:
            return target
        cpus = self.cpus
        target_cpu = cpus[target]
        if target_cpu.is_idle():
            return target
        before = cpus[previous]
        if previous != target and before.is_idle():
            return previous
        for bits in (idle & -target_cpu.bit, idle & (target_cpu.bit - 1)):
            while bits:
                number = (bits & -bits).bit_length() - 1
                cpu = cpus[number]
                if cpu.is_idle():
                    return number
                bits &= bits - 1
        return target
