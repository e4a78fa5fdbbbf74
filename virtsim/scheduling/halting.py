"""A guest that finds nothing to do halts: its hypervisor polls for work for a while, then the vCPU blocks below.

References
----------
Linux ``virt/kvm/kvm_main.c``, 6.12: ``kvm_vcpu_halt``, ``grow_halt_poll_ns``, ``shrink_halt_poll_ns``.
"""

from __future__ import annotations

from virtsim.scheduling.cpu import Cpu
from virtsim.scheduling.dispatcher import Dispatcher
from virtsim.scheduling.layout import Layout
from virtsim.scheduling.settings import Kernel, SchedulingCosts
from virtsim.scheduling.task import RUNNING, Task
from virtsim.scheduling.vcpu import Vcpu
from virtsim.scheduling.vcpu_states import AWAY, BUSY, FAR_NS, HALTED, OVERHEAD, POLLING, STEAL
from virtsim.scheduling.world_switch import WorldSwitch


class Halting(WorldSwitch):
    """Halts vCPUs that have nothing to do, and wakes them when there is work."""

    __slots__ = ("_keep_awake",)

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
        self._keep_awake = False

    def _switch(self, cpu: Cpu, previous: Task | None, chosen: Task | None) -> None:
        WorldSwitch._switch(self, cpu, previous, chosen)
        if self.vcpus and cpu.burst_at_ns < FAR_NS:
            vcpu = self.vcpus[cpu.number]
            if chosen is not None:
                if previous is None:
                    vcpu.count(self.now_ns, BUSY)
            elif not self._keep_awake:
                self._halt(vcpu)
            else:
                vcpu.count(self.now_ns, OVERHEAD)

    def _evict(self, cpu: Cpu) -> None:
        """As any heart; one that stands still is left alone."""
        if cpu.burst_at_ns < FAR_NS:
            self._keep_awake = True
            Dispatcher._evict(self, cpu)
            self._keep_awake = False

    def _halt(self, vcpu: Vcpu) -> None:
        """Nothing is left to do above: leave the guest, poll for work, and block when none has come."""
        now = self.now_ns
        below = vcpu.below
        below.now_ns = now
        self._stand_still(vcpu)
        vcpu.mode = POLLING
        vcpu.halts += 1
        vcpu.halted_at_ns = now
        vcpu.count(now, OVERHEAD)
        poll_ns = vcpu.poll_ns
        place = below.cpus[vcpu.cpu]
        if poll_ns and place.root.runnable > 1:
            poll_ns = 0
        vcpu.poll_end_ns = now + vcpu.halt_ns + poll_ns
        if not vcpu.entering and place.burst_at_ns < now:
            place.burst_at_ns = now
        vcpu.burst_ns = vcpu.halt_ns + poll_ns
        if not vcpu.entering:
            below._run_on(place, vcpu)

    def _halt_if_idle(self, vcpu: Vcpu) -> None:
        """Nothing was found to run, though somebody woke: its group may be throttled."""
        cpu = vcpu.cpu_above
        if cpu.current is None and cpu.burst_at_ns < FAR_NS and not cpu.resched_pending:
            self._halt(vcpu)

    def _kick(self, vcpu: Vcpu, timer: bool) -> None:
        """There is work for a CPU of this storey that stands still: wake its vCPU if it has halted."""
        now = self.now_ns
        below = vcpu.below
        if vcpu.mode == POLLING:
            vcpu.kicks += 1
            vcpu.polled += 1
            vcpu.mode = AWAY
            self._end_halt(vcpu, now)
            below.now_ns = now
            place = below.cpus[vcpu.cpu]
            if vcpu.state == RUNNING:
                if place.burst_at_ns < FAR_NS:
                    below._follow_burst(place, vcpu)
                left_ns = vcpu.halted_at_ns + vcpu.halt_ns - now
                vcpu.burst_ns = left_ns if left_ns > 0 else 0
                if place.burst_at_ns < FAR_NS and not vcpu.entering:
                    below._run_on(place, vcpu)
        elif vcpu.mode == HALTED:
            vcpu.kicks += 1
            vcpu.mode = AWAY
            self._end_halt(vcpu, now)
            if vcpu.stopped:
                return
            below.now_ns = now
            vcpu.count(now, STEAL)
            waker = vcpu.cpu if timer or vcpu.waker < 0 else vcpu.waker
            vcpu.waker = -1
            below.wake(vcpu, waker, timer)

    def _end_halt(self, vcpu: Vcpu, now: int) -> None:
        """Adapt the time for which the hypervisor polls to how long the guest had halted."""
        halted_ns = now - vcpu.halted_at_ns
        longest_ns = vcpu.longest_poll_ns
        if longest_ns == 0:
            return
        exit_ns = vcpu.halt_ns
        polled_until_ns = vcpu.poll_end_ns if vcpu.poll_end_ns < now else now
        if polled_until_ns > vcpu.halted_at_ns + exit_ns:
            vcpu.poll_time_ns += polled_until_ns - vcpu.halted_at_ns - exit_ns
        if halted_ns <= vcpu.poll_ns:
            return
        if vcpu.poll_ns and halted_ns > longest_ns:
            vcpu.poll_ns = vcpu.poll_ns // vcpu.poll_shrink if vcpu.poll_shrink else 0
            if vcpu.poll_ns < vcpu.poll_start_ns:
                vcpu.poll_ns = 0
        elif vcpu.poll_ns < longest_ns and halted_ns < longest_ns:
            vcpu.poll_ns = vcpu.poll_ns * vcpu.poll_grow
            if vcpu.poll_ns < vcpu.poll_start_ns:
                vcpu.poll_ns = vcpu.poll_start_ns
            if vcpu.poll_ns > longest_ns:
                vcpu.poll_ns = longest_ns

    def wake(self, task: Task, waker_cpu: int, timer: bool = False, sync: bool = False) -> int:
        """As any heart; a vCPU that polls on the CPU stops polling, and notes which CPU its work comes from."""
        cost_ns = Dispatcher.wake(self, task, waker_cpu, timer, sync)
        cpu = self.cpus[task.cpu]
        running = cpu.current
        if isinstance(running, Vcpu) and cpu.burst_at_ns < FAR_NS:
            polling = running
            if polling.mode == POLLING:
                self._stop_polling(cpu, polling)
        if self.vcpus and task.cpu != waker_cpu and not timer:
            vcpu = self.vcpus[task.cpu]
            if vcpu.mode == HALTED:
                vcpu.waker = self.vcpus[waker_cpu].cpu
        return cost_ns

    def _stop_polling(self, cpu: Cpu, vcpu: Vcpu) -> None:
        """Somebody else wants the CPU on which a vCPU polls."""
        self._follow_burst(cpu, vcpu)
        left_ns = vcpu.halted_at_ns + vcpu.halt_ns - self.now_ns
        if left_ns < 0:
            left_ns = 0
        if vcpu.burst_ns > left_ns:
            vcpu.burst_ns = left_ns
            vcpu.poll_end_ns = self.now_ns + left_ns
        self._run_on(cpu, vcpu)
