"""Spinlocks of a guest's kernel, and what its hypervisor or the guest itself does about a vCPU that spins for long.

Who holds or waits for one is not preempted by its own kernel; but its vCPU may be by the kernel below, and others
then spin in vain (lock-holder preemption). Of that the hypervisor may take notice (pause-loop exits, with a directed
yield to a sibling that waits), or the guest (paravirtual spinlocks: it halts until it is given the lock).

References
----------
Linux, 6.12: ``virt/kvm/kvm_main.c``, ``kvm_vcpu_on_spin``; ``arch/x86/kvm/vmx/vmx.c``, ``ple_window``;
``kernel/locking/qspinlock_paravirt.h``.
"""

from __future__ import annotations

from typing import Any

from virtsim.scheduling.cpu import Cpu
from virtsim.scheduling.dispatcher import Dispatcher, _entity_on, _meeting
from virtsim.scheduling.fair import Entity
from virtsim.scheduling.guest_ticks import GuestTicks
from virtsim.scheduling.halting import Halting
from virtsim.scheduling.interrupts import Interrupts
from virtsim.scheduling.layout import Layout
from virtsim.scheduling.program import GO_ON, NEEDS_TIME, Code
from virtsim.scheduling.settings import SPINNING, Kernel, SchedulingCosts
from virtsim.scheduling.task import RUNNABLE, Task
from virtsim.scheduling.vcpu import Vcpu
from virtsim.scheduling.vcpu_states import ENDLESS_NS, FAR_NS, PAUSE_LOOP
from virtsim.scheduling.words import Words

#: Spins for no lock.
NO_LOCK = -1
_PLE = SPINNING.index("ple")
_PV = SPINNING.index("pv")
_SPIN_LOCK = int(Code.SPIN_LOCK)
_SPIN_UNLOCK = int(Code.SPIN_UNLOCK)


class Spinning(Interrupts):
    """Adds spinlocks.

    Attributes
    ----------
    held : Words
        By CPU: how many spinlocks its task holds or waits for.
    spin_ns : int, ns
        CPU time spent spinning for locks.
    """

    __slots__ = ("_last_boosted", "held", "spin_ns", "spin_owners", "spin_waiters", "spins_for", "spun_from_ns")

    def __init__(
        self,
        cpus: int,
        kernel: Kernel | None,
        costs: SchedulingCosts | None,
        tick_phase_ns: int,
        seed: int,
        layout: Layout | None,
    ) -> None:
        super().__init__(cpus, kernel, costs, tick_phase_ns, seed, layout)
        self.spin_owners: list[Task | None] = []
        self.spin_waiters: list[list[Task]] = []
        self.held = Words(cpus)
        #: By CPU: which lock its task spins for (-1: none), and its CPU time when that began.
        self.spins_for = Words(cpus)
        self.spun_from_ns = Words(cpus)
        for number in range(cpus):
            self.spins_for[number] = NO_LOCK
        self.spin_ns = 0
        self._last_boosted = 0

    def add_spinlock(self) -> int:
        """Make a free spinlock."""
        self.spin_owners.append(None)
        self.spin_waiters.append([])
        return len(self.spin_owners) - 1

    # -- locks ----------------------------------------------------------------------------------------------------

    def _extended(self, task: Task, code: int, a: int, b: int) -> int:
        if code == _SPIN_LOCK:
            return self._spin_lock(task, a)
        if code == _SPIN_UNLOCK:
            return self._spin_unlock(task, a)
        return Interrupts._extended(self, task, code, a, b)

    def _pick(self, cpu: Cpu) -> Task | None:
        """Who holds or waits for a spinlock is not preempted by this kernel."""
        if self.held.at[cpu.number]:
            return cpu.current
        return Dispatcher._pick(self, cpu)

    def _evict(self, cpu: Cpu) -> None:
        """Nor is its task moved."""
        if not self.held.at[cpu.number]:
            Halting._evict(self, cpu)

    def _spin_lock(self, task: Task, number: int) -> int:
        cpu = task.cpu
        self.held.at[cpu] += 1
        if self.spin_owners[number] is None:
            self.spin_owners[number] = task
            return GO_ON
        self.spin_waiters[number].append(task)
        self._account(self.cpus[cpu])
        self.spins_for.at[cpu] = number
        self.spun_from_ns.at[cpu] = task.cpu_time_ns
        task.burst_ns = ENDLESS_NS
        return NEEDS_TIME

    def _spin_unlock(self, task: Task, number: int) -> int:
        cpu = self.cpus[task.cpu]
        self.held.at[task.cpu] -= 1
        self.spin_owners[number] = None
        waiters = self.spin_waiters[number]
        if waiters:
            self._grant(number, self._next_spinner(waiters))
        if self.held.at[task.cpu] == 0 and cpu.current is not None:
            # What was put off while it held the lock.
            self._reschedule_if_due(cpu)
        return GO_ON

    def _reschedule_if_due(self, cpu: Cpu) -> None:
        if cpu.root.queued > 1:
            parking = cpu.parking
            due = Dispatcher._pick(self, cpu) is not cpu.current
            cpu.parking = parking
            if due:
                self._reschedule_soon(cpu, 0)

    def _next_spinner(self, waiters: list[Task]) -> int:
        """The first in line; where vCPUs take what they find free, the first that runs now."""
        if self.vcpus:
            vcpu = self.vcpus[0]
            if vcpu.fair_spinlocks:
                return 0
            for place, waiter in enumerate(waiters):
                if self.cpus[waiter.cpu].burst_at_ns < FAR_NS:
                    return place
        return 0

    def _grant(self, number: int, place: int) -> None:
        waiter = self.spin_waiters[number].pop(place)
        self.spin_owners[number] = waiter
        cpu = self.cpus[waiter.cpu]
        self._end_spin(cpu, waiter)
        self.spins_for.at[waiter.cpu] = NO_LOCK
        waiter.burst_ns = 0
        if cpu.burst_at_ns < FAR_NS:
            cpu.burst_at_ns = self.now_ns
            self._run_on(cpu, waiter)
        elif self.vcpus:
            self._kick(self.vcpus[waiter.cpu], False)

    def _end_spin(self, cpu: Cpu, task: Task) -> None:
        self._account(cpu)
        self.spin_ns += task.cpu_time_ns - self.spun_from_ns.at[cpu.number]
        self.spun_from_ns.at[cpu.number] = task.cpu_time_ns

    # -- spinning for long ----------------------------------------------------------------------------------------

    def _run_on(self, cpu: Cpu, task: Task) -> None:
        GuestTicks._run_on(self, cpu, task)
        if self.spins_for.at[cpu.number] >= 0 and self.vcpus and cpu.burst_at_ns < FAR_NS:
            window_ns = self._spin_window_ns(self.vcpus[cpu.number])
            if window_ns:
                self.events.push(self.now_ns + window_ns, PAUSE_LOOP, cpu, cpu.version)

    def _serve(self, kind: int, subject: Any, version: int) -> None:
        if kind == PAUSE_LOOP:
            self._spun(subject, version)
        else:
            Interrupts._serve(self, kind, subject, version)

    def _spin_window_ns(self, vcpu: Vcpu) -> int:
        """After how much spinning something is done about it; 0 for never."""
        if vcpu.spinning == _PV:
            return vcpu.spun_out_ns
        return vcpu.pause_window_ns if vcpu.spinning == _PLE else 0

    def _spun(self, cpu: Cpu, version: int) -> None:
        if version == cpu.version and self.spins_for.at[cpu.number] >= 0:
            self._pause_loop(cpu)

    def _pause_loop(self, cpu: Cpu) -> None:
        """A CPU has spun for long: it halts until it gets the lock, or its hypervisor lets a sibling run."""
        vcpu = self.vcpus[cpu.number]
        task = cpu.current
        assert task is not None
        if vcpu.spinning == _PV:
            self._halt(vcpu)
            return
        vcpu.pause_exits += 1
        window_ns = vcpu.pause_window_ns * 2
        vcpu.pause_window_ns = min(window_ns, vcpu.hypervisor.pause_window_ns << 20)
        # If it goes on spinning after all; void once it has been scheduled out.
        self.events.push(self.now_ns + vcpu.pause_window_ns, PAUSE_LOOP, cpu, cpu.version)
        below = vcpu.below
        assert isinstance(below, Spinning)
        below.now_ns = self.now_ns
        sibling = self._preempted_sibling(vcpu)
        if sibling is not None:
            vcpu.yields += 1
            if vcpu.policy is None:
                below.yield_to(vcpu, sibling)
            else:
                # Xen's schedulers know no one to prefer: who yields goes back to its policy.
                below.reschedule(below.cpus[vcpu.cpu])

    def _preempted_sibling(self, vcpu: Vcpu) -> Vcpu | None:
        """The next vCPU of the guest that waits below while its guest's kernel holds or wants a spinlock."""
        count = len(self.vcpus)
        for step in range(1, count + 1):
            number = (self._last_boosted + step) % count
            other = self.vcpus[number]
            if other is not vcpu and other.state == RUNNABLE and (self.held.at[number] or other.pending):
                self._last_boosted = number
                return other
        return None

    def yield_to(self, task: Task, other: Task) -> None:
        """A running task gives way to a waiting one: that is preferred as far as fairness lets it."""
        cpu = self.cpus[task.cpu]
        self._account(cpu)
        target = self.cpus[other.cpu]
        if target is not cpu and target.current is not None:
            self._account(target)
        self._prefer(other, target)
        entity: Entity | None = task
        while entity is not None:
            entity.deadline += entity.virtual(entity.slice_ns)
            entity.vprot = entity.vruntime
            entity = entity.parent
        cpu.resched = True
        self._reschedule_soon(cpu, 0)

    def _prefer(self, other: Task, target: Cpu) -> None:
        running = target.current
        if running is None:
            return
        mine: Entity = other
        its: Entity = running
        if other.queue is not running.queue:
            common = _meeting(other, running)
            assert common is not None
            mine, its = _entity_on(other, common), _entity_on(running, common)
        queue = mine.queue
        assert queue is not None
        if mine is not its and mine.on_queue and queue.current is not mine:
            queue.put_first(mine)
            its.vprot = its.vruntime
        target.resched = True
        self._reschedule_soon(target, 0)
