"""Round robin: each task in turn for a quantum."""

from __future__ import annotations

from virtsim.scheduling.cpu import Cpu
from virtsim.scheduling.policies.waiting import Waiting
from virtsim.scheduling.policy import POLICIES, Policy
from virtsim.scheduling.task import Task


@POLICIES.register("round-robin")
class RoundRobin(Policy):
    """Tasks in a circle, on all CPUs together.

    Parameters
    ----------
    quantum : int, ns
        What each gets at a time; one that blocks begins a new one when it wakes.
    """

    def __init__(self, quantum: int = 10_000_000) -> None:
        super().__init__()
        self.quantum = quantum
        self.waiting = Waiting()

    def enqueue(self, task: Task, woken: bool) -> None:
        """Behind the others, but in front with what is left of a quantum that was cut short."""
        over = woken or task.policy_data <= 0
        if over:
            task.policy_data = self.quantum
        self.waiting.add(task, first=not over)

    def pick(self, cpu: Cpu) -> Task | None:
        """The first that may run here."""
        return self.waiting.take(cpu)

    def charge(self, task: Task, delta_ns: int) -> None:
        """Use the quantum up."""
        task.policy_data -= delta_ns

    def quantum_ns(self, task: Task) -> int:
        """What is left of it."""
        return int(task.policy_data)
