"""Popek and Goldberg's classes, the sensitive instructions of x86, and how each technique gets hold of them.

A machine can be virtualized by trap and emulation alone if every *sensitive* instruction is *privileged*, that
is, traps in user mode. x86 has sensitive instructions that do not trap; hence the techniques.

References
----------
G. J. Popek, R. P. Goldberg, "Formal requirements for virtualizable third generation architectures",
Communications of the ACM 17(7), 1974 (the classes and theorem 1). J. S. Robin, C. E. Irvine, "Analysis of the
Intel Pentium's ability to support a secure virtual machine monitor", USENIX Security 2000 (the unprivileged
sensitive instructions).
"""

from __future__ import annotations

from typing import NamedTuple

from virtsim.platform.expand import expand
from virtsim.platform.stack import Stack

CLASSES: dict[str, str] = {
    "privileged": "Traps in user mode, does not trap in supervisor mode.",
    "control-sensitive": "Changes the resources of the machine, its mode, or where memory lies, without a trap.",
    "location-sensitive": "Its result depends on where in real memory the program lies.",
    "mode-sensitive": "Its result depends on the mode of the processor.",
    "configuration-sensitive": "Its result tells what machine it is (not a class of the paper of 1974).",
    "innocuous": "Neither control- nor behaviour-sensitive.",
}


class Instruction(NamedTuple):
    """One sensitive instruction, or several alike.

    Attributes
    ----------
    name : str
        Mnemonic.
    privileged : bool
        Whether it traps in user mode.
    kind : str
        A key of :data:`CLASSES`.
    event : str
        The machine event that stands for it in this model; empty if none does.
    meaning : str
        What makes it sensitive.
    """

    name: str
    privileged: bool
    kind: str
    event: str
    meaning: str


#: Sensitive instructions of 32- and 64-bit x86.
INSTRUCTIONS: tuple[Instruction, ...] = (
    Instruction("MOV to CR0, CR4; CLTS; LMSW", True, "control-sensitive", "cr_write", "modes of the processor"),
    Instruction("MOV to CR3", True, "control-sensitive", "address_space_switch", "root of the page tables"),
    Instruction("MOV to and from DR", True, "control-sensitive", "", "debug registers"),
    Instruction("INVLPG", True, "control-sensitive", "tlb_flush", "translations"),
    Instruction("LGDT, LIDT, LLDT, LTR", True, "control-sensitive", "", "descriptor tables and task register"),
    Instruction("RDMSR, WRMSR", True, "control-sensitive", "msr_access", "model-specific registers"),
    Instruction(
        "WRMSR of the timer's deadline", True, "control-sensitive", "timer_program", "the next timer interrupt"
    ),
    Instruction("WRMSR of the interrupt command", True, "control-sensitive", "ipi_send", "signal to another processor"),
    Instruction("IN, OUT, INS, OUTS", True, "control-sensitive", "port_io", "devices; trap unless IOPL allows them"),
    Instruction("MOV to a device's memory", False, "control-sensitive", "mmio_access", "devices; caught by its page"),
    Instruction("HLT", True, "control-sensitive", "halt", "stops the processor"),
    Instruction("CLI, STI", True, "control-sensitive", "interrupt_flag", "interrupts; trap unless IOPL allows them"),
    Instruction("write to a page table", False, "control-sensitive", "pte_change", "where memory lies"),
    Instruction("SYSCALL, SYSENTER", False, "control-sensitive", "mode_switch", "enters the kernel"),
    Instruction("INT n", False, "control-sensitive", "mode_switch", "enters the kernel by a gate of the real table"),
    Instruction("SYSRET, SYSEXIT", True, "control-sensitive", "", "leaves the kernel; counted with the entry"),
    Instruction(
        "IRET", False, "mode-sensitive", "full_return", "restores privilege and interrupt flag only if privileged"
    ),
    Instruction("POPF", False, "mode-sensitive", "interrupt_flag", "drops the interrupt flag silently in user mode"),
    Instruction("PUSHF", False, "mode-sensitive", "interrupt_flag", "shows the real interrupt flag"),
    Instruction("SGDT, SIDT, SLDT, STR", False, "location-sensitive", "", "show the real tables and task"),
    Instruction("SMSW", False, "mode-sensitive", "", "shows the real machine status word"),
    Instruction("LAR, LSL, VERR, VERW", False, "mode-sensitive", "", "depend on the current privilege"),
    Instruction("PUSH and MOV from CS, SS", False, "mode-sensitive", "", "show the current privilege"),
    Instruction("POP and MOV to segment", False, "mode-sensitive", "", "loads depend on the current privilege"),
    Instruction("far CALL, JMP, RET", False, "mode-sensitive", "", "gates depend on the current privilege"),
    Instruction("CPUID", False, "configuration-sensitive", "cpuid", "tells the features of the real processor"),
    Instruction("RDTSC", False, "configuration-sensitive", "rdtsc", "tells the time of the real machine"),
    Instruction(
        "VMREAD, VMWRITE", True, "control-sensitive", "vmcs_read", "control block of a guest, by a guest's monitor"
    ),
    Instruction(
        "VMLAUNCH, VMRESUME", True, "control-sensitive", "vm_entry", "entry into a guest, by a guest's monitor"
    ),
)

#: Techniques by the stack card whose guest kernel they serve.
TECHNIQUES: dict[str, str] = {
    "hosted-bt": "binary translation",
    "kvm-shadow": "hardware assistance, shadow paging",
    "kvm": "hardware assistance, nested paging",
    "xen-pv": "paravirtualization",
    "pvm": "software switcher",
    "tcg": "emulation",
    "uml": "traced host process",
}

#: What a primitive that is spent tells about how the instruction was caught, the first that applies.
_SIGNS: tuple[tuple[str, str], ...] = (
    ("vm_exit", "exit"),
    ("pvm_switch", "trap to the switcher"),
    ("pvm_direct", "direct switch"),
    ("hypercall", "hypercall"),
    ("pv_bounce", "bounced by the hypervisor"),
    ("bt_callout", "call-out"),
    ("bt_inline", "replaced in the code cache"),
    ("bt_system_call", "translated entry"),
    ("bt_pte_change", "adapted in the code cache"),
    ("bt_address_switch", "call-out to the software MMU"),
    ("ptrace_stop", "stops the traced process"),
    ("host_map", "host call (mapping)"),
    ("host_switch", "switch of host processes"),
    ("instruction_emulate", "fault, emulated"),
    ("shadow_sync", "caught late, at the next flush"),
)


_EXTENSIONS = {"vmcs_read", "vmcs_write", "vm_entry", "vm_exit"}

#: Instructions without an event: how each technique gets hold of privileged ones, and of others.
_UNPRICED: dict[str, tuple[str, str]] = {
    "hosted-bt": ("call-out", "replaced in the code cache"),
    "kvm-shadow": ("runs directly", "runs directly"),
    "kvm": ("runs directly", "runs directly"),
    "xen-pv": ("hypercall", "runs directly"),
    "pvm": ("trap to the switcher", "runs directly"),
    "tcg": ("function of the emulator", "function of the emulator"),
    "uml": ("not used by this kernel", "not used by this kernel"),
}


def how(instruction: Instruction, stack: Stack) -> str:
    """How a stack of :data:`TECHNIQUES` gets hold of an instruction of its guest's kernel, in a few words.

    Derived from the expansion of the instruction's event; from a table for those that have none.
    """
    if instruction.event in _EXTENSIONS and "extensions" not in stack.offered:
        return "not offered to guests"
    if not instruction.event:
        return _UNPRICED[stack.name][not instruction.privileged]
    totals = expand(instruction.event, stack).totals
    for primitive, words in _SIGNS:
        if primitive in totals:
            return words
    kinds = {kind.name for kind in stack.kinds}
    if "emulator" in kinds:
        if "call_return" in totals or "device_model" in totals:
            return "function of the emulator"
        return "host call" if "mode_switch" in totals and instruction.event not in totals else "translated"
    if "uml" in kinds:
        return "host call" if "mode_switch" in totals else "not used by this kernel"
    return "kept in shared memory" if "atomic" in totals else "runs directly"


def virtualizable(instructions: tuple[Instruction, ...] = INSTRUCTIONS) -> bool:
    """Popek and Goldberg's condition: every sensitive instruction is privileged."""
    return all(i.privileged for i in instructions if i.kind not in ("innocuous", "configuration-sensitive"))
