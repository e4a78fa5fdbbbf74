"""Stride scheduling: lottery scheduling without the chance.

References
----------
C. A. Waldspurger, W. E. Weihl, "Stride Scheduling: Deterministic Proportional-Share Resource Management",
MIT/LCS/TM-528, 1995.
"""

from __future__ import annotations

from dataclasses import dataclass

from virtsim.scheduling.cpu import Cpu
from virtsim.scheduling.policies.waiting import Waiting
from virtsim.scheduling.policy import POLICIES, Policy
from virtsim.scheduling.task import Task

#: Stride of a task with one ticket, for a whole quantum: so large that many tickets leave some of it.
STRIDE1 = 1 << 40


@dataclass
class Tickets:
    """A task's part: ``tickets`` (at least 1), and its ``pass_value``, kept by the policy."""

    tickets: int = 1
    pass_value: int = 0


@POLICIES.register("stride")
class Stride(Policy):
    """The task with the smallest pass runs, and its pass grows in proportion to time over tickets.

    ``task.policy_data`` is a :class:`Tickets`. One that wakes begins at the smallest pass of those that wait.

    Parameters
    ----------
    quantum : int, ns
        Time between decisions.
    """

    def __init__(self, quantum: int = 10_000_000) -> None:
        super().__init__()
        self.quantum = quantum
        self.waiting = Waiting()
        self.global_pass = 0

    def enroll(self, task: Task, weight: int) -> None:
        """As many tickets as its weight."""
        task.policy_data = Tickets(weight)

    def enqueue(self, task: Task, woken: bool) -> None:
        """By pass; sleeping earns nothing."""
        data = task.policy_data = task.policy_data or Tickets()
        if woken:
            data.pass_value = max(data.pass_value, self.global_pass)
        self.waiting.add(task, data.pass_value)

    def pick(self, cpu: Cpu) -> Task | None:
        """The smallest pass that may run here."""
        task = self.waiting.take(cpu)
        if task is not None:
            self.global_pass = max(self.global_pass, task.policy_data.pass_value)
        return task

    def charge(self, task: Task, delta_ns: int) -> None:
        """A part of a quantum costs its part of the stride."""
        data = task.policy_data
        data.pass_value += delta_ns * STRIDE1 // (data.tickets * self.quantum)

    def quantum_ns(self, task: Task) -> int:
        """The same for all."""
        return self.quantum
