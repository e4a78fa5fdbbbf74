"""The fair class on several CPUs as a SimPy user would write it: a process for each CPU, a process for each task.

The same model as the heart's as far as a flat set of tasks goes: EEVDF with lag kept over sleep, delayed
dequeue, protected first slices, preemption at ticks and at wake-ups, idle CPUs that fetch waiting tasks, periodic
balancing, costs of switches and timers; and the same records. No groups, quotas, shares, requested slices, locks or
channels: what this leaves out makes it faster.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

import simpy

from virtsim.results.histogram import Histogram

TICK_NS = 4_000_000
SLICE_NS = 1_400_000
MIGRATION_COST_NS = 500_000
TIMER_SLACK_NS = 50_000
NICE_0 = 1024
IMBALANCE_PERCENT = 117
BUSY_FACTOR = 16


class Task:
    """A task: its fair-class state, its records, and a process that works through its program.

    The program is a list of (CPU time, sleep, period): a task with a period runs once in each and records its
    wake-up latency and its response time; one without sleeps after it has run, or goes on at once.
    """

    def __init__(self, machine, name, weight, program):
        self.machine, self.name, self.weight, self.program = machine, name, weight, program
        self.cpu = 0
        self.vruntime = self.deadline = self.protected_until = self.lag = 0
        self.queued = self.delayed = False
        self.burst_ns = self.last_ran_ns = self.since_ns = 0
        self.cpu_time_ns = self.run_delay_ns = self.voluntary = self.involuntary = self.migrations = 0
        self.latency, self.response = Histogram(), Histogram()
        self.used_up = None
        machine.env.process(self.run())

    def run(self):
        env, machine = self.machine.env, self.machine
        machine.start(self)
        yield from self.compute()
        due_ns = env.now
        while True:
            for run_ns, sleep_ns, period_ns in self.program:
                if period_ns:
                    due_ns += period_ns
                    if due_ns > env.now:
                        yield from self.sleep(due_ns - env.now)
                    self.latency.add(env.now - due_ns)
                self.burst_ns += run_ns
                yield from self.compute()
                if period_ns:
                    self.response.add(env.now - due_ns)
                elif sleep_ns:
                    yield from self.sleep(sleep_ns)

    def compute(self):
        """Wait until the CPU time is used up."""
        self.used_up = self.machine.env.event()
        self.machine.decided(self)
        yield self.used_up

    def sleep(self, sleep_ns):
        """Block until a timer fires, then until it runs."""
        self.voluntary += 1
        self.machine.block(self)
        yield self.machine.env.timeout(sleep_ns + TIMER_SLACK_NS)
        self.machine.wake(self)
        yield from self.compute()


class Cpu:
    """A CPU: the tasks that wait for it, by deadline, and a process that runs one after the other."""

    def __init__(self, machine, number):
        self.machine, self.env, self.number = machine, machine.env, number
        self.current = None
        self.waiting, self.deadlines = [], []
        self.product = self.weight = self.zero = 0
        self.switches = 0
        self.resched = False
        self.accounted_ns = 0
        self.idle = self.answer = None
        self.running = False
        self.balance_due_ns = 0
        self.balance_failed = 0
        self.process = self.env.process(self.run())

    @property
    def load(self):
        return self.weight + (self.current.weight if self.current is not None and self.current.queued else 0)

    # -- the fair queue ------------------------------------------------------------------------------------

    def sums(self):
        product, weight, current = self.product, self.weight, self.current
        if current is not None and current.queued:
            product += (current.vruntime - self.zero) * current.weight
            weight += current.weight
        return product, weight

    def mean(self):
        product, weight = self.sums()
        return self.zero + product // weight if weight else self.zero

    def eligible(self, task):
        product, weight = self.sums()
        return product >= (task.vruntime - self.zero) * weight

    def insert(self, task):
        place = bisect_right(self.deadlines, task.deadline)
        self.deadlines.insert(place, task.deadline)
        self.waiting.insert(place, task)
        self.product += (task.vruntime - self.zero) * task.weight
        self.weight += task.weight

    def remove(self, task):
        place = bisect_left(self.deadlines, task.deadline)
        while self.waiting[place] is not task:
            place += 1
        del self.deadlines[place], self.waiting[place]
        self.product -= (task.vruntime - self.zero) * task.weight
        self.weight -= task.weight

    def move_zero(self):
        mean = self.mean()
        self.product -= self.weight * (mean - self.zero)
        self.zero = mean

    def place(self, task, initial=False, distance=None):
        lag = 0
        load = self.load
        if load and task.lag:
            lag = task.lag * (load + task.weight) // load
        task.vruntime = self.mean() - lag
        request = SLICE_NS * NICE_0 // task.weight
        task.deadline = task.vruntime + (distance or (request // 2 if initial else request))

    def join(self, task, initial=False, distance=None):
        self.place(task, initial, distance)
        if task is not self.current:
            self.insert(task)
        task.queued = True
        self.move_zero()

    def keep_lag(self, task):
        limit = max(2 * SLICE_NS, TICK_NS) * NICE_0 // task.weight
        task.lag = min(max(self.mean() - task.vruntime, -limit), limit)

    def leave(self, task):
        self.keep_lag(task)
        if task is not self.current:
            self.remove(task)
        task.queued = False
        self.move_zero()

    def pick(self, protect=True):
        current = self.current
        if current is not None and (not current.queued or not self.eligible(current)):
            current = None
        if current is not None and protect and current.vruntime < current.protected_until:
            return current
        product, weight = self.sums()
        for task in self.waiting:
            if product >= (task.vruntime - self.zero) * weight:
                return task if current is None or task.deadline <= current.deadline else current
        return current

    def choose(self):
        """The task that should run; those that slept off their debt leave."""
        while True:
            task = self.pick()
            if task is None or not task.delayed:
                return task
            self.leave(task)
            task.delayed = False
            task.lag = min(task.lag, 0)

    # -- running -------------------------------------------------------------------------------------------

    def account(self):
        task, delta = self.current, self.env.now - self.accounted_ns
        if task is None or delta <= 0:
            return
        self.accounted_ns = self.env.now
        task.cpu_time_ns += delta
        task.burst_ns -= delta
        task.vruntime += delta if task.weight == NICE_0 else delta * NICE_0 // task.weight
        renewed = task.vruntime >= task.deadline
        if renewed:
            task.deadline = task.vruntime + SLICE_NS * NICE_0 // task.weight
        if self.waiting and (renewed or task.vruntime >= task.protected_until):
            self.resched = True

    def switch(self, chosen):
        previous = self.current
        self.current = None
        if previous is not None:
            previous.last_ran_ns = self.env.now
            if previous.queued:
                if not previous.delayed:
                    previous.since_ns = self.env.now
                    previous.involuntary += 1
                self.insert(previous)
        self.accounted_ns = self.env.now
        self.switches += 1
        if chosen is not None:
            if chosen.queued:
                self.remove(chosen)
            chosen.run_delay_ns += self.env.now - chosen.since_ns
            chosen.burst_ns += self.machine.switch_ns
            chosen.protected_until = chosen.deadline
        self.current = chosen

    def run(self):
        env, machine = self.env, self.machine
        while True:
            self.account()
            self.resched = False
            chosen = self.choose()
            if chosen is None and machine.fetch(self):
                continue
            if chosen is not self.current:
                self.switch(chosen)
            if chosen is None:
                self.idle = env.event()
                delay_ns = yield self.idle
                self.idle = None
                if delay_ns:
                    yield env.timeout(delay_ns)
                continue
            yield from self.go_on(chosen)

    def go_on(self, task):
        """Run a task until another should be chosen."""
        env, machine = self.env, self.machine
        while True:
            if task.burst_ns > 0:
                to_tick = TICK_NS - (env.now - machine.tick_phase_ns) % TICK_NS
                self.running = True
                preempted = False
                try:
                    yield env.timeout(min(task.burst_ns, to_tick))
                except simpy.Interrupt:
                    preempted = True
                self.running = False
                if preempted or task.burst_ns > env.now - self.accounted_ns:
                    self.account()
                    if not preempted:
                        machine.balance(self)
                    if self.resched:
                        return
                    continue
                self.account()
            # The kernel takes no notice when a task's operation ends: it wants more CPU time, or blocks.
            self.answer = env.event()
            task.used_up.succeed()
            more = yield self.answer
            if not more:
                return

    def preempt(self):
        """Have the running task looked at now."""
        self.resched = True
        if self.running:
            self.running = False
            self.process.interrupt()


class Machine:
    """CPUs and tasks."""

    def __init__(self, env, cpus, switch_ns=0, idle_exit_ns=0, tick_phase_ns=0):
        self.env, self.switch_ns, self.idle_exit_ns, self.tick_phase_ns = env, switch_ns, idle_exit_ns, tick_phase_ns
        self.cpus = [Cpu(self, number) for number in range(cpus)]
        self.tasks = []

    def add(self, name, weight, program):
        """A task that runs ``program``: a list of (CPU time, sleep, period)."""
        self.tasks.append(Task(self, name, weight, program))

    def start(self, task):
        idle = [cpu for cpu in self.cpus if cpu.current is None and not cpu.waiting]
        cpu = idle[0] if idle else min(self.cpus, key=lambda cpu: len(cpu.waiting) + (cpu.current is not None))
        task.cpu = cpu.number
        task.since_ns = self.env.now
        self.enqueue(task, cpu.number, initial=True)

    def decided(self, task):
        """A task wants CPU time."""
        cpu = self.cpus[task.cpu]
        if cpu.current is task and cpu.answer is not None:
            answer, cpu.answer = cpu.answer, None
            answer.succeed(True)

    def block(self, task):
        """The running task goes to sleep; one that owes service stays on its queue until it is eligible."""
        cpu = self.cpus[task.cpu]
        cpu.account()
        if cpu.eligible(task):
            cpu.leave(task)
        else:
            task.delayed = True
        answer, cpu.answer = cpu.answer, None
        answer.succeed(False)

    def wake(self, task):
        task.since_ns = self.env.now
        waker = task.cpu
        if not task.delayed:
            task.cpu = self.idle_near(task.cpu)
            task.migrations += task.cpu != waker
        self.enqueue(task, waker)

    def enqueue(self, task, waker, initial=False):
        cpu = self.cpus[task.cpu]
        cpu.account()
        if task.delayed:
            task.delayed = False
            cpu.keep_lag(task)
            if task.lag > 0:
                if task is not cpu.current:
                    cpu.remove(task)
                task.queued, task.lag = False, 0
                cpu.join(task)
        else:
            cpu.join(task, initial)
        if cpu.current is None:
            if cpu.idle is not None and not cpu.idle.triggered:
                cpu.idle.succeed(self.idle_exit_ns if cpu.number != waker else 0)
        elif cpu.resched or cpu.pick() is task:
            cpu.preempt()

    def idle_near(self, number):
        for step in range(len(self.cpus)):
            cpu = self.cpus[(number + step) % len(self.cpus)]
            if cpu.current is None and not cpu.waiting:
                return cpu.number
        return number

    def fetch(self, cpu):
        """A CPU is about to go idle: it takes the longest waiting task of the most loaded other one."""
        now = self.env.now
        for other in sorted(self.cpus, key=lambda other: (-other.load, other.number)):
            if other is cpu or not other.waiting or (len(other.waiting) < 2 and other.current is None):
                continue
            cold = [t for t in other.waiting if not t.delayed and now - t.last_ran_ns >= MIGRATION_COST_NS]
            if cold:
                self.move(min(cold, key=lambda task: (task.since_ns, task.name)), other, cpu)
                return True
        return False

    def move(self, task, source, target):
        """Move a waiting task, which keeps the distance to its deadline."""
        source.account()
        source.leave(task)
        distance = task.deadline - task.vruntime
        task.cpu = target.number
        task.migrations += 1
        target.account()
        target.join(task, distance=distance)

    def balance(self, cpu):
        """At a tick, every so often: fetch a task from the busiest CPU if that has much more to do."""
        now = self.env.now
        if now < cpu.balance_due_ns or len(self.cpus) == 1:
            return
        cpu.balance_due_ns = now + (len(self.cpus) * 1_000_000 * BUSY_FACTOR // TICK_NS - 1) * TICK_NS
        busiest = max((other for other in self.cpus if other is not cpu), key=lambda other: (other.load, -other.number))
        here, there = cpu.load, busiest.load
        average = sum(other.load for other in self.cpus) // len(self.cpus)
        if not busiest.waiting or there * 100 <= here * IMBALANCE_PERCENT or here >= average:
            cpu.balance_failed = 0
            return
        most = min(there - average, average - here)
        fitting = [
            task
            for task in busiest.waiting
            if not task.delayed
            and task.weight >> cpu.balance_failed <= most
            and (cpu.balance_failed > 1 or now - task.last_ran_ns >= MIGRATION_COST_NS)
        ]
        if fitting:
            self.move(min(fitting, key=lambda task: (task.since_ns, task.name)), busiest, cpu)
        cpu.balance_failed = 0 if fitting else cpu.balance_failed + 1
