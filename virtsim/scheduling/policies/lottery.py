"""Lottery scheduling: a draw every quantum, with chances by tickets.

References
----------
C. A. Waldspurger, W. E. Weihl, "Lottery Scheduling: Flexible Proportional-Share Resource Management", OSDI 1994.
"""

from __future__ import annotations

from virtsim.core.streams import SplitMix64
from virtsim.scheduling.cpu import Cpu
from virtsim.scheduling.policy import POLICIES, Policy
from virtsim.scheduling.task import Task


@POLICIES.register("lottery")
class Lottery(Policy):
    """Draws the task to run; ``task.policy_data`` is its number of tickets (an int, 1 if None).

    Parameters
    ----------
    quantum : int, ns
        Time between draws.
    seed : int
        Of the draws.

    Notes
    -----
    A task that gives up its quantum half used does not get the paper's compensation tickets.
    """

    def __init__(self, quantum: int = 10_000_000, seed: int = 0) -> None:
        super().__init__()
        self.quantum = quantum
        self.rng = SplitMix64(seed)
        self.waiting: list[Task] = []

    def enroll(self, task: Task, weight: int) -> None:
        """As many tickets as its weight."""
        task.policy_data = weight

    def enqueue(self, task: Task, woken: bool) -> None:
        """Its tickets take part from now on."""
        self.waiting.append(task)

    def pick(self, cpu: Cpu) -> Task | None:
        """Draw among those that may run here."""
        allowed = [task for task in self.waiting if cpu.number in task.cpus]
        if not allowed:
            return None
        left = self.rng.uniform() * sum(task.policy_data or 1 for task in allowed)
        for task in allowed:
            left -= task.policy_data or 1
            if left < 0:
                break
        self.waiting.remove(task)
        return task

    def quantum_ns(self, task: Task) -> int:
        """The same for all."""
        return self.quantum
