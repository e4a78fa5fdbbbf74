"""Paravirtualization: a hypervisor with hypercalls and direct page tables, for kernels ported to it.

The guest's kernel asks instead of trapping. Page tables are the guest's own, used by the hardware
directly, and read-only to it: each change is validated by the hypervisor, single changes by a hypercall
each, bulk changes in batches:

    single change = hypercall + pv_update + pv_validate + pte_write
    bulk change   = hypercall / batch + pv_validate + pte_copy

A page that begins or ends to be a page table is pinned. Exceptions enter the hypervisor, which bounces
them to the guest's kernel; system calls are bounced too, or enter the kernel directly by a fast trap
(``direct_calls``: 32-bit, where segments protect the hypervisor). Several hypercalls can be issued as one
(``switch_hypercalls`` counts what an address-space switch needs after that). There are no hidden faults, since
nothing is shadowed.

Limits of validity: validation has one price whatever the state of the page.

References
----------
P. Barham et al., "Xen and the art of virtualization", SOSP 2003, sections 3.2, 3.3 and 4.2.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from virtsim.platform.layers.base import LAYER_KINDS, LayerKind, Settings, Step, assumed, exact, published

_BULK = {"pte_protect", "pte_fill", "pte_clear"}
_SINGLE = {"pte_map", "pte_unmap", "pte_change"}

_RULES: dict[str, tuple[Step, ...]] = {
    "exception": (Step("exception"), Step("pv_bounce")),
    "page_exception": (Step("page_exception"), Step("pv_bounce", note="handed to the guest's kernel")),
    "tlb_flush": (Step("hypercall"), Step("tlb_flush")),
    "cr_write": (Step("hypercall"), Step("cr_write")),
    "msr_access": (Step("exception"), Step("instruction_emulate")),
    "cpuid": (Step("exception"), Step("instruction_emulate")),
    "vmcall": (Step("hypercall"),),
    "port_io": (Step("hypercall"), Step("port_io")),
    "interrupt_flag": (Step("atomic", note="a flag in shared memory"),),
    "halt": (Step("hypercall"), Step("vcpu_switch"), Step("halt", note="the hypervisor's own idle loop")),
    "timer_program": (Step("hypercall"), Step("timer_program")),
    "ipi_send": (Step("hypercall"), Step("event_channel"), Step("ipi_send")),
    "doorbell": (Step("hypercall"), Step("event_channel")),
    "interrupt": (Step("interrupt"), Step("event_channel", note="delivered as an event")),
    "page_table": (Step("hypercall", 2, note="pin, and unpin"), Step("pv_pin", 2)),
}


class Xen(LayerKind):
    """A bare-metal hypervisor for ported kernels."""

    name = "xen"
    virtual_cpus = True
    role = "machine"
    needs = frozenset({"machine"})
    provides = frozenset({"hypercalls"})
    least: ClassVar = {"batch": 1.0}
    parameters = {
        "direct_calls": exact(1, "switch", "a property of the stack: 1 on 32-bit x86, 0 on x86-64"),
        "batch": published(
            2048,
            "1/hypercall",
            "up to 2048 updates a hypercall at a fork: Barham et al., 2003, section 4.2",
            "2003",
            1,
            2048,
        ),
        "switch_hypercalls": assumed(2, "1/switch", "new page-table root and new kernel stack"),
    }

    def handle(self, event: str, size: int, settings: Settings) -> Iterable[Step] | None:
        """Hypercalls for what the kernel may not do, a bounce for what the hypervisor gets first."""
        if event in _RULES:
            return _RULES[event]
        if event in _SINGLE:
            return (Step("hypercall"), Step("pv_update"), Step("pv_validate"), Step(event))
        if event in _BULK:
            return (Step("hypercall", 1 / settings["batch"], note="a batch"), Step("pv_validate"), Step(event))
        if event == "address_space_switch":
            return (Step("hypercall", settings["switch_hypercalls"]), Step("address_space_switch"))
        if event == "root_switch":
            return ()
        if event == "mode_switch" and not settings.on("direct_calls"):
            return (Step("mode_switch"), Step("pv_bounce", note="by way of the hypervisor"))
        return None


LAYER_KINDS.register("xen")(Xen())
