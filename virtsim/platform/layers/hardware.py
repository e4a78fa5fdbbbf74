"""The bottom of every stack: each machine event is the primitive of the same name."""

from __future__ import annotations

from collections.abc import Iterable

from virtsim.platform.layers.base import LAYER_KINDS, LayerKind, Settings, Step, exact


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

LAYER_KINDS.register("hardware")(Hardware())
