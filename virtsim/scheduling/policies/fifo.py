"""First in, first out: a task runs until it blocks or ends."""

from __future__ import annotations

from virtsim.scheduling.cpu import Cpu
from virtsim.scheduling.policies.waiting import Waiting
from virtsim.scheduling.policy import POLICIES, Policy
from virtsim.scheduling.task import Task


@POLICIES.register("fifo")
class Fifo(Policy):
    """Tasks in the order in which they became runnable, on all CPUs together; nobody is preempted."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = Waiting()

    def enqueue(self, task: Task, woken: bool) -> None:
        """One that ran keeps its place at the head."""
        self.waiting.add(task, first=not woken)

    def pick(self, cpu: Cpu) -> Task | None:
        """The first that may run here."""
        return self.waiting.take(cpu)
