"""A heart whose CPUs are tasks of another heart: a guest's kernel, a guest hypervisor, the host of guests.

A :class:`Vcpu` is a task to the storey below, which schedules it, and a CPU to the storey above, whose tasks run on
it. While it does not run below, its CPU above stands still: the running task's burst and accounts stop, the clock
does not, and what is due there (timers, ticks, rescheduling, interrupts) waits until it is back. When nothing is
left to do above, the CPU halts: its hypervisor may poll for a while, then the vCPU blocks below until there is
work again. :class:`~virtsim.scheduling.tower.Tower` advances the storeys together.

States of a vCPU, in which its time is counted:

- *busy*: tasks above run;
- *overhead*: it runs below, but for its hypervisor (exits, polling, being switched to) or for an idle guest;
- *steal*: it would run, but does not;
- *idle*: it is blocked below.

References
----------
Linux ``virt/kvm/kvm_main.c``, 6.12: ``kvm_vcpu_halt`` (polling), ``kvm_vcpu_on_spin`` (directed yield);
``arch/x86/kvm/vmx/vmx.c``: ``ple_window``; ``kernel/locking/qspinlock_paravirt.h``.
"""

from __future__ import annotations

from typing import Any

from virtsim.core.errors import ModelError
from virtsim.scheduling.cpu import Cpu
from virtsim.scheduling.dispatcher import Dispatcher, _entity_on, _meeting
from virtsim.scheduling.events import RESCHEDULE, TICK, TIMER
from virtsim.scheduling.fair import Entity
from virtsim.scheduling.group import Group
from virtsim.scheduling.heart import Heart
from virtsim.scheduling.input_output import InputOutput
from virtsim.scheduling.layout import Layout
from virtsim.scheduling.program import GAVE_UP, GO_ON, NEEDS_TIME, Code, Program
from virtsim.scheduling.settings import SPINNING, Hypervisor, Kernel, SchedulingCosts
from virtsim.scheduling.states import FULL_SPEED
from virtsim.scheduling.task import BLOCKED, RUNNABLE, RUNNING, Task
from virtsim.scheduling.vcpu_states import (
    AWAY,
    BUSY,
    ENDLESS_NS,
    FAR_NS,
    GUEST,
    HALTED,
    IDLE,
    OVERHEAD,
    PAUSE_LOOP,
    POLLING,
    STEAL,
)
from virtsim.scheduling.words import Words

#: Spins for no lock.
NO_LOCK = -1
_PLE = SPINNING.index("ple")
_PV = SPINNING.index("pv")
_NOTIFY = int(Code.NOTIFY)
_SPIN_LOCK = int(Code.SPIN_LOCK)
_SPIN_UNLOCK = int(Code.SPIN_UNLOCK)


def _entry() -> Program:
    """A vCPU's program: enter the guest, and again when it comes back."""
    program = Program()
    program.emit(Code.EXTERNAL)
    return program


class Vcpu(Task):
    """A virtual CPU; see the module.

    Parameters
    ----------
    name : str
        ``guest/vcpu0``.
    group, load, cpus, slice_ns, slack_ns
        As of any task of the storey below.
    below, above : Storey
        Whose task and whose CPU it is.
    number : int
        Of its CPU above.
    hypervisor : Hypervisor
        Prices and switches of what runs it.

    Attributes
    ----------
    spent_ns : Words, ns
        Time busy, as overhead, stolen and idle, up to ``since``.
    halts, polled, kicks, pause_exits, yields : int
        Halts; those that ended while polling; times it was woken; exits because of spinning; directed yields.
    poll_time_ns : int, ns
        Spent polling, whether it helped or not.
    """

    __slots__ = (
        "above",
        "below",
        "counted_as",
        "counted_since_ns",
        "cpu_above",
        "entering",
        "fair_spinlocks",
        "halt_ns",
        "halted_at_ns",
        "halts",
        "hypervisor",
        "kicks",
        "longest_poll_ns",
        "mode",
        "pause_exits",
        "pause_window_ns",
        "pending",
        "poll_end_ns",
        "poll_grow",
        "poll_ns",
        "poll_shrink",
        "poll_start_ns",
        "poll_time_ns",
        "polled",
        "resched_due",
        "spent_ns",
        "spinning",
        "spun_out_ns",
        "stopped",
        "tick_due",
        "waker",
        "yields",
    )

    def __init__(
        self,
        name: str,
        group: Group,
        load: int,
        cpus: frozenset[int],
        slice_ns: int,
        below: Storey,
        above: Storey,
        number: int,
        hypervisor: Hypervisor,
    ) -> None:
        super().__init__(name, group, load, _entry(), cpus, slice_ns)
        self.below = below
        self.above = above
        self.hypervisor = hypervisor
        # Read at every halt, or while it spins: as attributes of their own.
        self.halt_ns = hypervisor.halt_ns
        self.longest_poll_ns = hypervisor.poll_ns
        self.poll_start_ns = hypervisor.poll_start_ns
        self.poll_grow = hypervisor.poll_grow
        self.poll_shrink = hypervisor.poll_shrink
        self.spinning = SPINNING.index(hypervisor.spinning)
        self.fair_spinlocks = hypervisor.fair_spinlocks
        self.spun_out_ns = hypervisor.spin_threshold_ns
        self.cpu_above: Cpu = above.cpus[number]
        self.mode = HALTED
        self.entering = False
        #: Kept from running by co-scheduling.
        self.stopped = False
        #: What waits for it: (kind, subject, version) of timers, (NOTIFY, semaphore, cost) of interrupts.
        self.pending: list[tuple[int, Any, int]] = []
        self.tick_due = False
        self.resched_due = False
        #: The CPU below from which it is woken.
        self.waker = -1
        self.poll_ns = 0
        self.poll_end_ns = 0
        self.halted_at_ns = 0
        self.pause_window_ns = hypervisor.pause_window_ns
        self.counted_as = IDLE
        self.counted_since_ns = 0
        self.spent_ns = Words(4)
        self.halts = 0
        self.polled = 0
        self.kicks = 0
        self.pause_exits = 0
        self.yields = 0
        self.poll_time_ns = 0

    def count(self, now_ns: int, counted_as: int) -> None:
        """Close the account of the time up to now, and count what follows as something else."""
        self.spent_ns.at[self.counted_as] += now_ns - self.counted_since_ns
        self.counted_since_ns = now_ns
        self.counted_as = counted_as


class Door:
    """From one storey to a semaphore of another.

    Parameters
    ----------
    storey : Storey
        Where the semaphore is.
    semaphore : int
        Which one.
    cpu : int
        The CPU of that storey that is interrupted, where it has virtual ones.
    cost_ns : int, ns
        CPU time that the interrupt takes from the one that waits for it.
    """

    __slots__ = ("cost_ns", "cpu", "semaphore", "storey")

    def __init__(self, storey: Storey, semaphore: int, cpu: int = 0, cost_ns: int = 0) -> None:
        self.storey = storey
        self.semaphore = semaphore
        self.cpu = cpu
        self.cost_ns = cost_ns


class Storey(Heart):
    """One scheduler among several that stand on each other.

    Parameters
    ----------
    cpus, kernel, costs, tick_phase_ns, seed, layout
        As of a :class:`~virtsim.scheduling.heart.Heart`.
    tick_charge_ns : int, ns
        CPU time that each tick of a busy CPU takes, served or not (a guest's timer exits).
    timer_charge_ns : int, ns
        CPU time that a timer's interrupt takes from the task it wakes.

    Attributes
    ----------
    vcpus : list of Vcpu
        What its CPUs are, in order; empty on the bare machine.
    spin_ns : int, ns
        CPU time spent spinning for locks.
    """

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
        self.vcpus: list[Vcpu] = []
        self.doors: list[Door] = []
        self.spin_owners: list[Task | None] = []
        self.spin_waiters: list[list[Task]] = []
        #: By CPU: how many spinlocks its task holds or waits for, and which one it spins for (-1: none).
        self.held = Words(cpus)
        self.spins_for = Words(cpus)
        self.spun_from_ns = Words(cpus)
        for number in range(cpus):
            self.spins_for[number] = NO_LOCK
        self.spin_ns = 0
        self._keep_awake = False
        self._last_boosted = 0

    # -- building -------------------------------------------------------------------------------------------

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

    def add_spinlock(self) -> int:
        """Make a free spinlock."""
        self.spin_owners.append(None)
        self.spin_waiters.append([])
        return len(self.spin_owners) - 1

    def add_door(self, door: Door) -> int:
        """Let tasks here post to a semaphore of another storey, by a NOTIFY instruction with this number."""
        self.doors.append(door)
        return len(self.doors) - 1

    # -- events -----------------------------------------------------------------------------------------------

    def first_event_ns(self) -> int:
        """When something is due next; :data:`FAR_NS` or later if nothing ever is."""
        return self.events.first_ns()

    def serve_next(self) -> None:
        """Work through the earliest event."""
        events = self.events
        if events.pop(FAR_NS):
            self.now_ns = events.time_ns
            self._serve(events.kind, events.subject, events.version)

    def _serve(self, kind: int, subject: Any, version: int) -> None:
        if kind == PAUSE_LOOP:
            self._spun(subject, version)
        elif not self.vcpus or not self._put_off(kind, subject, version):
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

    # -- this storey's CPUs as tasks of the one below -----------------------------------------------------------

    def _switch(self, cpu: Cpu, previous: Task | None, chosen: Task | None) -> None:
        Dispatcher._switch(self, cpu, previous, chosen)
        if isinstance(previous, Vcpu):
            leaving = previous
            self._switched_out(leaving)
        if isinstance(chosen, Vcpu) and cpu.burst_at_ns < FAR_NS:
            coming = chosen
            coming.count(self.now_ns, OVERHEAD)
        if self.vcpus and cpu.burst_at_ns < FAR_NS:
            vcpu = self.vcpus[cpu.number]
            if chosen is not None:
                if previous is None:
                    vcpu.count(self.now_ns, BUSY)
            elif not self._keep_awake:
                self._halt(vcpu)
            else:
                vcpu.count(self.now_ns, OVERHEAD)

    def _change_speed(self, cpu: Cpu, speed: int) -> None:
        """As any heart; a vCPU in its guest takes it there."""
        Dispatcher._change_speed(self, cpu, speed)
        task = cpu.current
        if isinstance(task, Vcpu):
            vcpu = task
            if vcpu.mode == GUEST:
                vcpu.above.now_ns = self.now_ns
                vcpu.above._change_speed(vcpu.cpu_above, speed)

    def _evict(self, cpu: Cpu) -> None:
        """As any heart; one that stands still, or must not be preempted, is left alone."""
        if cpu.burst_at_ns < FAR_NS and not self.held.at[cpu.number]:
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
        """Let a CPU of this storey go on, whose vCPU has entered its guest; what was due meanwhile comes first."""
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
        while vcpu.pending:
            kind, subject, version = vcpu.pending.pop(0)
            if kind == TIMER:
                sleeper = subject
                if version == sleeper.version and sleeper.state == BLOCKED:
                    sleeper.burst_ns += self.timer_charge_ns
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

    # -- vCPUs as tasks of this storey ------------------------------------------------------------------------

    def _extended(self, task: Task, code: int, a: int, b: int) -> int:
        if code == _SPIN_LOCK:
            return self._spin_lock(task, a)
        if code == _SPIN_UNLOCK:
            return self._spin_unlock(task, a)
        if code == _NOTIFY:
            return self._notify(task, self.doors[a])
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
            # One that was polling blocks as soon as it runs again.
            vcpu.burst_ns = 0
            vcpu.count(self.now_ns, STEAL)

    # -- between storeys ----------------------------------------------------------------------------------------

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

    def _place_below(self, cpu: int, target: Storey) -> int:
        """Which CPU of a storey below a CPU of this one is on now."""
        storey = self
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

    # -- ticks that are charged whether served or not -----------------------------------------------------------

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
        if self.spins_for.at[cpu.number] >= 0 and self.vcpus and cpu.burst_at_ns < FAR_NS:
            window_ns = self._spin_window_ns(self.vcpus[cpu.number])
            if window_ns:
                self.events.push(self.now_ns + window_ns, PAUSE_LOOP, cpu, cpu.version)

    def _ticks(self, from_ns: int, to_ns: int) -> int:
        """How many ticks there are after ``from_ns``, up to ``to_ns``."""
        tick_ns, phase_ns = self.tick_ns, self.tick_phase_ns - self.tick_ns
        return (to_ns - phase_ns) // tick_ns - (from_ns - phase_ns) // tick_ns

    def _parks_at_once(self, task: Task) -> bool:
        """A vCPU does, too: it would not enter its guest."""
        return Dispatcher._parks_at_once(self, task) or isinstance(task, Vcpu)

    # -- spinlocks ------------------------------------------------------------------------------------------------

    def _pick(self, cpu: Cpu) -> Task | None:
        """Who holds or waits for a spinlock is not preempted by this kernel."""
        if self.held.at[cpu.number]:
            return cpu.current
        return Dispatcher._pick(self, cpu)

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
        below = vcpu.below
        below.now_ns = self.now_ns
        sibling = self._preempted_sibling(vcpu)
        if sibling is not None:
            vcpu.yields += 1
            vcpu.pause_window_ns = vcpu.hypervisor.pause_window_ns
            if vcpu.policy is None:
                below.yield_to(vcpu, sibling)
            else:
                # Xen's schedulers know no one to prefer: who yields goes back to its policy.
                below.reschedule(below.cpus[vcpu.cpu])
        else:
            self.events.push(self.now_ns + vcpu.pause_window_ns, PAUSE_LOOP, cpu, cpu.version)

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
