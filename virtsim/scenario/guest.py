"""Guests, the groups they may share, and how they are isolated."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from virtsim.core.errors import SpecError
from virtsim.core.spec import CpuMax, CpuSet, Duration, Size, Spec
from virtsim.workload.operations import CardName, Name
from virtsim.workload.workload import Workload

CpuWeight = Annotated[int, Meta(ge=1, le=10_000)]
Positive = Annotated[int, Meta(ge=1, le=2**31)]


class Limits(Spec, frozen=True, kw_only=True):
    """What a cgroup may bound; the names and the meaning are those of cgroup v2.

    Parameters
    ----------
    cpu_weight : int
        1 to 10000, 100 is usual; cgroup v1 gets ``shares = weight * 1024 / 100``.
    cpu_max : str, optional
        CPU bandwidth, quota/period: ``"30ms/100ms"``; or ``"30%"``, which is 30 ms in every 100 ms.
    cpu_burst : str or int, ns
        Unused quota that may be saved up.
    cpus : str, optional
        CPUs of the group (cpuset), as ``"0,2-3"``.
    memory_max : str or int, bytes, optional
        Memory limit; going over it is an out-of-memory kill.
    pids_max : int, optional
        Limit on processes.
    io_weight : int, optional
        1 to 10000, where the kernel has a weighted I/O controller.
    """

    cpu_weight: CpuWeight = 100
    cpu_max: CpuMax | None = None
    cpu_burst: Duration = Duration(0)
    cpus: CpuSet | None = None
    memory_max: Size | None = None
    pids_max: Positive | None = None
    io_weight: CpuWeight | None = None

    def _check(self) -> None:
        if self.cpu_burst and self.cpu_max is None:
            raise SpecError("cpu_burst", "a burst needs a cpu_max")
        if self.cpu_max is not None and self.cpu_burst > self.cpu_max.quota_ns:
            raise SpecError("cpu_burst", "a burst is at most the quota")
        if self.cpu_burst % 1000:
            raise SpecError("cpu_burst", "a burst is whole microseconds")
        if self.memory_max is not None and self.memory_max < 2**20:
            raise SpecError("memory_max", "must be at least 1MiB")

    @property
    def limited(self) -> bool:
        """Whether anything differs from what a group has by default."""
        return any(getattr(self, name) != default for name, default in _UNLIMITED.items())


_UNLIMITED = {
    "cpu_weight": 100,
    "cpu_max": None,
    "cpu_burst": 0,
    "cpus": None,
    "memory_max": None,
    "pids_max": None,
    "io_weight": None,
}


class Group(Limits, frozen=True):
    """A cgroup that holds guests or other groups (a pod, a tenant)."""

    name: Name
    parent: Name | None = None


class Isolation(Spec, frozen=True, kw_only=True):
    """How a container guest is set apart, beyond its own mount, pid, uts, ipc, net and cgroup namespaces.

    Parameters
    ----------
    user_namespace : bool
        Map the guest's root to an unprivileged user.
    time_namespace : bool
        Give the guest its own clocks' offsets.
    seccomp_rules : int
        Length of the seccomp filter, in compared system-call numbers; 0 is no filter.
    seccomp_arguments : bool
        Whether the filter reads arguments, so that the kernel cannot cache its verdict.
    rlimits : dict of str to int
        Soft limits by name (``nofile``, ``nproc``, ``stack``, ...); only lowered, never raised.
    """

    user_namespace: bool = False
    time_namespace: bool = False
    seccomp_rules: Annotated[int, Meta(ge=0, le=4000)] = 0
    seccomp_arguments: bool = False
    rlimits: dict[Annotated[str, Meta(pattern="^[a-z]{2,12}$")], Annotated[int, Meta(ge=0, le=2**62)]] = {}

    def _check(self) -> None:
        if self.seccomp_arguments and not self.seccomp_rules:
            raise SpecError("seccomp_arguments", "a filter that reads arguments needs seccomp_rules of at least 1")
        known = ("as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nofile", "nproc", "rss")
        for name in self.rlimits:
            if name not in (*known, "sigpending", "stack"):
                raise SpecError(f"rlimits.{name}", f"no such limit; known: {', '.join(known)}, sigpending, stack")


class VirtualMachine(Spec, frozen=True, kw_only=True):
    """How the virtual CPUs of a guest are run; for guests with ``vcpus``.

    Parameters
    ----------
    halt_poll : str or int, ns
        Longest time for which a halted vCPU polls for work before it blocks, on stacks with KVM; 0 for never.
    spinning : str
        What happens about a vCPU that spins for a ``spin_lock``: ``pv``, it halts after a while until it is given the
        lock (paravirtual spinlocks, as Linux guests have them on KVM and Xen); ``ple``, it exits after a while and
        its hypervisor lets a preempted sibling run (pause-loop exiting); ``plain``, nothing.
    scheduler : str, optional
        What schedules the vCPUs of all guests on the host: ``fair`` (Linux), ``credit``, ``credit2`` (Xen),
        ``bvt`` (Xen in 2003), ``gang`` (co-scheduling: all vCPUs of a guest at the same time). If absent,
        ``credit2`` on Xen and ``fair`` elsewhere. Xen's take ``cpu_weight`` as a weight (100 is their 256) and
        ``cpu_max`` as a cap.
    interrupt_vcpu : int, optional
        The virtual CPU to which all interrupts of devices go; that of the task that made the request if absent.
    """

    halt_poll: Duration = Duration(200_000)
    spinning: Literal["plain", "ple", "pv"] = "pv"
    scheduler: Literal["fair", "credit", "credit2", "bvt", "gang"] | None = None
    interrupt_vcpu: Annotated[int, Meta(ge=0, le=1023)] | None = None


class Guest(Limits, frozen=True):
    """What runs in one isolation unit: a container, a virtual machine, or plainly on the host.

    Parameters
    ----------
    name : str
        Letters, digits, ``_``, ``.``, ``-``; unique in the scenario.
    workload : Workload
        Its tasks.
    stack : str
        Name of a stack card (``native``, ``container``, ``xen-2003.vmware``), or the path of one that ends with
        ``.toml``.
    group : str, optional
        The group it lives in; directly in the run's own group if absent.
    isolation : Isolation
        For containers.
    vcpus : int, optional
        Virtual CPUs, for stacks with a hypervisor: the guest's kernel schedules its tasks on them, and the host
        schedules them as it does any task, with the guest's limits. ``cpus`` of the guest are where they may run,
        ``cpus`` of a task are numbers of vCPUs. If absent, the guest's tasks are the host's, as a container's are.
    machine : VirtualMachine
        How they are run.
    stack_parameters : dict of str to dict of str to float
        Other values for parameters of the stack's layers, by the layer's name or kind:
        ``{"virtio": {"ring": 64, "suppression": 0}}``.
    """

    name: Name
    workload: Workload
    stack: CardName = "container"
    group: Name | None = None
    isolation: Isolation = Isolation()
    vcpus: Annotated[int, Meta(ge=1, le=1024)] | None = None
    machine: VirtualMachine = VirtualMachine()
    stack_parameters: dict[Annotated[str, Meta(max_length=60)], dict[Annotated[str, Meta(max_length=60)], float]] = {}

    def _check(self) -> None:
        super()._check()
        if self.stack == "native" and self.limited:
            raise SpecError(
                "stack",
                "a native guest has no cgroup of its own to limit; put the limits on a group around it (as a change of "
                "the stack in a sweep does), or use stack 'container'",
            )
        if self.vcpus is None and self.machine != VirtualMachine():
            raise SpecError("machine", "says how virtual CPUs are run, but the guest has none; set vcpus")
        interrupt_vcpu = self.machine.interrupt_vcpu
        if interrupt_vcpu is not None and self.vcpus is not None and interrupt_vcpu >= self.vcpus:
            raise SpecError("machine.interrupt_vcpu", f"the guest's virtual CPUs are 0 to {self.vcpus - 1}")
        if self.stack == "native" and self.isolation != Isolation():
            raise SpecError("isolation", "a native guest is not isolated; use stack 'container'")
