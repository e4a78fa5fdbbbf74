"""Who schedules the vCPUs of a host's virtual machines: its kernel's fair class, or a hypervisor's own scheduler."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from virtsim.core.errors import SpecError
from virtsim.core.spec import CpuMax
from virtsim.platform.stack import Stack, stack_for
from virtsim.scenario.driver_domain import DriverDomain
from virtsim.scenario.guest import Guest
from virtsim.scheduling.policies.bvt import BorrowedVirtualTime, Borrower
from virtsim.scheduling.policies.credit import Credit, Domain
from virtsim.scheduling.policies.credit import Vcpu as CreditVcpu
from virtsim.scheduling.policies.credit2 import Credit2, Domain2, Vcpu2
from virtsim.scheduling.policies.gang import Gang, GangScheduling
from virtsim.scheduling.policy import Policy
from virtsim.scheduling.storey import Storey
from virtsim.scheduling.vcpu import Vcpu

#: A guest's weight if it says nothing, and Xen's weight of such a domain.
USUAL_CPU_WEIGHT, USUAL_WEIGHT = 100, 256
#: What schedules where a guest does not say: Xen's own scheduler since 4.12, or the host's fair class.
ON_XEN, ON_LINUX = "credit2", "fair"


class VcpuScheduling:
    """Gives vCPUs on a host to the scheduler that their guests ask for, one for all of them.

    Parameters
    ----------
    ground : Storey
        The host's scheduler.
    guests : sequence of Guest
        All of the scenario's.
    pool : frozenset of int
        CPUs that the scenario may use.
    driver_domain : DriverDomain
        The scenario's.

    Raises
    ------
    SpecError
        If two guests ask for different schedulers, or one asks for what its scheduler cannot do.
    """

    def __init__(
        self, ground: Storey, guests: Sequence[Guest], pool: frozenset[int], driver_domain: DriverDomain
    ) -> None:
        names = {number: scheduler_of(guest) for number, guest in enumerate(guests) if guest.vcpus is not None}
        first = next(iter(names.values()), ON_LINUX)
        for number, name in names.items():
            path = f"guests[{number}].machine.scheduler"
            if name != first:
                raise SpecError(path, f"{name!r}, but another guest's is {first!r}: a host has one for all vCPUs")
            if name != ON_LINUX:
                _check(guests[number], name, path, len(pool))
        if first == "gang" and driver_domain.replace(vcpus=1) != DriverDomain():
            raise SpecError("driver_domain", "'gang' has no weights and gives vCPUs their CPUs; leave them out")
        self.policy: Policy | None = None
        if first in ("credit", "gang"):
            self.policy = ground.add_policy((Credit if first == "credit" else GangScheduling)(pool=pool))
        elif first != ON_LINUX:
            self.policy = ground.add_policy((Credit2 if first == "credit2" else BorrowedVirtualTime)())

    def member(self, cpu_weight: int, cpu_max: CpuMax | None, vcpus: int) -> _Member:
        """A virtual machine to the scheduler, which its vCPUs are given to one by one."""
        return _Member(self.policy, cpu_weight, cpu_max, vcpus)


def scheduler_of(guest: Guest) -> str:
    """Name of the scheduler that a guest's vCPUs ask for."""
    if guest.machine.scheduler is not None:
        return guest.machine.scheduler
    return ON_XEN if on_xen(stack_for(guest)) else ON_LINUX


class _Member:
    """A virtual machine: what its vCPUs have in common."""

    def __init__(self, policy: Policy | None, cpu_weight: int, cpu_max: CpuMax | None, vcpus: int) -> None:
        self.policy = policy
        weight = max(1, round(cpu_weight * USUAL_WEIGHT / USUAL_CPU_WEIGHT))
        cap = 0 if cpu_max is None else max(1, round(100 * cpu_max.quota_ns / cpu_max.period_ns))
        self.shared: Any = None
        if isinstance(policy, Credit):
            self.shared = Domain(weight, cap)
        elif isinstance(policy, Credit2):
            self.shared = Domain2(weight, cap)
        elif isinstance(policy, GangScheduling):
            self.shared = Gang(vcpus)
        else:
            self.shared = weight

    def admit(self, vcpu: Vcpu) -> None:
        """Give a vCPU its policy; none in the fair class, where its group's limits hold."""
        vcpu.policy = self.policy
        if isinstance(self.policy, Credit):
            vcpu.policy_data = CreditVcpu(self.shared)
        elif isinstance(self.policy, Credit2):
            vcpu.policy_data = Vcpu2(self.shared)
        elif isinstance(self.policy, BorrowedVirtualTime):
            vcpu.policy_data = Borrower(self.shared)
        elif isinstance(self.policy, GangScheduling):
            vcpu.policy_data = self.shared


def on_xen(stack: Stack) -> bool:
    """Whether a hypervisor of its own is on the bare machine, and not a host's kernel."""
    return any(kind.name in ("xen", "hvm") for kind in stack.kinds[:2])


def _check(guest: Guest, name: str, path: str, cpus: int) -> None:
    """What the fair class does by cgroups, others do in their way or not at all."""
    if guest.group is not None:
        raise SpecError(path, f"{name!r} knows no groups; leave out group, or use 'fair'")
    if guest.cpu_burst:
        raise SpecError(path, f"{name!r} saves up no unused quota; leave out cpu_burst, or use 'fair'")
    if guest.cpu_max is not None and name in ("bvt", "gang"):
        raise SpecError(path, f"{name!r} has no caps; leave out cpu_max, or use 'fair', 'credit' or 'credit2'")
    if name != "gang":
        return
    if guest.cpu_weight != USUAL_CPU_WEIGHT:
        raise SpecError(path, "'gang' has no weights; leave out cpu_weight, or use another scheduler")
    if guest.cpus is not None:
        raise SpecError(path, "'gang' gives vCPUs their CPUs itself; leave out cpus, or use another scheduler")
    if guest.vcpus is not None and guest.vcpus > cpus:
        raise SpecError(path, f"{guest.vcpus} vCPUs cannot run at the same time on {cpus} CPUs; use another scheduler")
