"""Borrowed virtual time: the least effective virtual time runs, and latency-sensitive tasks may warp back.

That is the paper's scheduler over all CPUs together. Xen's of 2003 had a queue and a virtual time for each CPU, charged
whole units of 100 us, let whoever runs keep the CPU for the allowance when another wakes, and with somebody waiting let
it run for the allowance and little more, since it added virtual time to real time (``xen/common/sched_bvt.c``).

References
----------
K. J. Duda, D. R. Cheriton, "Borrowed-Virtual-Time (BVT) Scheduling", SOSP 1999.
P. Barham et al., "Xen and the Art of Virtualization", SOSP 2003 (a context-switch allowance of 5 ms).
"""

from __future__ import annotations

from dataclasses import dataclass

from virtsim.scheduling.cpu import Cpu
from virtsim.scheduling.policies.waiting import Waiting
from virtsim.scheduling.policy import POLICIES, Policy
from virtsim.scheduling.task import Task

#: Virtual time of a task of weight 1 passes this many times as fast as real time.
SCALE = 1024


@dataclass(eq=False)
class Borrower:
    """A task's ``policy_data``.

    Attributes
    ----------
    weight : int
        Its part, against the others'.
    warp_ns : int
        Virtual time it borrows when it wakes; 0 for none.
    warp_limit_ns, unwarp_ns : int, ns
        For how long at a time (0: no limit), and how long it must not after it has reached that limit.
    avt : int
        Actual virtual time; kept by the policy.
    warped : bool
        Whether it has borrowed.
    warped_at_ns, may_warp_ns : int, ns
        When it did, and when it may again; kept by the policy.
    """

    weight: int = 1
    warp_ns: int = 0
    warp_limit_ns: int = 0
    unwarp_ns: int = 0
    avt: int = 0
    warped: bool = False
    warped_at_ns: int = 0
    may_warp_ns: int = 0

    @property
    def evt(self) -> int:
        """Effective virtual time."""
        return self.avt - (self.warp_ns * SCALE if self.warped else 0)

    def warp(self, now_ns: int) -> None:
        """Borrow, if it may."""
        self.warped = self.warp_ns > 0 and now_ns >= self.may_warp_ns
        self.warped_at_ns = now_ns

    def unwarp_in_time(self, now_ns: int) -> None:
        """Give back what was borrowed for long enough."""
        if self.warped and 0 < self.warp_limit_ns <= now_ns - self.warped_at_ns:
            self.warped = False
            self.may_warp_ns = now_ns + self.unwarp_ns


@POLICIES.register("bvt")
class BorrowedVirtualTime(Policy):
    """``policy_data`` is a :class:`Borrower`.

    Parameters
    ----------
    allowance : int, ns
        How much real time a task may run ahead of the next before it is switched.
    """

    def __init__(self, allowance: int = 5_000_000) -> None:
        super().__init__()
        self.allowance = allowance
        self.waiting = Waiting()
        self.running: dict[int, Task] = {}

    def enroll(self, task: Task, weight: int) -> None:
        """It does not warp."""
        task.policy_data = Borrower(weight)

    def enqueue(self, task: Task, woken: bool) -> None:
        """One that wakes has its virtual time brought up to the scheduler's, and may borrow."""
        data: Borrower = task.policy_data
        self.running.pop(id(task), None)
        if woken:
            data.avt = max(data.avt, self._virtual_time())
            data.warp(self.heart.now_ns)
        else:
            data.unwarp_in_time(self.heart.now_ns)
        self.waiting.add(task, data.evt)

    def pick(self, cpu: Cpu) -> Task | None:
        """The least effective virtual time."""
        task = self.waiting.take(cpu)
        if task is not None:
            self.running[id(task)] = task
        return task

    def blocked(self, task: Task) -> None:
        """Gives back what it borrowed."""
        task.policy_data.warped = False
        self.running.pop(id(task), None)

    def charge(self, task: Task, delta_ns: int) -> None:
        """Virtual time passes in inverse proportion to the weight."""
        data: Borrower = task.policy_data
        data.avt += delta_ns * SCALE // data.weight

    def preempts(self, woken: Task, running: Task) -> bool:
        """One that is behind does."""
        return bool(woken.policy_data.evt < running.policy_data.evt)

    def quantum_ns(self, task: Task) -> int:
        """Until it is the allowance ahead of the next, or has to unwarp; an allowance if nobody waits."""
        data: Borrower = task.policy_data
        others = self.waiting.first_key(self.heart.cpus[task.cpu])
        quantum_ns = self.allowance
        if others is not None:
            quantum_ns += int(max(others - data.evt, 0) * data.weight // SCALE)
        if data.warped and data.warp_limit_ns:
            quantum_ns = min(quantum_ns, data.warped_at_ns + data.warp_limit_ns - self.heart.now_ns)
        return quantum_ns

    def _virtual_time(self) -> int:
        """The least actual virtual time of the runnable tasks."""
        values = [task.policy_data.avt for task in (*self.waiting, *self.running.values())]
        return int(min(values, default=0))
