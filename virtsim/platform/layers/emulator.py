"""Emulation by dynamic binary translation with a software MMU (QEMU's TCG): no hardware help at all.

Every instruction of the guest, user or kernel, is executed as translated host code; loads and stores go
through a software TLB. Cost is therefore a factor on the native cost, different for each class of work,
and sensitive instructions need no trap: they are calls in the emulator.

    cost = factor[class] * native cost        (user code, memory, kernel code, system calls, exceptions)

One factor for everything would be wrong by two orders of magnitude: CPUID costs less than natively in a
virtual machine, copying with vector instructions a hundred times more.

A load or store looks its address up in the software TLB (``lookup_calls``, in time of calls that return); that is in
the factors, but for programs that say how they use memory (a TLB profile), whose accesses are counted. Where the
lookup fails the emulator walks the guest's page table in software:

    miss = n entries read + refill_calls * call_return, as often as ``refills``, + the host's own miss on the same page

The software TLB has no address-space identifiers and one way, but grows to what a program uses (QEMU 4.0 and later):
it may miss more or less often than the hardware's.

Limits of validity: ``memory_factor`` was measured with the misses of its chase, so writes beyond the TLB (``touch``)
count their refills twice, which is a fifth of them at most. ``compute_factor`` is of integers in registers: dependent
floating-point arithmetic took 9.4 times its native time where integers took 1.37, and copies by vector instructions are
worse; set it for such programs.

References
----------
F. Bellard, "QEMU, a fast and portable dynamic translator", USENIX ATC 2005, section 5 (integer code 4 times
slower in user mode, 2 more for the soft MMU). The defaults are measured on QEMU 7.2, x86-64 on x86-64.
X. Tong, QEMU commit 88e89a57 ("implementing victim TLB for QEMU system emulated TLB"), 2014, and qemu-devel, December
2013: 450 host instructions for a miss with a walk of four levels, 10 for a lookup, counted by Intel PIN.
X. Tong et al., "Optimizing memory translation emulation in full system emulators", ACM TACO 11(4), 2015 (38.1 % of
the time of emulation goes into memory; not used here).
QEMU 8.2, ``accel/tcg/cputlb.c`` (``tlb_mmu_resize_locked``), ``target/i386/tcg/sysemu/excp_helper.c``
(``mmu_translate``).
"""

from __future__ import annotations

from collections.abc import Iterable

from virtsim.core.parameter import Parameter
from virtsim.platform.layers.base import LAYER_KINDS, LayerKind, Settings, Step, assumed, exact
from virtsim.platform.primitives import PRIMITIVES


def _measured(value: float, low: float, high: float, what: str) -> Parameter:
    source = f"measured: {what}, guest Linux 6.1 on QEMU 7.2 TCG over native Linux 6.18"
    return Parameter(value=value, unit="1", low=low, high=high, source=source, date="2026")


#: Host instructions in the time of a call that returns; assumed, 450 then take 70 ns where a call takes 1.4.
_INSTRUCTIONS_A_CALL = 9


def _instructions(count: int, low: float, high: float, unit: str, what: str) -> Parameter:
    source = f"{count} instructions for {what} (QEMU commit 88e89a57 and qemu-devel, December 2013), "
    source += f"{_INSTRUCTIONS_A_CALL} of them in the time of a call (assumed)"
    value = count / _INSTRUCTIONS_A_CALL
    return Parameter(value=value, unit=unit, low=low, high=high, source=source, date="2014", status="assumed")


#: Factor that applies to each machine event that is not user code, by the event's name or its group.
_FACTOR = {
    "mode_switch": "call_factor",
    "root_switch": "call_factor",
    "address_space_switch": "switch_factor",
    "exception": "fault_factor",
    "page_exception": "fault_factor",
    "interrupt": "fault_factor",
    "pte_map": "fault_factor",
    "pte_unmap": "fault_factor",
    "pte_change": "fault_factor",
    "pte_protect": "kernel_factor",
    "pte_fill": "kernel_factor",
    "pte_clear": "kernel_factor",
    "tlb_flush": "switch_factor",
    "kernel_call": "compute_factor",
}
_INTERNAL = {
    "cpuid",
    "msr_access",
    "cr_write",
    "interrupt_flag",
    "rdtsc",
    "full_return",
    "vm_entry",
    "vm_exit",
    "vmcs_read",
    "vmcs_write",
}


class Emulator(LayerKind):
    """QEMU without acceleration."""

    name = "emulator"
    virtual_cpus = True
    role = "machine"
    needs = frozenset({"linux"})
    provides = frozenset({"machine", "extensions"})
    parameters = {
        "compute_factor": _measured(1.37, 1.37, 1.41, "dependent integer arithmetic"),
        "memory_factor": _measured(5.3, 4.6, 5.8, "pointer chase through 32 MiB"),
        "call_factor": _measured(3.48, 3.4, 3.6, "null system call"),
        "kernel_factor": _measured(
            10.0, 4.5, 15.0, "futex 4.5, read 6, open and close 9, exec 9, stat 14, fork 14, signal 15"
        ),
        "fault_factor": _measured(10.6, 9.9, 11.0, "minor page fault"),
        "switch_factor": _measured(20.0, 17.0, 22.0, "ping-pong through a pipe"),
        "internal_calls": Parameter(
            value=7.0, unit="1", low=5.0, high=12.0, source="measured: CPUID in 10 ns", date="2026"
        ),
        "lookup_calls": _instructions(10, 0.5, 2.0, "1/access", "a lookup"),
        "refill_calls": _instructions(450, 25.0, 150.0, "1/miss", "a miss with a walk of four levels"),
        "guest_levels": exact(4, "levels", "x86-64, 4 KiB pages"),
        "refills": assumed(1.0, "1/miss", "the software TLB misses as often as the hardware's", low=0.3, high=3.0),
    }

    def handle(self, event: str, size: int, settings: Settings) -> Iterable[Step] | None:
        """Everything is translated: factors on native cost, calls in the emulator for sensitive instructions."""
        if event in _INTERNAL:
            return (Step("call_return", settings["internal_calls"], note="a function of the emulator"),)
        if event in _FACTOR:
            return (Step(event, settings[_FACTOR[event]], note="emulated"),)
        if event in ("new_code", "new_kernel_code"):
            return (Step("translate_instruction"),)
        if event in ("port_io", "mmio_access", "doorbell"):
            return (Step("device_model"),)
        if event == "first_touch":
            return (Step("call_return", settings["refill_calls"], note="fill of the software TLB"),)
        if event == "memory_access":
            return (Step("call_return", settings["lookup_calls"], note="lookup in the software TLB"),)
        if event == "tlb_miss":
            return _refill(settings)
        if event in ("timer_program", "ipi_send", "halt"):
            return (Step("null", 1, note="the emulator's system call"),)
        primitive = PRIMITIVES.get(event)
        group = primitive.group if primitive is not None else ""
        factor = {"kernel": "kernel_factor", "memory": "memory_factor", "container": "kernel_factor"}.get(group)
        if event in ("compute", "runner_step", "call_return", "atomic", "clock_read"):
            factor = "compute_factor"
        return None if factor is None else (Step(event, settings[factor], note="translated code"),)


def _refill(settings: Settings) -> Iterable[Step]:
    refills = settings["refills"]
    return (
        Step("walk_reference", refills * settings["guest_levels"], note="the guest's page table, read by the emulator"),
        Step("call_return", refills * settings["refill_calls"], note="fill of the software TLB"),
        Step("tlb_miss", 1, note="the host's own, on the same page"),
    )


LAYER_KINDS.register("emulator")(Emulator())
