"""A vCPU enters its guest and leaves it: while it does not run below, its CPU above stands still.

The running task's burst and accounts then stop, the clock does not. Standing still is a time: the CPU has been
followed up to :data:`~virtsim.scheduling.vcpu_states.FAR_NS`, later than any event, so that checks that a heart makes
anyway leave it alone.
"""

from __future__ import annotations

from virtsim.scheduling.cpu import Cpu
from virtsim.scheduling.dispatcher import Dispatcher
from virtsim.scheduling.guest_ticks import GuestTicks
from virtsim.scheduling.input_output import InputOutput
from virtsim.scheduling.layout import Layout
from virtsim.scheduling.program import GAVE_UP, NEEDS_TIME
from virtsim.scheduling.settings import Kernel, SchedulingCosts
from virtsim.scheduling.task import RUNNABLE, Task
from virtsim.scheduling.vcpu import Vcpu
from virtsim.scheduling.vcpu_states import (
    AWAY,
    BUSY,
    ENDLESS_NS,
    FAR_NS,
    GUEST,
    HALTED,
    IDLE,
    OVERHEAD,
    POLLING,
    STEAL,
)


class WorldSwitch(GuestTicks):
    """Switches between a kernel's vCPUs and the guests on them.

    Attributes
    ----------
    vcpus : list of Vcpu
        What its own CPUs are, in order; empty on the bare machine.
    """

    __slots__ = ("vcpus",)

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
        self.vcpus: list[Vcpu] = []

    # -- vCPUs as tasks of this kernel --------------------------------------------------------------------------

    def _switch(self, cpu: Cpu, previous: Task | None, chosen: Task | None) -> None:
        Dispatcher._switch(self, cpu, previous, chosen)
        if isinstance(previous, Vcpu):
            leaving = previous
            self._switched_out(leaving)
        if isinstance(chosen, Vcpu) and cpu.burst_at_ns < FAR_NS:
            coming = chosen
            coming.count(self.now_ns, OVERHEAD)

    def _extended(self, task: Task, code: int, a: int, b: int) -> int:
        if isinstance(task, Vcpu):
            vcpu = task
            return self._enter(vcpu)
        return InputOutput._extended(self, task, code, a, b)

    def _enter(self, vcpu: Vcpu) -> int:
        """A vCPU has its CPU: it goes into its guest, or to sleep."""
        vcpu.pc = 0
        if vcpu.stopped:
            return self._sleep(vcpu, STEAL)
        if vcpu.mode == POLLING:
            vcpu.mode = HALTED
            return self._sleep(vcpu, IDLE)
        vcpu.mode = GUEST
        vcpu.burst_ns = ENDLESS_NS
        above = vcpu.above
        above.now_ns = self.now_ns
        vcpu.entering = True
        above._go_on(vcpu)
        vcpu.entering = False
        if vcpu.burst_ns > 0:
            return NEEDS_TIME
        if vcpu.mode == AWAY:
            return self._enter(vcpu)
        vcpu.mode = HALTED
        return self._sleep(vcpu, IDLE)

    def _sleep(self, vcpu: Vcpu, counted_as: int) -> int:
        self._block(vcpu)
        vcpu.burst_ns = 0
        vcpu.count(self.now_ns, counted_as)
        return GAVE_UP

    def _switched_out(self, vcpu: Vcpu) -> None:
        """A vCPU no longer runs here."""
        if vcpu.mode == GUEST:
            vcpu.mode = AWAY
            vcpu.above.now_ns = self.now_ns
            vcpu.above._stand_still(vcpu)
        if vcpu.state == RUNNABLE:
            # One that was polling blocks as soon as it runs again; one that spins soon exits (shrink_ple_window).
            vcpu.burst_ns = 0
            vcpu.pause_window_ns = vcpu.hypervisor.pause_window_ns
            vcpu.count(self.now_ns, STEAL)

    def _parks_at_once(self, task: Task) -> bool:
        """A vCPU does, too: it would not enter its guest."""
        return Dispatcher._parks_at_once(self, task) or isinstance(task, Vcpu)

    # -- CPUs of this kernel, as vCPUs of the one below ---------------------------------------------------------

    def _change_speed(self, cpu: Cpu, speed: int) -> None:
        """As any heart; a vCPU in its guest takes it there."""
        Dispatcher._change_speed(self, cpu, speed)
        task = cpu.current
        if isinstance(task, Vcpu):
            vcpu = task
            if vcpu.mode == GUEST:
                vcpu.above.now_ns = self.now_ns
                vcpu.above._change_speed(vcpu.cpu_above, speed)

    def _stand_still(self, vcpu: Vcpu) -> None:
        """Stop a CPU of this storey, whose vCPU no longer runs."""
        cpu = vcpu.cpu_above
        task = cpu.current
        if task is not None:
            self._account(cpu)
            self._follow_burst(cpu, task)
            if isinstance(task, Vcpu):
                inner = task
                inner.count(self.now_ns, STEAL)
                if inner.mode == GUEST:
                    inner.above.now_ns = self.now_ns
                    inner.above._stand_still(inner)
        cpu.version += 1
        cpu.account_ns = cpu.burst_at_ns = FAR_NS

    def _go_on(self, vcpu: Vcpu) -> None:
        """Let a CPU of this storey go on, whose vCPU has entered its guest."""
        cpu = vcpu.cpu_above
        cpu.account_ns = cpu.burst_at_ns = self.now_ns
        place: Cpu = vcpu.below.cpus[vcpu.cpu]
        cpu.speed = place.speed
        task = cpu.current
        vcpu.count(self.now_ns, OVERHEAD if task is None else BUSY)
        if isinstance(task, Vcpu):
            inner = task
            inner.count(self.now_ns, OVERHEAD)
            if inner.mode == GUEST:
                inner.above.now_ns = self.now_ns
                inner.above._go_on(inner)

    # -- where it stands ----------------------------------------------------------------------------------------

    def _stands_still(self, cpu: int) -> bool:
        place = self.cpus[cpu]
        return place.burst_at_ns >= FAR_NS

    def _machine(self) -> InputOutput:
        storey: WorldSwitch = self
        while storey.vcpus:
            vcpu = storey.vcpus[0]
            storey = vcpu.below
        return storey

    def _cpu_below(self, cpu: int) -> int:
        storey: WorldSwitch = self
        while storey.vcpus:
            vcpu = storey.vcpus[cpu]
            storey, cpu = vcpu.below, vcpu.cpu
        return cpu
