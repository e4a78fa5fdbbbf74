"""What tasks do: their programs, instruction by instruction, and the sleeps, locks and forks in them."""

from __future__ import annotations

from collections.abc import Callable

from virtsim.core.errors import ModelError
from virtsim.scheduling.dispatcher import Dispatcher
from virtsim.scheduling.events import TIMER
from virtsim.scheduling.load import LoadAverage
from virtsim.scheduling.policy import Policy
from virtsim.scheduling.program import GAVE_UP, GO_ON, NEEDS_TIME, Code, Program
from virtsim.scheduling.request import RequestQueue
from virtsim.scheduling.settings import Kernel, SchedulingCosts
from virtsim.scheduling.tally import Tally
from virtsim.scheduling.task import BLOCKED, ENDED, NEW, RUNNABLE, Task
from virtsim.scheduling.words import Words

#: A program that goes round more often than this without using time is refused.
MAX_ROUNDS_AT_ONCE = 1_000_000

# Plain integers of the codes, which are compared at every step.
_CPU = int(Code.CPU)
_CPU_DRAWN = int(Code.CPU_DRAWN)
_SLEEP = int(Code.SLEEP)
_SLEEP_DRAWN = int(Code.SLEEP_DRAWN)
_PERIODIC_BEGIN = int(Code.PERIODIC_BEGIN)
_PERIODIC_WAIT = int(Code.PERIODIC_WAIT)
_RECORD_SINCE = int(Code.RECORD_SINCE)
_REQUEST_WAIT = int(Code.REQUEST_WAIT)
_REQUEST_BEGIN = int(Code.REQUEST_BEGIN)
_REQUEST_END = int(Code.REQUEST_END)
_POST = int(Code.POST)
_WAIT = int(Code.WAIT)
_LOCK = int(Code.LOCK)
_UNLOCK = int(Code.UNLOCK)
_LOOP_BEGIN = int(Code.LOOP_BEGIN)
_LOOP_END = int(Code.LOOP_END)
_JUMP_IF_DONE = int(Code.JUMP_IF_DONE)
_FORK_WAIT = int(Code.FORK_WAIT)
_COUNT = int(Code.COUNT)
_EXIT = int(Code.EXIT)
_REQUEST_NOW = int(Code.REQUEST_NOW)
_JUMP = int(Code.JUMP)
_POST_SYNC = int(Code.POST_SYNC)
_EXTERNAL = int(Code.EXTERNAL)


class Interpreter(Dispatcher):
    """Runs programs on the dispatcher.

    Attributes
    ----------
    semaphores, lock_owners, queues : list
        What tasks hand over to each other, by number.
    live_tasks : int
        Tasks that have not ended yet.
    """

    __slots__ = (
        "_timer_latency_ns",
        "live_tasks",
        "lock_owners",
        "lock_waiters",
        "on_external",
        "queues",
        "semaphores",
        "waiters",
        "wake_at",
    )

    def __init__(self, cpus: int, kernel: Kernel, costs: SchedulingCosts, tick_phase_ns: int, seed: int) -> None:
        super().__init__(cpus, kernel, costs, tick_phase_ns, seed)
        self.semaphores = Words()
        self.wake_at = Words()
        self.waiters: list[list[Task]] = []
        self.lock_owners: list[Task | None] = []
        self.lock_waiters: list[list[Task]] = []
        self.queues: list[RequestQueue] = []
        self.live_tasks = 0
        #: Called with (task, number) for an EXTERNAL instruction; wake the task with :meth:`wake`.
        self.on_external: Callable[[Task, int], None] | None = None
        self._timer_latency_ns = costs.timer_latency_ns

    def step(self, task: Task) -> bool:
        """Interpret the task's program until it needs CPU time (true) or has blocked or ended (false)."""
        program = task.program
        text, slots = program.text.at, task.slots.at
        now = self.now_ns
        rounds = 0
        while rounds < MAX_ROUNDS_AT_ONCE:
            pc = task.pc
            place = 3 * pc
            code, a, b = text[place], text[place + 1], text[place + 2]
            task.pc = pc + 1
            if code == _CPU:
                task.burst_ns += a
                if task.burst_ns > 0:
                    return True
            elif code == _LOOP_END:
                if slots[b] != 1:
                    task.pc = a
                    rounds += 1
                if slots[b]:
                    slots[b] -= 1
            elif code == _COUNT:
                task.done.at[a] += b
            elif code == _SLEEP:
                self._sleep_until(task, now + a)
                return False
            elif code == _PERIODIC_WAIT:
                slots[b] += a
                if task.policy is not None:
                    self._next_job(task, slots[b])
                if slots[b] > now:
                    self._sleep_until(task, slots[b])
                    return False
            elif code == _RECORD_SINCE:
                self._record(task, a, now - slots[b])
            elif code == _POST or code == _POST_SYNC:  # noqa: SIM109 (two C comparisons)
                self.semaphores.at[a] += 1
                if self.waiters[a] and self.semaphores.at[a] >= self.wake_at.at[a]:
                    task.burst_ns += b + self.wake(self.waiters[a].pop(0), task.cpu, False, code == _POST_SYNC)
                    cpu = self.cpus[task.cpu]
                    if task.burst_ns > 0 or cpu.resched:
                        return True
            elif code == _WAIT:
                if self.semaphores.at[a] == 0:
                    self.waiters[a].append(task)
                    task.pc = pc
                    self._block(task)
                    task.burst_ns += b
                    return False
                self.semaphores.at[a] -= 1
            elif code == _CPU_DRAWN:
                sampler = program.samplers[a]
                task.burst_ns += sampler.sample_ns()
                if task.burst_ns > 0:
                    return True
            elif code == _SLEEP_DRAWN:
                sampler = program.samplers[a]
                self._sleep_until(task, now + sampler.sample_ns())
                return False
            elif code == _LOOP_BEGIN:
                slots[b] = a
            elif code == _PERIODIC_BEGIN:
                slots[b] = task.start_ns if a else now
            elif code == _LOCK:
                if not self._lock(task, a):
                    task.pc = pc
                    task.burst_ns += b
                    return False
            elif code == _UNLOCK:
                if self._unlock(task, a, b):
                    return True
            elif code == _REQUEST_WAIT:
                queue = self.queues[a]
                arrival = queue.take()
                slots[b], slots[b + 1] = arrival, now
                if arrival > now:
                    self._sleep_until(task, arrival)
                    task.burst_ns += queue.sleep_ns
                    return False
            elif code == _REQUEST_NOW:
                self.queues[a].take()
                slots[b] = slots[b + 1] = now
            elif code == _REQUEST_BEGIN:
                slots[b + 1] = now
            elif code == _REQUEST_END:
                self.queues[a].record(task, slots[b], slots[b + 1], now)
            elif code == _JUMP:
                task.pc = a
                rounds += 1
            elif code == _JUMP_IF_DONE:
                if self.queues[b].exhausted:
                    task.pc = a
                    rounds += 1
            elif code == _FORK_WAIT:
                self._fork(task, program.children[a])
                return False
            elif code == _EXIT:
                self._end(task)
                return False
            else:
                outcome = self._extended(task, code, a, b)
                if outcome != GO_ON:
                    return outcome == NEEDS_TIME
        raise ModelError(f"{task.name} goes round more than {MAX_ROUNDS_AT_ONCE} times without using any time")

    def _start(self, task: Task, placed: bool = False) -> None:
        """A task begins its program: where it is, if it has been placed there, else where a new one belongs."""
        task.start_ns = self.now_ns
        task.since_ns = task.entered_ns = self.now_ns
        task.state = BLOCKED
        policy: Policy | None = task.policy
        if placed:
            task.recent_cpu = task.cpu
        else:
            chosen = self.placement.choose_for_fork(task) if policy is None else self._place_by_policy(task, task.cpu)
            self._move(task, chosen)
        task.migrations = 0
        task.burst_ns = 0
        task.state = RUNNABLE
        if policy is None:
            self._enqueue(task, initial=True)
        else:
            self._admit(task, True)
        cpu = self.cpus[task.cpu]
        if cpu.current is None:
            self._reschedule_soon(cpu, 0)
        else:
            self._preempt(cpu, task, new=True)
            if cpu.resched:
                self._reschedule_soon(cpu, 0)
            self._arm_tick(cpu)

    def _next_job(self, task: Task, release_ns: int) -> None:
        """Tell the policy of a job's end; one that goes on to a late job at once may have to stand back for others."""
        policy: Policy = task.policy
        policy.next_job(task, release_ns)
        if release_ns <= self.now_ns:
            self.reschedule(self.cpus[task.cpu])

    def _block(self, task: Task) -> None:
        self._account(self.cpus[task.cpu])
        task.run_ns += self.now_ns - task.entered_ns
        task.entered_ns = self.now_ns
        task.state = BLOCKED
        task.voluntary += 1
        if task.policy is None:
            self._dequeue(task, True)
        else:
            self._withdraw(task)

    def _sleep_until(self, task: Task, due_ns: int) -> None:
        """Block until a timer fires: at most the slack, and some latency, after it is due."""
        latency = self._drawn(self._timer_latency_ns)
        task.version += 1
        if due_ns < self.now_ns:
            due_ns = self.now_ns
        self.events.push(due_ns + task.slack_ns + latency, TIMER, task, task.version)
        self._block(task)

    def _record(self, task: Task, kind: int, value_ns: int) -> None:
        tally = task.tallies.get(kind)
        if tally is None:
            tally = task.tallies[kind] = Tally()
        tally.add(value_ns if value_ns > 0 else 0)

    def _lock(self, task: Task, number: int) -> bool:
        """Take a mutex, or wait for it; a waiter that is woken has to try again, as with a futex."""
        if self.lock_owners[number] is None:
            self.lock_owners[number] = task
            return True
        self.lock_waiters[number].append(task)
        self._block(task)
        return False

    def _unlock(self, task: Task, number: int, waking_ns: int) -> bool:
        """Free a mutex and wake a waiter; tells whether that takes time."""
        self.lock_owners[number] = None
        if not self.lock_waiters[number]:
            return False
        waiter = self.lock_waiters[number].pop(0)
        task.burst_ns += waking_ns + self.wake(waiter, task.cpu)
        cpu = self.cpus[task.cpu]
        return task.burst_ns > 0 or cpu.resched

    def _fork(self, task: Task, program: Program) -> None:
        child = Task(
            task.name, task.group, task.load, program, task.cpus, task.slice_ns, task.slack_ns, task.custom_slice
        )
        child.parent_task = task
        child.batch, child.idle_policy = task.batch, task.idle_policy
        child.policy, child.policy_data = task.policy, task.policy_data
        child.cpu = task.cpu
        child.state = NEW
        if task.load_average is not None:
            child.load_average = LoadAverage(0, self.now_ns)
        self.live_tasks += 1
        self._start(child)
        self._block(task)

    def _end(self, task: Task) -> None:
        self._account(self.cpus[task.cpu])
        task.run_ns += self.now_ns - task.entered_ns
        task.state = ENDED
        task.end_ns = self.now_ns
        self.live_tasks -= 1
        task.delayed = False
        if task.policy is None:
            self._dequeue(task, asleep=False)
        else:
            self._withdraw(task)
        parent = task.parent_task
        if parent is not None:
            parent.children_ns += task.cpu_time_ns
            # What the parent finds cold is in the price of a fork.
            parent.last_ran_ns = self.now_ns
            self.wake(parent, task.cpu)

    def _extended(self, task: Task, code: int, a: int, b: int) -> int:
        """Any other instruction; tells what it comes to."""
        if code == _EXTERNAL:
            self._leave_to_outside(task, a)
            return GAVE_UP
        raise ModelError(f"{task.name}: only storeys (virtsim.scheduling.storey) know instruction {code}")

    def _leave_to_outside(self, task: Task, number: int) -> bool:
        if self.on_external is None:
            raise ModelError(f"{task.name} asks the outside for request {number}, but nobody answers")
        self._block(task)
        self.on_external(task, number)
        return False
