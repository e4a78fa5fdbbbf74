"""Scheduling classes: policies in their order of rank, and the fair class below them."""

from __future__ import annotations

from typing import TypeVar

from virtsim.core.errors import ModelError
from virtsim.scheduling.cpu import Cpu
from virtsim.scheduling.group import Group
from virtsim.scheduling.policy import Policy
from virtsim.scheduling.settings import Kernel, SchedulingCosts
from virtsim.scheduling.task import RUNNING, Task
from virtsim.scheduling.throttling import Throttling

P = TypeVar("P", bound=Policy)


class Classes(Throttling):
    """Asks the policies first.

    Attributes
    ----------
    policies : list of Policy
        Highest first.
    """

    __slots__ = ("_node_costs", "policies")

    def __init__(self, cpus: int, kernel: Kernel, costs: SchedulingCosts, tick_phase_ns: int) -> None:
        super().__init__(cpus, kernel, costs, tick_phase_ns)
        self.policies: list[Policy] = []
        #: Extra CPU time of a task that was moved, by the nodes it came from and went to, ns.
        self._node_costs: list[list[int]] = []

    def add_policy(self, policy: P) -> P:
        """Let tasks have a policy; below those that were added before, above the fair class."""
        policy.heart = self  # type: ignore[assignment] # always a Heart
        policy.rank = len(self.policies)
        self.policies.append(policy)
        policy.attach()
        return policy

    def _place_by_policy(self, task: Task, waker_cpu: int) -> int:
        """Where a task's policy wants it."""
        policy: Policy = task.policy
        chosen = policy.place(task, waker_cpu)
        if chosen != task.cpu:
            self._check_place(task, chosen)
        return chosen

    def _check_place(self, task: Task, cpu: int) -> None:
        """Policies are users' own: one that forgets a task's affinity is told so."""
        if cpu not in task.cpus:
            allowed = ", ".join(map(str, sorted(task.cpus)))
            raise ModelError(
                f"policy {type(task.policy).__name__} puts {task.name} on CPU {cpu}, but its CPUs are {allowed}"
            )

    def _admit(self, task: Task, woken: bool) -> None:
        """A task of a policy waits on ``task.cpu``."""
        cpu = self.cpus[task.cpu]
        if cpu.current is not None and cpu.account_ns < self.now_ns:
            self._account(cpu)
        policy: Policy = task.policy
        if self._governed:
            self.governor.policy_task(cpu, policy, task, 1, self.now_ns)
        cpu.root.runnable += 1
        policy.enqueue(task, woken)

    def _withdraw(self, task: Task) -> None:
        """The running task of a policy sleeps or ends."""
        cpu = self.cpus[task.cpu]
        policy: Policy = task.policy
        if self._governed:
            self.governor.policy_task(cpu, policy, task, -1, self.now_ns)
        cpu.root.runnable -= 1
        policy.blocked(task)

    def _give_back(self, task: Task) -> None:
        """The running task waits as any other while its CPU decides anew, if it could go on."""
        if task.state == RUNNING:
            policy: Policy = task.policy
            policy.enqueue(task, False)

    def _pick_by_policy(self, cpu: Cpu) -> Task | None:
        for policy in self.policies:
            task = policy.pick(cpu)
            if task is None:
                continue
            if task.cpu != cpu.number:
                self._check_place(task, cpu.number)
                source = self.cpus[task.cpu]
                if self._governed:
                    self.governor.policy_task(source, policy, task, -1, self.now_ns)
                    self.governor.policy_task(cpu, policy, task, 1, self.now_ns)
                source.root.runnable -= 1
                cpu.root.runnable += 1
                self._move(task, cpu.number)
            return task
        return None

    def _outranks(self, task: Task, running: Task) -> bool:
        """Whether a task makes its CPU decide anew, where at least one of the two is of a policy."""
        mine: Policy | None = task.policy
        its: Policy | None = running.policy
        if mine is None:
            return False
        if mine is its:
            return mine.preempts(task, running)
        return its is None or mine.rank < its.rank

    def _charge_by_policy(self, task: Task, delta_ns: int) -> None:
        group: Group | None = task.group
        while group is not None:
            group.cpu_time_ns += delta_ns
            group = group.parent
        policy: Policy = task.policy
        policy.charge(task, delta_ns)

    def _move(self, task: Task, cpu: int) -> None:
        task.migrations += 1
        before, after = self.cpus[task.cpu], self.cpus[cpu]
        if before.node != after.node:
            task.burst_ns += self._node_costs[before.node][after.node]
        elif before.cache is not after.cache:
            task.burst_ns += self._migration_cache_ns
        elif before.core != after.core:
            task.burst_ns += self._migration_ns
        task.cpu = cpu
