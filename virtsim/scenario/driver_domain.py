"""The driver domain of a host with Xen."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from virtsim.core.spec import CpuSet, Spec
from virtsim.scenario.guest import CpuWeight


class DriverDomain(Spec, frozen=True, kw_only=True):
    """The virtual machine that has the host's devices, on stacks with split drivers; there is one for all guests.

    With guests that have ``vcpus`` it has virtual CPUs of its own, on which its kernel schedules a back end for each
    guest, and which the hypervisor schedules as any guest's. Otherwise it is one task that serves all guests.

    Parameters
    ----------
    cpu_weight : int
        1 to 10000, 100 is usual: its weight beside the guests'.
    vcpus : int
        Its virtual CPUs.
    cpus : str, optional
        CPUs that it may run on, as ``"0"``; all that the scenario may use if absent.
    """

    cpu_weight: CpuWeight = 100
    vcpus: Annotated[int, Meta(ge=1, le=1024)] = 1
    cpus: CpuSet | None = None
