"""The scheduling policy that a call of :func:`~virtsim.machine.simulate.simulate` chooses for a whole host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import virtsim.scheduling.policies as policies
from virtsim.core.errors import SpecError
from virtsim.core.registry import Registry
from virtsim.platform.host import HostCard
from virtsim.scenario.scenario import Scenario
from virtsim.scheduling.heart import Heart
from virtsim.scheduling.policy import Policy
from virtsim.scheduling.task import Task
from virtsim.scheduling.weight import NICE_0, WEIGHT_OF_NICE

#: A name of :data:`CHOICES`, a policy's class or another callable that makes one, or a new one.
Choice = str | type[Policy] | Callable[[], Policy] | Policy
#: The fair class in its two forms, and the kernel that stands for one on the card of a kernel with the other.
FAIR = {"cfs": "6.5", "eevdf": "6.6"}
#: What every task can be given without saying more about it than its weight.
CHOICES: Registry[Any] = Registry("scheduling policy for a whole host")
for _name, _entry in (
    ("bvt", policies.bvt.BorrowedVirtualTime),
    ("cfs", "cfs"),
    ("credit", policies.credit.Credit),
    ("credit2", policies.credit2.Credit2),
    ("eevdf", "eevdf"),
    ("fifo", policies.fifo.Fifo),
    ("lottery", policies.lottery.Lottery),
    ("round-robin", policies.round_robin.RoundRobin),
    ("rr", policies.round_robin.RoundRobin),
    ("stride", policies.stride.Stride),
):
    CHOICES.register(_name)(_entry)
#: A guest's weight if it says nothing (``cpu.weight``), and what a single task of such a guest is enrolled with.
USUAL_CPU_WEIGHT, USUAL_SHARE = 100, 1024


class ChosenPolicy:
    """A choice, checked.

    Parameters
    ----------
    choice : Choice or None
        None leaves everything to the card and the scenario.

    Attributes
    ----------
    name : str or None
        For the manifest: the name, or a class's module and name.
    policy : Policy or None
        To be added to the host's heart; None for the fair class.

    Raises
    ------
    SpecError
        If there is no such policy, the choice is no policy, or it is one that has been used.
    """

    def __init__(self, choice: Choice | None) -> None:
        self.name: str | None = None
        self.policy: Policy | None = None
        self.fair: str | None = None
        if choice is None:
            return
        made: Any = choice
        if isinstance(choice, str):
            made = CHOICES.get(choice, "policy")
            if made in FAIR:
                self.name = self.fair = choice
                return
        if callable(made) and not isinstance(made, Policy):
            made = made()
        if not isinstance(made, Policy):
            raise SpecError(
                "policy",
                f"{type(made).__name__} is no scheduling policy: give a name ({', '.join(CHOICES)}), or a class "
                "derived from virtsim.scheduling.policy.Policy",
            )
        if getattr(made, "heart", None) is not None:
            raise SpecError("policy", "this policy has had a run already; give its class, or a new one for each run")
        self.policy = made
        self.name = choice if isinstance(choice, str) else f"{type(made).__module__}.{type(made).__qualname__}"

    def card(self, card: HostCard) -> HostCard:
        """The card with the form of the fair class that was chosen; its settings are its kernel's own then."""
        if self.fair is None or card.kernel.scheduler == self.fair:
            return card
        kernel = card.kernel.replace(
            scheduler=self.fair,
            version=FAIR[self.fair],
            base_slice=None,
            latency=None,
            min_granularity=None,
            wakeup_granularity=None,
            features={},
        )
        return card.replace(kernel=kernel)

    def check(self, scenario: Scenario) -> None:
        """Refuse what only the fair class knows.

        Raises
        ------
        SpecError
            If there are groups or quotas, and the policy is not the fair class.
        """
        if self.policy is None:
            return
        fair = " or ".join(repr(name) for name in FAIR)
        if scenario.groups:
            raise SpecError("policy", f"{self.name!r} knows no groups; leave out groups, or take {fair}")
        for i, guest in enumerate(scenario.guests):
            if guest.cpu_max is not None:
                raise SpecError(
                    "policy", f"{self.name!r} knows no quotas; leave out guests[{i}].cpu_max, or take {fair}"
                )

    def add_to(self, heart: Heart, pool: frozenset[int]) -> None:
        """Add the policy to the host's heart; Xen's credit is handed out for the CPUs of the scenario only."""
        if isinstance(self.policy, policies.credit.Credit) and self.policy.pool is None:
            self.policy.pool = pool
        if self.policy is not None:
            heart.add_policy(self.policy)

    def enroll(self, scenario: Scenario, tasks: list[tuple[str, Task, int | None]]) -> None:
        """Give the policy to tasks that are of the fair class otherwise.

        As by the tickets of Waldspurger's currencies, a guest's weight is divided among its tasks, in proportion to the
        weights of their nice values; tasks of native guests have no group, so each has a weight of its own.

        Parameters
        ----------
        scenario : Scenario
        tasks : list of (guest's name, Task, nice value)
            None as nice value for one of no guest's own (a vCPU, a back end), which counts as nice 0.
        """
        if self.policy is None:
            return
        weights = {guest.name: guest.cpu_weight for guest in scenario.guests}
        native = {guest.name for guest in scenario.guests if guest.stack == "native"}
        fair = [(guest, task, WEIGHT_OF_NICE[(nice or 0) + 20]) for guest, task, nice in tasks if task.policy is None]
        sums: dict[str, int] = {}
        for guest, _, weight in fair:
            sums[guest] = sums.get(guest, 0) + weight
        for guest, task, weight in fair:
            whole = NICE_0 if guest in native else sums[guest]
            share = weights.get(guest, USUAL_CPU_WEIGHT) * USUAL_SHARE * weight / (USUAL_CPU_WEIGHT * whole)
            task.policy = self.policy
            self.policy.enroll(task, max(1, round(share)))
