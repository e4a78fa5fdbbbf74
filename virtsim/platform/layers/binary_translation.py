"""Full virtualization by binary translation: user code runs directly, kernel code from a translation cache.

Privileged instructions are replaced: in the cache (``bt_inline``) where they are simple, by a call-out
(``bt_callout``) where they are not; adaptation replaces writes to page tables that would trap by small
programs (``bt_pte_*``); without it (``adaptive``) each such write traps and is emulated first. What cannot be
removed: a system call takes two extra changes of privilege (``bt_system_call``), an exception goes by way of the
monitor (``bt_fault``), the software MMU interposes on page faults (``bt_page_fault``) and pages first used in a new
address space cause hidden faults, and kernel code runs slower because indirect branches and returns look up the
cache (``bt_indirect``, in a ``kernel_call``):

    kernel work = kernel_slowdown * native kernel work

Translation itself costs ``translate_instruction`` for each kernel instruction executed for the first time;
new user code costs nothing. Afterwards its translation is kept, unless the cache is smaller (``cache_instructions``)
than the kernel code that the guest uses over and over (``code_instructions``): a kernel that uses all of it alike then
finds part of its path gone, whichever part was evicted, and has it translated again:

    retranslated, for each call, exception or interrupt = (1 - cache / code) * entry_instructions

Devices are modelled in the monitor (a call-out) or, for the share ``device_in_host``, by the host that the monitor
runs on: the layer below gets a ``device_access``.

Limits of validity: one slow-down for all kernel code, though it depends on how often code returns. A bounded cache is
replaced at random, a piece at a time (one that is flushed as a whole when full, or whose code is used in rounds, loses
more; one whose code has a hot part, less), and long calls (fork, exec) count as one path. No monitor's capacity is
published: it is unbounded unless a card or a guest says so.

References
----------
K. Adams, O. Agesen, ASPLOS 2006, sections 3, 6.3 and raw data.
K. Hazelwood, M. D. Smith, "Code cache management schemes for dynamic optimizers", INTERACT-6, 2002 (bounded caches).
"""

from __future__ import annotations

from collections.abc import Iterable

from virtsim.platform.layers.base import LAYER_KINDS, LayerKind, Settings, Step, assumed, exact, published
from virtsim.platform.primitives import PRIMITIVES

_RULES: dict[str, tuple[Step, ...]] = {
    "mode_switch": (Step("mode_switch"), Step("bt_system_call", note="two extra changes of privilege")),
    "exception": (Step("exception"), Step("bt_fault")),
    "page_exception": (Step("page_exception"), Step("bt_page_fault", note="software MMU")),
    "first_touch": (Step("page_exception"), Step("bt_page_fault", note="hidden fault")),
    "pte_map": (Step("bt_pte_map", note="adapted: no trap"),),
    "pte_unmap": (Step("bt_pte_unmap", note="adapted: no trap"),),
    "pte_change": (Step("bt_pte_change", note="adapted: no trap"),),
    "pte_protect": (Step("bt_pte_change", note="adapted: no trap"),),
    "pte_clear": (Step("bt_pte_unmap", note="adapted: no trap"),),
    "address_space_switch": (Step("address_space_switch"), Step("bt_address_switch")),
    "root_switch": (Step("bt_address_switch"),),
    "tlb_flush": (Step("bt_callout"), Step("tlb_flush")),
    "cpuid": (Step("bt_callout"),),
    "msr_access": (Step("bt_callout"),),
    "cr_write": (Step("bt_inline"),),
    "rdtsc": (Step("rdtsc"), Step("bt_inline", note="the machine's time and an offset")),
    "interrupt_flag": (Step("bt_inline"),),
    "full_return": (Step("bt_callout", note="IRET"),),
    "timer_program": (Step("bt_callout"),),
    "ipi_send": (Step("bt_callout"), Step("ipi_send")),
    "halt": (Step("bt_callout"), Step("host_wait")),
    "interrupt": (Step("host_interrupt"), Step("event_inject")),
    "kernel_call": (Step("kernel_call"), Step("bt_indirect", note="the return is looked up")),
    "new_kernel_code": (Step("translate_instruction"),),
}


#: Writes to page tables in use, which the software MMU has made read-only.
_TRACED = frozenset({"pte_map", "pte_unmap", "pte_change", "pte_protect", "pte_clear"})

#: Where a kernel's path begins.
_ENTRIES = frozenset({"mode_switch", "exception", "page_exception", "interrupt"})


class BinaryTranslation(LayerKind):
    """A translating monitor, on a host (hosted) or on a bare-metal kernel of its own."""

    name = "binary-translation"
    virtual_cpus = True
    role = "machine"
    needs = frozenset({"monitor-host"})
    provides = frozenset({"machine"})
    parameters = {
        "adaptive": exact(1, "switch", "code whose writes to page tables have trapped is replaced"),
        "kernel_slowdown": assumed(1.5, "1", "returns cost 51 instead of 11 cycles; one every few dozen instructions"),
        "device_in_host": published(
            0.5,
            "1",
            "2 of 5 accesses to the address port stay inside: Sugerman et al., 2001, section 3.2",
            "2001",
            0.2,
            1.0,
        ),
        "cache_instructions": exact(
            0, "instructions", "guest instructions that the cache holds; 0: as many as there are"
        ),
        "code_instructions": exact(0, "instructions", "of the guest's kernel in use, for a bounded cache: the guest's"),
        "entry_instructions": assumed(2000, "1/entry", "a kernel's path from its entry to its return"),
    }

    def handle(self, event: str, size: int, settings: Settings) -> Iterable[Step] | None:
        """Sensitive instructions are replaced; kernel work runs translated; user work runs directly."""
        if event in _TRACED and not settings.on("adaptive"):
            return (Step("exception", note="traced write"), Step("instruction_emulate"), *_RULES[event])
        if event in _RULES:
            return (*_RULES[event], *(_retranslated(settings) if event in _ENTRIES else ()))
        if event in ("port_io", "mmio_access", "doorbell"):
            outside = settings["device_in_host"]
            steps = (Step("bt_callout"), Step("device_access", outside))
            return [step for step in steps if step.times]
        primitive = PRIMITIVES.get(event)
        if primitive is not None and primitive.group == "kernel":
            return (Step(event, settings["kernel_slowdown"], note="translated kernel code"),)
        return None


def _retranslated(settings: Settings) -> Iterable[Step]:
    """What of a kernel's path has to be translated again, because the cache cannot hold all that is in use."""
    cache, code = settings["cache_instructions"], settings["code_instructions"]
    if not 0 < cache < code:
        return
    share = 1 - cache / code
    note = f"again: the cache holds {cache / code:.3g} of the code in use"
    yield Step("translate_instruction", share * settings["entry_instructions"], note=note)


LAYER_KINDS.register("binary-translation")(BinaryTranslation())
