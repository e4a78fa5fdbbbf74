"""Ticks of a guest's kernel cost its CPUs time whether they are served or not.

What they cost more than on the bare machine is added to whatever computes, in closed form, so that a guest alone
with its work needs no events for them.
"""

from __future__ import annotations

from virtsim.scheduling.cpu import Cpu
from virtsim.scheduling.dispatcher import Dispatcher
from virtsim.scheduling.heart import Heart
from virtsim.scheduling.layout import Layout
from virtsim.scheduling.settings import Kernel, SchedulingCosts
from virtsim.scheduling.states import FULL_SPEED
from virtsim.scheduling.task import Task
from virtsim.scheduling.vcpu_states import ENDLESS_NS, FAR_NS


class GuestTicks(Heart):
    """Charges ticks to what runs.

    Attributes
    ----------
    tick_charge_ns : int, ns
        CPU time that each tick of a busy CPU takes.
    """

    __slots__ = ("tick_charge_ns",)

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
        self.tick_charge_ns = 0

    def _follow_burst(self, cpu: Cpu, task: Task) -> None:
        passed_ns = self.now_ns - cpu.burst_at_ns
        if passed_ns > 0:
            if self.tick_charge_ns:
                task.burst_ns += self.tick_charge_ns * self._ticks(cpu.burst_at_ns, self.now_ns)
            task.burst_ns -= passed_ns if cpu.speed == FULL_SPEED else cpu.progress_ns(passed_ns)
            cpu.burst_at_ns = self.now_ns

    def _run_on(self, cpu: Cpu, task: Task) -> None:
        if self.tick_charge_ns and cpu.burst_at_ns < FAR_NS and 0 < task.burst_ns < ENDLESS_NS >> 1:
            burst_ns = task.burst_ns
            start_ns = cpu.burst_at_ns
            charged = 0
            ticks = self._ticks(start_ns, start_ns + cpu.needed_ns(burst_ns))
            while ticks != charged:
                charged = ticks
                ticks = self._ticks(start_ns, start_ns + cpu.needed_ns(burst_ns + charged * self.tick_charge_ns))
            task.burst_ns = burst_ns + charged * self.tick_charge_ns
            Dispatcher._run_on(self, cpu, task)
            task.burst_ns = burst_ns
        else:
            Dispatcher._run_on(self, cpu, task)

    def _ticks(self, from_ns: int, to_ns: int) -> int:
        """How many ticks there are after ``from_ns``, up to ``to_ns``."""
        tick_ns, phase_ns = self.tick_ns, self.tick_phase_ns - self.tick_ns
        return (to_ns - phase_ns) // tick_ns - (from_ns - phase_ns) // tick_ns
