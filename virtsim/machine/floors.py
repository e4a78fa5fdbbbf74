"""The schedulers of virtual machines: a storey for each kernel on virtual CPUs, and what its vCPUs cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from virtsim.platform.costs import Costs
from virtsim.platform.expand import expand, price
from virtsim.platform.host import HostCard
from virtsim.platform.stack import Stack, load_stack
from virtsim.scenario.guest import VirtualMachine
from virtsim.scheduling.group import Group
from virtsim.scheduling.settings import Hypervisor, Kernel, SchedulingCosts
from virtsim.scheduling.storey import Storey
from virtsim.scheduling.vcpu import Vcpu
from virtsim.scheduling.weight import NICE_0_LOAD


def add_floors(
    ground: Storey,
    group: Group,
    name: str,
    vcpus: int,
    machine: VirtualMachine,
    kernels: list[Stack],
    card: HostCard,
    phases: list[int],
    admit: Callable[[Vcpu], None],
) -> list[Storey]:
    """Build a guest's kernels on the ground, each with as many CPUs as the guest has; the last one runs its tasks.

    Parameters
    ----------
    ground : Storey
        The host's scheduler.
    group : Group
        The guest's there: its limits hold for the vCPUs.
    name : str
        Its name.
    vcpus : int
        How many each of its kernels has.
    machine : VirtualMachine
        How they are run.
    kernels : list of Stack
        Each of its kernels with what is below it, bottom to top.
    card : HostCard
        The host.
    phases : list of int, ns
        Tick phase and seed of each kernel, in pairs.
    admit : callable
        Gives a vCPU to what schedules it on the host.
    """
    storeys: list[Storey] = []
    below, allowed, holder = ground, group.cpus, group
    for level, kernel in enumerate(kernels):
        costs = Costs(card, kernel)
        above = Storey(
            vcpus,
            _guest_kernel(ground.kernel, len(ground.cpus), vcpus),
            _guest_costs(costs, ground.costs),
            phases[2 * level],
            phases[2 * level + 1],
            tick_charge_ns=_more_than_native("timer_tick", kernel, card),
            timer_charge_ns=_more_than_native("interrupt", kernel, card),
        )
        hypervisor = Hypervisor(
            halt_ns=_halt_ns(costs, kernel),
            poll_ns=machine.halt_poll if _polls(kernel) else 0,
            spinning=machine.spinning,
        )
        for number in range(vcpus):
            cpus = allowed if level == 0 else frozenset({number})
            called = f"{name}/vcpu{number}" if level == 0 else f"{name}/level{level}.vcpu{number}"
            slice_ns = below.kernel.base_slice_ns
            vcpu = Vcpu(called, holder, NICE_0_LOAD, cpus, slice_ns, below, above, number, hypervisor)
            if level == 0:
                admit(vcpu)
            below.add_vcpu(vcpu)
        if machine.interrupt_vcpu is not None:
            above.interrupt_vcpu = machine.interrupt_vcpu
        storeys.append(above)
        below, holder = above, above.root
    return storeys


def _guest_kernel(kernel: Kernel, cpus: int, vcpus: int) -> Kernel:
    """The same kernel on another number of CPUs: its base slice grows with their logarithm.

    References
    ----------
    Linux ``kernel/sched/fair.c``, ``get_update_sysctl_factor``: 1 + ilog2(CPUs), of at most 8.
    """
    return replace(kernel, base_slice_ns=kernel.base_slice_ns * _factor(vcpus) // _factor(cpus))


def _factor(cpus: int) -> int:
    return min(cpus, 8).bit_length()


def _guest_costs(costs: Costs, host: SchedulingCosts) -> SchedulingCosts:
    """What the guest's scheduler costs; what being idle or away costs is the host's, and charged there."""
    return SchedulingCosts(
        switch_ns=costs.event_ns("context_switch"),
        wake_ns=costs.event_ns("wakeup"),
        wake_remote_ns=costs.event_ns("wakeup_remote"),
        preempt_remote_ns=host.preempt_remote_ns,
        timer_latency_ns=host.timer_latency_ns,
        migration_ns=host.migration_ns,
    )


def _halt_ns(costs: Costs, stack: Stack) -> int:
    """Leaving a guest that halts and entering it again, and setting its timer; the sleep itself is the host's.

    Where there is a call that does nothing, it is the exit alone; a translator's HLT holds its host's part, too.
    """
    software = _monitors(stack)[-1] in ("binary-translation", "emulator")
    return costs.event_ns("halt" if software else "vmcall") + costs.event_ns("timer_program")


def _more_than_native(event: str, stack: Stack, card: HostCard) -> int:
    """What an event costs more on a stack than on the bare machine, where its price is in that of computing, ns."""
    counts = dict(expand(event, stack.on_host(card)).totals)
    for primitive, count in expand(event, load_stack("native").on_host(card)).totals.items():
        counts[primitive] = counts.get(primitive, 0.0) - count
    return max(0, round(price({name: count for name, count in counts.items() if abs(count) > 1e-12}, card)))


def _polls(stack: Stack) -> bool:
    """Whether the monitor of the top kernel is KVM, or one that runs in its frame."""
    return _monitors(stack)[-1] in ("kvm", "pvm")


def _monitors(stack: Stack) -> list[str]:
    return [kind.name for kind in stack.kinds if kind.virtual_cpus]
