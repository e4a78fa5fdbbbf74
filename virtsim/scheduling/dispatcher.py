"""Ticks, preemption, wake-ups and the switch from one task to another."""

from __future__ import annotations

from collections.abc import Callable

from virtsim.core.streams import SplitMix64
from virtsim.scheduling.balance import Balancer
from virtsim.scheduling.classes import Classes
from virtsim.scheduling.cold import Cold
from virtsim.scheduling.cpu import Cpu
from virtsim.scheduling.events import BURST_END, EXPIRE, HRTICK, PERIOD, RESCHEDULE, TICK
from virtsim.scheduling.fair import Entity, FairQueue
from virtsim.scheduling.governor import FrequencyDomain
from virtsim.scheduling.group import Group
from virtsim.scheduling.placement import Placement
from virtsim.scheduling.policy import Policy
from virtsim.scheduling.settings import Kernel, SchedulingCosts
from virtsim.scheduling.states import BUSY, FULL_SPEED, IDLE, NEWLY_IDLE
from virtsim.scheduling.task import BLOCKED, RUNNABLE, RUNNING, Task

#: The timer at the end of slices is not set for less than this (``hrtick_start``), ns.
LEAST_HRTICK_NS = 10_000
#: What ratios of success are out of.
ONE = 1024
#: Later than anything.
LATER_NS = 1 << 62


class Dispatcher(Classes):
    """Decides when a CPU reschedules, and does it."""

    __slots__ = (
        "_cold",
        "_cools",
        "_ends_at_ticks",
        "_hrtick",
        "_idle_due_ns",
        "_latency_rng",
        "_newidle_random",
        "_newidle_rng",
        "_next_buddy",
        "_smt",
        "_speeds",
        "_timer_idle_ns",
        "_wakeup_preemption",
        "balancer",
        "on_switch",
        "on_wakeup",
        "placement",
    )

    def __init__(self, cpus: int, kernel: Kernel, costs: SchedulingCosts, tick_phase_ns: int, seed: int) -> None:
        super().__init__(cpus, kernel, costs, tick_phase_ns)
        self.placement = Placement(self.cpus, not kernel.has("VCPU_PACK"))
        owing_stay = kernel.version >= (6, 14) and kernel.has("PLACE_LAG")
        self.balancer = Balancer(
            self.cpus, kernel.tick_ns, kernel.migration_cost_ns, costs.balance_ns, kernel.throttles_tasks, owing_stay
        )
        self._idle_due_ns = 0
        self._smt = False
        self._speeds = [FULL_SPEED, FULL_SPEED]
        self._cold = Cold(costs.cold)
        self._cools = bool(costs.cold)
        self._timer_idle_ns = costs.timer_idle_ns
        self._latency_rng = SplitMix64(seed)
        self._newidle_random = kernel.has("NI_RANDOM")
        self._newidle_rng = SplitMix64(seed ^ 0x9E1D1E5)
        self._ends_at_ticks = kernel.scheduler == "cfs"
        self._wakeup_preemption = kernel.has("WAKEUP_PREEMPTION")
        self._next_buddy = kernel.has("NEXT_BUDDY")
        self._hrtick = kernel.has("HRTICK")
        #: Called with (time_ns, cpu, previous, next) at every switch, and with (time_ns, cpu, task) at every wake-up.
        self.on_switch: Callable[[int, int, Task | None, Task | None], None] | None = None
        self.on_wakeup: Callable[[int, int, Task], None] | None = None

    def step(self, task: Task) -> bool:
        """Let a task go on until it needs CPU time (true) or has blocked or ended (false)."""
        raise NotImplementedError

    def _arm_tick(self, cpu: Cpu) -> None:
        """Have the next tick served if it may have anything to decide; others are caught up with later."""
        if cpu.tick_armed or cpu.current is None:
            return
        if self._tick_matters(cpu):
            if cpu.account_ns < self.now_ns:
                self._catch_up(cpu)
            cpu.tick_armed = True
            tick_ns = self.tick_ns
            due = self.now_ns + tick_ns - (self.now_ns - self.tick_phase_ns) % tick_ns
            self.events.push(due, TICK, cpu, 0)

    def _tick_matters(self, cpu: Cpu) -> bool:
        if self._governed:
            return True
        task = cpu.current
        if task is not None and task.policy is not None:
            policy: Policy = task.policy
            return policy.ticks
        entity: Entity | None = task
        while entity is not None:
            queue = entity.queue
            assert queue is not None
            if queue.queued > 1 or queue.group.bandwidth is not None:
                return True
            entity = entity.parent
        return self.spread

    def _tick(self, cpu: Cpu) -> None:
        task = cpu.current
        if task is None:
            cpu.tick_armed = False
            return
        self._account(cpu)
        if self._governed:
            self.governor.ticked(cpu, self.now_ns)
        task.burst_ns += self._tick_cost_ns
        if task.parent is not None:
            self._follow(task.queue)
            self._update_shares(task)
        if self._ends_at_ticks and task.policy is None:
            self._end_turn(cpu, task)
        if self.spread:
            if self.now_ns >= cpu.balance_due_ns:
                self._balance(cpu, False)
            if self.idle_bits and self.now_ns >= self._idle_due_ns and (cpu.root.runnable > 1 or len(cpu.domains) > 1):
                self._balance_idle()
        if task.policy is not None:
            policy: Policy = task.policy
            if policy.tick(task):
                cpu.resched = True
        if cpu.resched:
            self._schedule(cpu)
        elif self._tick_cost_ns:
            self._follow_burst(cpu, task)
            self._run_on(cpu, task)
        cpu.tick_armed = False
        self._arm_tick(cpu)

    def _end_turn(self, cpu: Cpu, task: Task) -> None:
        """Ask the queues, level by level, whether the running task's turn is over; not while a finer timer does."""
        if cpu.hrtick_ns > self.now_ns:
            return
        entity: Entity | None = task
        while entity is not None:
            queue = entity.queue
            assert queue is not None
            if queue.queued > 1 and queue.turn_is_over(entity):
                cpu.resched = True
            entity = entity.parent

    def _set_hrtick(self, cpu: Cpu) -> bool:
        """Set the timer at the end of the running task's slice, if others wait; tells whether it is over already."""
        task = cpu.current
        if task is None or task.policy is not None or cpu.root.runnable < 2:
            return False
        assert task.queue is not None
        left_ns = task.queue.turn_ns(task) - (cpu.account_ns - cpu.stolen_ns - cpu.turn_ns)
        if left_ns < 0:
            return True
        cpu.hrtick_ns = self.now_ns + max(left_ns, LEAST_HRTICK_NS)
        self.events.push(cpu.hrtick_ns, HRTICK, cpu, 0)
        return False

    def _precise_tick(self, cpu: Cpu) -> None:
        """The running task's slice is over."""
        if cpu.hrtick_ns == self.now_ns and cpu.current is not None:
            self._account(cpu)
            self._schedule(cpu)

    def _schedule(self, cpu: Cpu) -> None:
        """Decide who runs on a CPU now, switch if it is somebody else, and let them go on."""
        while True:
            previous = cpu.current
            if previous is not None:
                if cpu.account_ns < self.now_ns:
                    self._account(cpu)
                if cpu.parking:
                    self._follow_burst(cpu, previous)
                    self._end_parking(cpu)
            cpu.resched = False
            cpu.hrtick_ns = -1
            if self.policies:
                if previous is not None and previous.policy is not None:
                    self._give_back(previous)
                chosen = self._pick_by_policy(cpu)
                if chosen is None:
                    chosen = self._pick(cpu)
            else:
                chosen = self._pick(cpu)
            if chosen is None and self.spread and self._pull_for_idle(cpu):
                chosen = self._pick(cpu)
            if chosen is None:
                cpu.parking = False
            elif cpu.parking:
                if chosen is previous or self._parks_at_once(chosen):
                    cpu.parking = False
                    self._park(chosen)
                    continue
                self._set_aside(cpu, chosen)
            if chosen is not previous:
                self._switch(cpu, previous, chosen)
            elif chosen is not None:
                self._follow_burst(cpu, chosen)
            if chosen is None:
                return
            if chosen.policy is not None:
                self._arm_quantum(cpu, chosen)
            elif self._hrtick:
                self._set_hrtick(cpu)
            if chosen.burst_ns > 0 or self.step(chosen):
                self._run_on(cpu, chosen)
                if not cpu.tick_armed:
                    self._arm_tick(cpu)
                if not cpu.resched:
                    return

    def _switch(self, cpu: Cpu, previous: Task | None, chosen: Task | None) -> None:
        common: FairQueue | None = None
        if self._governed:
            self.governor.switches(cpu, previous, chosen, self.now_ns)
        if previous is not None:
            if cpu.burst_at_ns < self.now_ns:
                self._follow_burst(cpu, previous)
            if chosen is not None:
                common = previous.queue if previous.queue is chosen.queue else _meeting(previous, chosen)
            self._put(previous, common)
            if self._limited:
                self._throttle_put(previous, common)
        else:
            cpu.last_idle_ns = self.now_ns - cpu.idle_since_ns
            cpu.idle_ns += cpu.last_idle_ns
            self.idle_bits ^= cpu.bit
            # A CPU that is stolen stays so, whoever is to run on it.
            if cpu.account_ns < self.now_ns:
                cpu.account_ns = self.now_ns
            if cpu.burst_at_ns < self.now_ns:
                cpu.burst_at_ns = self.now_ns
        cpu.current = chosen
        cpu.switches += 1
        if self._smt and (previous is None or chosen is None):
            self._core_changed(cpu)
        if chosen is None:
            # No burst ends here; that of one that runs is told by _run_on.
            cpu.version += 1
            cpu.idle_since_ns = self.now_ns
            self.idle_bits |= cpu.bit
        else:
            if self._hrtick:
                cpu.turn_ns = cpu.account_ns - cpu.stolen_ns
            self._take(chosen, common)
        if self.on_switch is not None:
            self.on_switch(self.now_ns, cpu.number, previous, chosen)

    def _core_changed(self, cpu: Cpu) -> None:
        """A thread of a core begins or ends: all of them go at another speed from now on."""
        running = cpu.busy_threads()
        if running == 0:
            cpu.cache.idle_core = True
        share = self._speeds[running]
        for sibling in cpu.siblings:
            speed = share * sibling.pace // FULL_SPEED
            if sibling is cpu:
                cpu.speed = speed
            elif sibling.speed != speed:
                self._change_speed(sibling, speed)

    def _set_frequency(self, domain: FrequencyDomain, frequency_hz: int) -> None:
        """A frequency is in force on all CPUs of its domain."""
        governor = self.governor
        governor.set_frequency(domain, frequency_hz, self.now_ns)
        pace = governor.settings.share(frequency_hz)
        for cpu in domain.cpus:
            cpu.pace = pace
            speed = self._speeds[cpu.busy_threads() if self._smt else 1] * pace // FULL_SPEED
            if cpu.speed != speed:
                self._change_speed(cpu, speed)

    def _change_speed(self, cpu: Cpu, speed: int) -> None:
        """Whatever runs on a CPU goes on at another speed."""
        task = cpu.current
        if task is None:
            cpu.speed = speed
        else:
            self._follow_burst(cpu, task)
            cpu.speed = speed
            self._run_on(cpu, task)

    def _arm_quantum(self, cpu: Cpu, task: Task) -> None:
        """Have the CPU decide anew when its policy's quantum for the running task is over."""
        cpu.quantum += 1
        policy: Policy = task.policy
        quantum_ns = policy.quantum_ns(task)
        if quantum_ns > 0:
            self.events.push(self.now_ns + quantum_ns, EXPIRE, cpu, cpu.quantum)

    def settle(self, cpu: Cpu) -> None:
        """Bring what is charged to the running task up to now."""
        if cpu.current is not None:
            self._account(cpu)

    def reschedule(self, cpu: Cpu) -> None:
        """Have a CPU decide anew, as soon as what is going on now is over."""
        cpu.resched = True
        self._reschedule_soon(cpu, 0)

    def _run_on(self, cpu: Cpu, task: Task) -> None:
        """Have the end of the current CPU time, which has been followed up to now, served."""
        cpu.version += 1
        end_ns = cpu.burst_at_ns
        if task.burst_ns > 0:
            end_ns += task.burst_ns if cpu.speed == FULL_SPEED else cpu.needed_ns(task.burst_ns)
        self.events.push(end_ns, BURST_END, cpu, cpu.version)

    def _follow_burst(self, cpu: Cpu, task: Task) -> None:
        passed_ns = self.now_ns - cpu.burst_at_ns
        if passed_ns > 0:
            task.burst_ns -= passed_ns if cpu.speed == FULL_SPEED else cpu.progress_ns(passed_ns)
            cpu.burst_at_ns = self.now_ns

    def _burst_end(self, cpu: Cpu) -> None:
        """The running task goes on to its next instruction; the kernel takes no notice of that by itself."""
        task = cpu.current
        assert task is not None
        self._follow_burst(cpu, task)
        if cpu.parking and task.burst_ns <= 0:
            self._park_now(cpu, task)
        elif task.burst_ns > 0 or self.step(task):
            self._run_on(cpu, task)
            if not cpu.tick_armed and not cpu.resched_pending:
                self._arm_tick(cpu)
        else:
            self._schedule(cpu)

    def _park_now(self, cpu: Cpu, task: Task) -> None:
        """The task that was to park is there; its group may have been given runtime meanwhile."""
        self._account(cpu)
        self._end_parking(cpu)
        self._park_if_throttled(task)
        self._schedule(cpu)

    def wake(self, task: Task, waker_cpu: int, timer: bool = False, sync: bool = False) -> int:
        """Make a blocked task runnable; returns what it costs the waker, ns.

        ``sync`` tells that the waker is about to block, as the writer of a pipe usually is.
        """
        if task.state != BLOCKED:
            return 0
        task.version += 1
        task.sleep_ns += self.now_ns - task.entered_ns
        task.state = RUNNABLE
        task.since_ns = task.entered_ns = self.now_ns
        if task.policy is not None:
            self._wake_by_policy(task, waker_cpu)
        else:
            if not task.delayed:
                chosen = self.placement.choose(task, waker_cpu, sync, self.idle_bits)
                if chosen != task.cpu:
                    self._move(task, chosen)
            self._enqueue(task)
        cpu = self.cpus[task.cpu]
        if self.on_wakeup is not None:
            self.on_wakeup(self.now_ns, task.cpu, task)
        local = task.cpu == waker_cpu
        if self._cools:
            task.burst_ns += self._cold.cost_ns(self.now_ns - task.last_ran_ns, cpu.current is None)
        if cpu.current is None:
            local_ns = self._drawn(self._timer_idle_ns) if timer else 0
            self._reschedule_soon(cpu, local_ns if local else self._idle_exit_ns)
            return 0 if timer else (self._wake_ns if local else self._wake_remote_ns)
        self._preempt(cpu, task)
        if cpu.resched:
            self._reschedule_soon(cpu, 0 if local else self._preempt_remote_ns)
        if not cpu.tick_armed:
            self._arm_tick(cpu)
        return 0 if timer else self._wake_ns

    def _wake_by_policy(self, task: Task, waker_cpu: int) -> None:
        chosen = self._place_by_policy(task, waker_cpu)
        if chosen != task.cpu:
            self._move(task, chosen)
        self._admit(task, True)

    def _drawn(self, quantiles: tuple[int, ...]) -> int:
        """A latency, from its evenly spaced quantiles."""
        if len(quantiles) == 1:
            return quantiles[0]
        return quantiles[int(self._latency_rng.uniform() * len(quantiles))]

    def _preempt(self, cpu: Cpu, task: Task, new: bool = False) -> None:
        """Let a woken task preempt the running one if it is now the one that should run."""
        running = cpu.current
        if self._hrtick and self._set_hrtick(cpu):
            cpu.resched = True
        if self._next_buddy and running is not None and not new and running.queue is not None:
            running.queue.favour(task)
        if cpu.resched or running is None:
            return
        if task.policy is not None or running.policy is not None:
            cpu.resched = self._outranks(task, running)
            return
        mine: Entity = task
        its: Entity = running
        if task.queue is not running.queue:
            common = _meeting(task, running)
            assert common is not None
            mine, its = _entity_on(task, common), _entity_on(running, common)
            if not mine.on_queue:
                return
        queue = mine.queue
        assert queue is not None
        if running.idle_policy and not task.idle_policy:
            cpu.resched = True
            return
        if task.batch or task.idle_policy or not self._wakeup_preemption:
            return
        if queue.account_ns < self.now_ns:
            self._account_level(queue)
        if queue.preempts(mine, its):
            cpu.resched = True

    def _reschedule_soon(self, cpu: Cpu, delay_ns: int) -> None:
        if not cpu.resched_pending:
            cpu.resched_pending = True
            self.events.push(self.now_ns + delay_ns, RESCHEDULE, cpu, 0)

    def steal(self, cpu: Cpu, duration_ns: int) -> None:
        """Somebody outside takes a CPU for a while: whoever runs there stands still and is not charged.

        So do the host's own work beside the run, and a hypervisor that runs somebody else's vCPU.
        """
        task = cpu.current
        if task is None:
            return
        self._follow_burst(cpu, task)
        # Nobody's accounts are brought up to now: the kernel does not notice before its next look at the clock.
        queue = task.queue if task.policy is None else None
        while queue is not None:
            if queue.account_ns > cpu.account_ns:
                queue.account_ns += duration_ns
            queue = queue.entity.queue if queue.entity is not None else None
        cpu.account_ns += duration_ns
        cpu.burst_at_ns += duration_ns
        cpu.stolen_ns += duration_ns
        cpu.version += 1
        left_ns = cpu.needed_ns(task.burst_ns) if task.burst_ns > 0 else 0
        self.events.push(self.now_ns + duration_ns + left_ns, BURST_END, cpu, cpu.version)

    # -- what the balancer decides ----------------------------------------------------------------------------

    def _pull_for_idle(self, cpu: Cpu) -> bool:
        """A CPU is about to go idle: fetch a task from elsewhere, from as near as one should move.

        With ``NI_RANDOM`` it looks as often as that has helped lately: ten random bits decide.
        """
        balancer = self.balancer
        if not balancer.worth_it(cpu):
            return False
        for domain in cpu.domains:
            if balancer.too_long(cpu, domain):
                return False
            ratio = domain.newidle_ratio + 1
            if self._newidle_random:
                roll = self._newidle_rng.next() >> 54
                if roll > ratio:
                    domain.count_newidle(0)
                    continue
            came = self._fetch(balancer.moves(cpu, domain, NEWLY_IDLE, self.now_ns), cpu)
            # A success stands for all the times that it did not look.
            domain.count_newidle((ONE + ratio // 2) // ratio if came else 0)
            if came:
                return True
        return False

    def _balance(self, cpu: Cpu, idle: bool) -> None:
        """Periodic balancing of a CPU, in those of its domains that are due."""
        balancer = self.balancer
        now_ns = self.now_ns
        next_ns = LATER_NS
        for domain in cpu.domains:
            if balancer.due_ns(domain, not idle) <= now_ns:
                moving = balancer.moves(cpu, domain, IDLE if idle else BUSY, now_ns)
                domain.balanced_ns = now_ns
                if self._fetch(moving, cpu):
                    idle = False
            due_ns = balancer.due_ns(domain, not idle)
            if due_ns < next_ns:
                next_ns = due_ns
        cpu.balance_due_ns = next_ns

    def _balance_idle(self) -> None:
        """Have the idle CPUs fetch what they should, at a busy one's tick: idle CPUs have no ticks of their own."""
        self._idle_due_ns = self.now_ns + self.tick_ns
        for cpu in self.cpus:
            if cpu.is_idle():
                self._balance(cpu, True)
                if cpu.root.runnable:
                    self._reschedule_soon(cpu, self.costs.idle_exit_ns)

    def _fetch(self, moving: list[tuple[Task, Cpu]], cpu: Cpu) -> bool:
        """Move tasks, one of them off its own CPU where it runs; tells whether any came to ``cpu``."""
        came = False
        for task, target in moving:
            if task.state == RUNNING:
                self._evict(self.cpus[task.cpu])
            if task.state == RUNNABLE:
                self._pull(task, target)
                if target is cpu:
                    came = True
                elif target.current is None:
                    self._reschedule_soon(target, self.costs.idle_exit_ns)
        return came

    def _pull(self, task: Task, cpu: Cpu) -> None:
        """Move a waiting task to another CPU, and its load average with it."""
        source = self.cpus[task.cpu]
        queue = task.queue
        if source.current is not None and not source.tick_armed:
            self._catch_up(source)
        self._dequeue(task, asleep=False)
        if self._hrtick and self._set_hrtick(source):
            source.resched = True
            self._reschedule_soon(source, 0)
        target = task.group.queues[cpu.number]
        average = task.load_average
        if average is not None and queue is not None and queue.load_average is not None:
            assert target.load_average is not None
            self._follow(target)
            moved = min(average.value, queue.load_average.value)
            queue.load_average.value -= moved
            target.load_average.value += moved
        self._move(task, cpu.number)
        self._enqueue(task)
        if cpu.current is not None:
            self._preempt(cpu, task)
            if cpu.resched:
                self._reschedule_soon(cpu, 0)
            self._arm_tick(cpu)

    def _evict(self, cpu: Cpu) -> None:
        """Make the running task of a CPU wait, so that it can be moved (the kernel's stopper thread does it)."""
        task = cpu.current
        assert task is not None
        self._account(cpu)
        if cpu.parking:
            self._follow_burst(cpu, task)
            self._end_parking(cpu)
        self._switch(cpu, task, None)
        cpu.resched = True
        self._reschedule_soon(cpu, 0)

    def _new_period(self, group: Group) -> None:
        bandwidth = group.bandwidth
        assert bandwidth is not None
        if bandwidth.new_period(1):
            self.events.push(self.now_ns + bandwidth.period_ns, PERIOD, group, 0)
            self._release(group)

    def _release(self, group: Group) -> None:
        """Let throttled queues run again as far as the pool goes."""
        bandwidth = group.bandwidth
        assert bandwidth is not None
        for queue in bandwidth.distribute():
            bandwidth.idle = False
            self._unthrottle(queue)
            # The kernel asks no more than whether the running task's slice is over, as whenever it looks at the clock.
            if queue.cpu.current is None:
                self._reschedule_soon(queue.cpu, self._drawn(self._timer_idle_ns))
            elif queue.cpu.resched:
                self._reschedule_soon(queue.cpu, 0)
            else:
                self._arm_tick(queue.cpu)


def _meeting(task: Task, other: Task) -> FairQueue | None:
    """The lowest queue on which both tasks have an entity."""
    mine: Entity | None = task
    while mine is not None:
        its: Entity | None = other
        while its is not None:
            if its.queue is mine.queue:
                return mine.queue
            its = its.parent
        mine = mine.parent
    return None


def _entity_on(task: Task, queue: FairQueue) -> Entity:
    """The task itself or the ancestor of it that competes on a queue of its chain."""
    entity: Entity = task
    while entity.queue is not queue:
        assert entity.parent is not None
        entity = entity.parent
    return entity
