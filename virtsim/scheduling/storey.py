"""A heart whose CPUs are tasks of another heart: a guest's kernel, a guest hypervisor, the host of guests.

A :class:`~virtsim.scheduling.vcpu.Vcpu` is a task to the storey below, which schedules it, and a CPU to the storey
above, whose tasks run on it. :class:`~virtsim.scheduling.tower.Tower` advances the storeys together.

A storey is built up in layers, as the heart is, each a file: :class:`~virtsim.scheduling.guest_ticks.GuestTicks`
(what ticks cost), :class:`~virtsim.scheduling.world_switch.WorldSwitch` (a vCPU enters its guest and leaves it),
:class:`~virtsim.scheduling.halting.Halting` (nothing to do), :class:`~virtsim.scheduling.interrupts.Interrupts` (what
is due while a CPU stands still), :class:`~virtsim.scheduling.spinning.Spinning` (spinlocks), and here the construction
and the accounts.
"""

from __future__ import annotations

from virtsim.core.errors import ModelError
from virtsim.scheduling.layout import Layout
from virtsim.scheduling.settings import Kernel, SchedulingCosts
from virtsim.scheduling.spinning import Spinning
from virtsim.scheduling.task import BLOCKED
from virtsim.scheduling.vcpu import Vcpu
from virtsim.scheduling.vcpu_states import FAR_NS


class Storey(Spinning):
    """One scheduler among several that stand on each other.

    Parameters
    ----------
    cpus, kernel, costs, tick_phase_ns, seed, layout
        As of a :class:`~virtsim.scheduling.heart.Heart`.
    tick_charge_ns : int, ns
        CPU time that each tick of a busy CPU takes, served or not (a guest's timer exits).
    timer_charge_ns : int, ns
        CPU time that a timer's interrupt takes from the task it wakes.
    """

    __slots__ = ()

    def __init__(
        self,
        cpus: int,
        kernel: Kernel | None = None,
        costs: SchedulingCosts | None = None,
        tick_phase_ns: int = 0,
        seed: int = 0,
        tick_charge_ns: int = 0,
        timer_charge_ns: int = 0,
        layout: Layout | None = None,
    ) -> None:
        super().__init__(cpus, kernel, costs, tick_phase_ns, seed, layout)
        self.tick_charge_ns = tick_charge_ns
        self.timer_charge_ns = timer_charge_ns

    def add_vcpu(self, vcpu: Vcpu) -> None:
        """Take a vCPU among the tasks of this storey, which is below it; it begins halted."""
        above = vcpu.above
        if vcpu.below is not self or len(above.vcpus) != vcpu.cpu_above.number:
            raise ModelError(f"{vcpu.name} is not the next vCPU between these two storeys")
        above.vcpus.append(vcpu)
        vcpu.cpu = min(vcpu.cpus)
        vcpu.state = BLOCKED
        self._adopt(vcpu)
        vcpu.cpu_above.account_ns = vcpu.cpu_above.burst_at_ns = FAR_NS

    def first_event_ns(self) -> int:
        """When something is due next; :data:`FAR_NS` or later if nothing ever is."""
        return self.events.first_ns()

    def serve_next(self) -> None:
        """Work through the earliest event."""
        events = self.events
        if events.pop(FAR_NS):
            self.now_ns = events.time_ns
            self._serve(events.kind, events.subject, events.version)

    def bring_up_to_date(self) -> None:
        """Bring all accounts up to now."""
        for cpu in self.cpus:
            if cpu.current is not None:
                self._account(cpu)
                self._follow_burst(cpu, cpu.current)
                if self.spins_for.at[cpu.number] >= 0:
                    self._end_spin(cpu, cpu.current)
        for vcpu in self.vcpus:
            vcpu.count(self.now_ns, vcpu.counted_as)
