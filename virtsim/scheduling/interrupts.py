"""What is due on a CPU that stands still waits until its vCPU runs, and wakes the vCPU if that has halted.

Timers, ticks, rescheduling, and interrupts from other kernels: all of them are late by the time for which the vCPU
waits for its CPU below.
"""

from __future__ import annotations

from typing import Any

from virtsim.scheduling.cpu import Cpu
from virtsim.scheduling.devices import BackEnd, Request
from virtsim.scheduling.door import Door
from virtsim.scheduling.events import RESCHEDULE, TICK, TIMER
from virtsim.scheduling.halting import Halting
from virtsim.scheduling.heart import Heart
from virtsim.scheduling.input_output import InputOutput
from virtsim.scheduling.layout import Layout
from virtsim.scheduling.program import GO_ON, NEEDS_TIME, Code
from virtsim.scheduling.settings import Kernel, SchedulingCosts
from virtsim.scheduling.task import BLOCKED, Task
from virtsim.scheduling.vcpu import Vcpu
from virtsim.scheduling.vcpu_states import BACK_END_CALLED, FAR_NS, REQUEST_DONE
from virtsim.scheduling.world_switch import WorldSwitch

_NOTIFY = int(Code.NOTIFY)


class Interrupts(Halting):
    """Delivers what is due to CPUs that may stand still, and posts to other kernels.

    Attributes
    ----------
    timer_charge_ns : int, ns
        CPU time that a timer's interrupt takes from the task it wakes.
    interrupt_vcpu : int
        The vCPU to which devices' interrupts go; -1 for that on which the request's task is.
    doors : list of Door
        By the number in a NOTIFY instruction.
    """

    __slots__ = ("doors", "interrupt_vcpu", "timer_charge_ns")

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
        self.timer_charge_ns = 0
        self.interrupt_vcpu = -1
        self.doors: list[Door] = []

    def add_door(self, door: Door) -> int:
        """Let tasks here post to a semaphore of another storey, by a NOTIFY instruction with this number."""
        self.doors.append(door)
        return len(self.doors) - 1

    # -- on a CPU that stands still -----------------------------------------------------------------------------

    def _serve(self, kind: int, subject: Any, version: int) -> None:
        if not self.vcpus or not self._put_off(kind, subject, version):
            Heart._serve(self, kind, subject, version)
            if kind == RESCHEDULE and self.vcpus:
                self._halt_if_idle(self.vcpus[subject.number])

    def _put_off(self, kind: int, subject: Any, version: int) -> bool:
        """Keep what is due on a CPU that stands still for when it goes on; tells whether it does stand still."""
        if kind == RESCHEDULE:
            cpu = subject
            if cpu.burst_at_ns < FAR_NS:
                return False
            vcpu = self.vcpus[cpu.number]
            vcpu.resched_due = True
            self._kick(vcpu, False)
            return True
        if kind == TICK:
            cpu = subject
            if cpu.burst_at_ns < FAR_NS:
                return False
            vcpu = self.vcpus[cpu.number]
            if cpu.current is None:
                cpu.tick_armed = False
            else:
                vcpu.tick_due = True
            return True
        if kind == TIMER:
            task = subject
            if version != task.version or task.state != BLOCKED:
                return True
            vcpu = self.vcpus[task.cpu]
            if vcpu.cpu_above.burst_at_ns < FAR_NS:
                task.burst_ns += self.timer_charge_ns
                return False
            vcpu.pending.append((TIMER, task, version))
            self._kick(vcpu, True)
            return True
        return False

    def _go_on(self, vcpu: Vcpu) -> None:
        """What was due meanwhile comes first."""
        WorldSwitch._go_on(self, vcpu)
        cpu = vcpu.cpu_above
        while vcpu.pending:
            kind, subject, version = vcpu.pending.pop(0)
            if kind == TIMER:
                sleeper = subject
                if version == sleeper.version and sleeper.state == BLOCKED:
                    sleeper.burst_ns += self.timer_charge_ns
                    self.wake(sleeper, sleeper.cpu, True)
            elif kind == REQUEST_DONE:
                self._take_interrupt(subject, self.interrupt_vcpu)
            elif kind == BACK_END_CALLED:
                sleeper = subject
                self.wake(sleeper, sleeper.cpu, True)
            else:
                self._post(subject, cpu, version)
        if vcpu.tick_due:
            vcpu.tick_due = False
            self._tick(cpu)
        if vcpu.resched_due:
            vcpu.resched_due = False
            if cpu.burst_at_ns < FAR_NS:
                cpu.resched_pending = False
                self._schedule(cpu)
            else:
                cpu.resched_pending = False
        elif cpu.current is not None and cpu.burst_at_ns < FAR_NS:
            self._run_on(cpu, cpu.current)
        self._halt_if_idle(vcpu)

    # -- devices ------------------------------------------------------------------------------------------------

    def _interrupt(self, request: Request) -> None:
        """As any heart; on virtual CPUs it goes to one of them, and waits until that runs."""
        if not self.vcpus:
            InputOutput._interrupt(self, request)
        else:
            ring = request.port.ring
            ring.interrupts += 1
            number = self.interrupt_vcpu
            vcpu = self.vcpus[request.owner.cpu if number < 0 else number]
            if vcpu.cpu_above.burst_at_ns < FAR_NS:
                self._take_interrupt(request, number)
            else:
                ring.interrupting = True
                vcpu.pending.append((REQUEST_DONE, request, 0))
                self._kick(vcpu, True)

    def _wake_back_end(self, backend: BackEnd, waker_cpu: int, interrupt: bool) -> None:
        """As any heart; one on virtual CPUs is called by an interrupt to its own."""
        if not self.vcpus:
            InputOutput._wake_back_end(self, backend, waker_cpu, interrupt)
        else:
            task = backend.task
            vcpu = self.vcpus[task.cpu]
            if vcpu.cpu_above.burst_at_ns < FAR_NS:
                self.wake(task, task.cpu, True)
            else:
                vcpu.pending.append((BACK_END_CALLED, task, 0))
                self._kick(vcpu, True)

    # -- between kernels ----------------------------------------------------------------------------------------

    def _extended(self, task: Task, code: int, a: int, b: int) -> int:
        if code == _NOTIFY:
            return self._notify(task, self.doors[a])
        return WorldSwitch._extended(self, task, code, a, b)

    def _notify(self, task: Task, door: Door) -> int:
        """Post to a semaphore of another storey."""
        task.burst_ns += self.post_through(door, task.cpu)
        cpu = self.cpus[task.cpu]
        return NEEDS_TIME if task.burst_ns > 0 or cpu.resched else GO_ON

    def post_through(self, door: Door, cpu: int) -> int:
        """Post through a door, from a CPU here; returns what waking costs here, ns."""
        target = door.storey
        target.now_ns = self.now_ns
        if not target.vcpus:
            return target._post_below(door.semaphore, self._place_below(cpu, target))
        target.deliver_interrupt(target.vcpus[door.cpu], door.semaphore, door.cost_ns)
        return 0

    def deliver_interrupt(self, vcpu: Vcpu, semaphore: int, cost_ns: int) -> None:
        """An interrupt for a CPU of this storey, whose handler posts to a semaphore; a halted one is woken."""
        if vcpu.cpu_above.burst_at_ns >= FAR_NS:
            vcpu.pending.append((_NOTIFY, semaphore, cost_ns))
            self._kick(vcpu, True)
        else:
            self._post(semaphore, vcpu.cpu_above, cost_ns)

    def _place_below(self, cpu: int, target: WorldSwitch) -> int:
        """Which CPU of a storey below a CPU of this one is on now."""
        storey: WorldSwitch = self
        while storey is not target and storey.vcpus:
            vcpu = storey.vcpus[cpu]
            storey, cpu = vcpu.below, vcpu.cpu
        return cpu

    def _post(self, semaphore: int, cpu: Cpu, cost_ns: int) -> None:
        """An interrupt's handler on ``cpu`` posts; the one it wakes pays for it, else whoever runs there."""
        self.semaphores.at[semaphore] += 1
        waiters = self.waiters[semaphore]
        if waiters and self.semaphores.at[semaphore] >= self.wake_at.at[semaphore]:
            waiter = waiters.pop(0)
            waiter.burst_ns += cost_ns
            self.wake(waiter, cpu.number, True)
        elif cpu.current is not None and cost_ns and cpu.burst_at_ns <= self.now_ns:
            self._follow_burst(cpu, cpu.current)
            cpu.current.burst_ns += cost_ns
            self._run_on(cpu, cpu.current)

    def _post_below(self, semaphore: int, waker: int) -> int:
        """As POST, by a task of a storey above."""
        self.semaphores.at[semaphore] += 1
        waiters = self.waiters[semaphore]
        if waiters and self.semaphores.at[semaphore] >= self.wake_at.at[semaphore]:
            return self.wake(waiters.pop(0), waker)
        return 0
