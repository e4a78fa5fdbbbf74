"""The textbook's policies for periodic jobs: earliest deadline first, and rate monotonic.

References
----------
C. L. Liu, J. W. Layland, "Scheduling Algorithms for Multiprogramming in a Hard-Real-Time
Environment", JACM 20(1), 1973.
"""

from __future__ import annotations

from virtsim.scheduling.cpu import Cpu
from virtsim.scheduling.policy import POLICIES, Policy
from virtsim.scheduling.task import Task


class Job:
    """A periodic task's ``policy_data``.

    Attributes
    ----------
    period_ns, deadline_ns : int, ns
        Its period and relative deadline (the period if 0).
    until_ns : int, ns
        The current job's absolute deadline.
    released : bool
        Whether that is the deadline of a job that was announced, so that waking up does not begin another.
    done, missed : int
        Jobs that have ended, and how many of them after their deadline.
    """

    __slots__ = ("deadline_ns", "done", "missed", "period_ns", "released", "until_ns")

    def __init__(self, period_ns: int, deadline_ns: int = 0) -> None:
        self.period_ns = period_ns
        self.deadline_ns = deadline_ns or period_ns
        self.until_ns = 0
        self.released = False
        self.done = 0
        self.missed = 0


class Ordered(Policy):
    """Runs the task with the smallest key, on all CPUs together; preemptive. ``policy_data`` is a :class:`Job`."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Task] = []

    def key(self, job: Job) -> int:
        """What tasks are ordered by."""
        raise NotImplementedError

    def enqueue(self, task: Task, woken: bool) -> None:
        """A job that was not announced is released when its task wakes."""
        job: Job = task.policy_data
        if woken and not job.released:
            job.until_ns = self.heart.now_ns + job.deadline_ns
        resumed = not woken and not job.released
        job.released = False
        self._insert(task, self.key(job), resumed)

    def _insert(self, task: Task, key: int, first: bool) -> None:
        waiting = self.waiting
        low, high = 0, len(waiting)
        while low < high:
            middle = (low + high) >> 1
            other: Task = waiting[middle]
            other_key = self.key(other.policy_data)
            if other_key < key or (other_key == key and not first):
                low = middle + 1
            else:
                high = middle
        waiting.insert(low, task)

    def next_job(self, task: Task, release_ns: int) -> None:
        """Judge the job that has ended; the next one's deadline counts from its release, however late it begins."""
        job: Job = task.policy_data
        job.done += 1
        if self.heart.now_ns > job.until_ns:
            job.missed += 1
        job.until_ns = release_ns + job.deadline_ns
        job.released = True

    def pick(self, cpu: Cpu) -> Task | None:
        """The smallest key that may run here."""
        number = cpu.number
        waiting = self.waiting
        for place in range(len(waiting)):
            task: Task = waiting[place]
            if number in task.cpus:
                del waiting[place]
                return task
        return None

    def preempts(self, woken: Task, running: Task) -> bool:
        """A smaller key does."""
        return self.key(woken.policy_data) < self.key(running.policy_data)

    def place(self, task: Task, waker_cpu: int) -> int:
        """An idle CPU, else the one whose task has the largest key."""
        home = Policy.place(self, task, waker_cpu)  # no super() in compiled classes
        cpus = self.heart.cpus
        chosen, largest = home, -1
        for number in sorted(task.cpus) if len(task.cpus) > 1 else ():
            cpu: Cpu = cpus[number]
            running = cpu.current
            if running is None:
                return home
            key = self.key(running.policy_data) if running.policy is self else 1 << 62
            if key > largest:
                chosen, largest = number, key
        return chosen


class EarliestDeadlineFirst(Ordered):
    """The earliest absolute deadline runs; on one CPU all deadlines are met if utilisations add up to at most 1."""

    def key(self, job: Job) -> int:
        """The absolute deadline."""
        return job.until_ns


class RateMonotonic(Ordered):
    """The shortest period runs; on one CPU all deadlines are met up to a utilisation of n (2^(1/n) - 1)."""

    def key(self, job: Job) -> int:
        """The period."""
        return job.period_ns


# Not as decorators, which compiled classes do not take.
POLICIES.register("edf")(EarliestDeadlineFirst)
POLICIES.register("rate-monotonic")(RateMonotonic)
