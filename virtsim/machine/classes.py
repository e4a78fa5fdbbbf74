"""Linux's scheduling classes above the fair one, for the tasks of a scenario that ask for them."""

from __future__ import annotations

from collections.abc import Sequence

from virtsim.scheduling.heart import Heart
from virtsim.scheduling.policies.deadline import Deadline, Server
from virtsim.scheduling.policies.realtime import Priority, RealTime
from virtsim.scheduling.task import Task
from virtsim.workload.workload import Task as TaskSpec

#: Since when waiting fair tasks are served, and real-time tasks not throttled.
FAIR_SERVER = (6, 12)


class Classes:
    """SCHED_DEADLINE above SCHED_FIFO and SCHED_RR, on a heart; those that nobody asks for are left out.

    Parameters
    ----------
    heart : Heart
    specs : sequence of (TaskSpec, frozenset of int)
        All tasks of the kernel, and the CPUs that each may use.
    version : tuple of int
        Of the kernel.
    groups : int
        Guests with real-time tasks, where the kernel has real-time group scheduling and divides the time; else 0.

    Raises
    ------
    ModelError
        If deadline tasks ask for more than there is.
    """

    def __init__(
        self, heart: Heart, specs: Sequence[tuple[TaskSpec, frozenset[int]]], version: tuple[int, ...], groups: int
    ) -> None:
        self.deadline: Deadline | None = None
        self.realtime: RealTime | None = None
        servers = [
            (_server(spec), cpus) for spec, cpus in specs for _ in range(spec.count) if spec.policy == "deadline"
        ]
        if servers:
            self.deadline = heart.add_policy(Deadline())
            self.deadline.admit(servers)
        if any(spec.policy in ("fifo", "rr") for spec, _ in specs):
            self.realtime = heart.add_policy(RealTime(version >= FAIR_SERVER and not groups, groups))

    def classify(self, task: Task, spec: TaskSpec) -> None:
        """Give a task its policy, and the timers without slack that go with it."""
        if spec.policy == "deadline":
            task.policy, task.policy_data = self.deadline, _server(spec)
        elif spec.policy in ("fifo", "rr"):
            task.policy, task.policy_data = self.realtime, Priority(spec.priority, spec.policy == "rr")
        else:
            task.batch, task.idle_policy = spec.policy == "batch", spec.policy == "idle"
            return
        task.slack_ns = 0


def _server(spec: TaskSpec) -> Server:
    assert spec.runtime is not None
    assert spec.deadline is not None
    return Server(int(spec.runtime), int(spec.deadline), int(spec.period or spec.deadline))
