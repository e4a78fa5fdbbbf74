"""The bottom of every stack: each machine event is the primitive of the same name.

A host that is itself a virtual machine has *virtual hardware*. What its kernel does there has the price that was
measured there, exits to the monitor below included: CPUID always exits, so its price is that of an exit to the outer
monitor and back. A monitor on such a host nests: each exit and each entry of its guests is an exit to the outer one,
which changes between this machine and its guest:

    vm_exit = vm_entry = cpuid + nested_switch

Where a host's card says that the host is virtual, every stack is put on virtual hardware
(:meth:`virtsim.platform.stack.Stack.on_host`), and the multiplication is again a result of the expansion.

Limits of validity: an exit counts what emulating CPUID takes, some tens of ns, as well. A TLB miss under a monitor has
the references of one two-dimensional walk, since the outer monitor merges two tables into one; the faults by which it
does that are left out.

References
----------
M. Ben-Yehuda et al., "The Turtles project", OSDI 2010, section 3.2. Linux, ``arch/x86/kvm/vmx/nested.c`` and
``arch/x86/kvm/svm/nested.c``. Intel SDM vol. 3C, 26.1.2 (CPUID exits unconditionally).
"""

from __future__ import annotations

from collections.abc import Iterable

from virtsim.platform.layers.base import LAYER_KINDS, LayerKind, Settings, Step, assumed, exact


class Hardware(LayerKind):
    """A machine. Events that are not primitives but consist of some are taken apart here."""

    name = "hardware"
    role = "hardware"
    provides = frozenset({"machine", "extensions", "vmcs-shadowing"})
    parameters = {
        "page_levels": exact(4, "levels", "x86-64, 4 KiB pages: Intel SDM vol. 3A, 4.5"),
    }

    def handle(self, event: str, size: int, settings: Settings) -> Iterable[Step] | None:
        """Only composite machine events have steps; primitives are spent by the expansion itself."""
        if event == "tlb_miss":
            return (Step("walk_reference", settings["page_levels"], note="one for each level of the page table"),)
        return COMPOSITES.get(event)


#: What machine events that are not primitives consist of on a bare machine.
COMPOSITES: dict[str, tuple[Step, ...]] = {
    "memory_access": (),
    "page_exception": (Step("exception"),),
    "pte_map": (Step("pte_write"),),
    "pte_unmap": (Step("pte_write"),),
    "pte_change": (Step("pte_write"),),
    "pte_protect": (Step("pte_copy"),),
    "pte_fill": (Step("pte_copy"),),
    "pte_clear": (Step("pte_copy"),),
    "page_table": (),
    "first_touch": (),
    "full_return": (),
    "new_code": (),
    "new_kernel_code": (),
    "kernel_call": (Step("call_return"),),
    "invalid_opcode": (Step("exception"),),
    "device_kick": (Step("mmio_access", note="doorbell"),),
    "device_more": (),
    "device_receive": (),
    "device_interrupt": (Step("interrupt"),),
}


class VirtualHardware(Hardware):
    """A machine that an outer monitor offers; the prices of its instructions are those measured on it."""

    name = "virtual-hardware"
    parameters = {
        **Hardware.parameters,
        "vmcs_shadowing": assumed(
            1, "switch", "control blocks are in memory (AMD) or shadowed by the processor (Intel since 2013)"
        ),
    }

    def handle(self, event: str, size: int, settings: Settings) -> Iterable[Step] | None:
        """What only guests' monitors do, and exceptions that the outer monitor looks at; the rest as measured."""
        if event in ("vm_exit", "vm_entry"):
            return (
                Step("cpuid", note="to the outer monitor and back, which CPUID takes here"),
                Step("nested_switch", note="the outer monitor changes between this machine and its guest"),
            )
        if event in ("vmcs_read", "vmcs_write") and not settings.on("vmcs_shadowing"):
            return (Step("cpuid", note="an exit to the outer monitor"), Step("vmcs_emulate"))
        if event == "invalid_opcode":
            return (
                Step("cpuid", note="the outer monitor looks at each, as KVM does"),
                Step("exception_reflect"),
                Step("exception"),
            )
        return super().handle(event, size, settings)


LAYER_KINDS.register("hardware")(Hardware())
LAYER_KINDS.register("virtual-hardware")(VirtualHardware())
