"""Hardware-assisted full virtualization: VT-x or AMD-V, with shadow or nested paging, itself nestable.

What the monitor must get hold of ends in an exit:

    exit = vm_exit + r * vmcs_read + w * vmcs_write + exit_dispatch + work + vm_entry

The instructions of which an exit consists are themselves machine events, issued to the machine that the
monitor runs on. If that machine is virtual, the monitor below gets hold of them in turn: it emulates the
accesses to the control block (unless the hardware shadows it) and reflects exits and entries. The
multiplication of exits under nesting is therefore a result of the expansion, not an input.

Memory: with *nested paging* a TLB miss walks two dimensions, ``n*m + n + m`` references for ``n`` guest and
``m`` host levels; page faults and page-table writes of the guest are its own business. With *shadow
paging* every page fault exits; writes to page tables in use are traced (each exits) or, untraced, are
brought up to date later (an entry made present by a hidden fault at its first use); address-space switches
exit; pages used first in a new address space cause hidden faults. Only the lowest level of the guest's tables may
be out of step with its shadow: a page table that comes or goes is a trapped write to the level above, and the
first writes to a page that no longer is one trap as well. A doorbell in memory, which nested paging knows by the
address that its table marks, is a page fault whose instruction has to be decoded.

Limits of validity: exits have a mean cost a class; pollution of caches by the monitor is in the measured
prices, and grows under nesting only by ``handler_slowdown``.

References
----------
K. Adams, O. Agesen, "A comparison of software and hardware techniques for x86 virtualization", ASPLOS 2006.
Linux, ``Documentation/virtual/kvm/mmu.txt`` (unsynchronised pages), ``detect_write_flooding``, and
``handle_ept_misconfig`` (doorbells).
M. Ben-Yehuda et al., "The Turtles project", OSDI 2010, sections 3.2, 3.3 and 4.3.
R. Bhargava et al., "Accelerating two-dimensional page walks for virtualized systems", ASPLOS 2008, section 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from virtsim.platform.layers.base import LAYER_KINDS, LayerKind, Settings, Step, assumed, exact, published, without

_SWITCH = "a property of the stack"

#: Work of the monitor on what always exits, besides the exit itself.
_ALWAYS: dict[str, tuple[Step, ...]] = {
    "cpuid": (Step("instruction_emulate"),),
    "cr_write": (Step("instruction_emulate"),),
    "vmcall": (),
}

#: Work on writes to page tables under shadow paging, where they are traced.
_TRACED = {
    "pte_map": "shadow_map",
    "pte_unmap": "shadow_unmap",
    "pte_change": "shadow_change",
    "pte_protect": "shadow_change",
    "pte_clear": "shadow_unmap",
}


#: An instruction is fetched from the guest and taken apart to find out what it does.
DECODE = Step("exception_reflect", note="decode")

#: Writes that a kernel does many of in one go.
_BULK = {"pte_protect", "pte_clear"}


class HardwareAssisted(LayerKind):
    """A monitor that uses the processor's extensions, in Linux (KVM) or on the bare machine."""

    virtual_cpus = True
    role = "machine"
    parameters = {
        "nested_paging": exact(1, "switch", _SWITCH),
        "traced": exact(0, "switch", "whether shadow paging traces each write (VMware) or synchronises late (KVM)"),
        "apicv": exact(1, "switch", "virtual interrupt controller: no exits for end of interrupt and self-signals"),
        "posted_interrupts": exact(0, "switch", "devices' and other processors' interrupts reach a running guest"),
        "vmcs_shadowing": exact(1, "switch", "a guest's monitor reads and writes its control block without exits"),
        "halt_exits": exact(1, "switch", "whether HLT is given to the monitor"),
        "doorbell_in_kernel": exact(1, "switch", "doorbells of paravirtual devices end in the kernel (ioeventfd)"),
        "guest_levels": exact(4, "levels", "x86-64, 4 KiB pages"),
        "host_levels": exact(4, "levels", "x86-64, 4 KiB pages"),
        "walk_reference_share": published(
            0.69,
            "1",
            "mean latency of a two-dimensional walk over a native one (4.16) over the ratio of references (6): "
            "Bhargava et al., ASPLOS 2008, table 1",
            "2008",
            0.65,
            0.76,
        ),
        "vmcs_reads": assumed(0, "1/exit", "contained in exit_dispatch unless the card separates them"),
        "vmcs_writes": assumed(0, "1/exit", "contained in exit_dispatch unless the card separates them"),
        "handler_slowdown": exact(1, "1", "a monitor on the bare machine"),
        "register_slowdown": exact(1, "1", "a monitor on the bare machine: emulating a register"),
        "other_exits": assumed(
            0, "1/exit", "privileged instructions of the monitor in an exit, contained in exit_dispatch"
        ),
        "reuse_writes": assumed(
            2,
            "1/page",
            "trapped writes until a page counts as reused: 3 to levels above the lowest (detect_write_flooding, Linux "
            "arch/x86/kvm/mmu.c), 1 to the lowest",
        ),
        "userspace_msrs": assumed(0, "1/exit", "contained in userspace_exit unless the card separates them"),
        "userspace_vmcs": assumed(0, "1/exit", "contained in userspace_exit unless the card separates them"),
        "msr_exits": exact(1, "switch", _SWITCH),
        "timer_exits": exact(1, "switch", "whether setting the timer exits"),
    }

    def provides_of(self, settings: Settings, below: frozenset[str]) -> frozenset[str]:
        """A machine, hypercalls, and, if it has them itself, the extensions."""
        return frozenset({"machine", "hypercalls"}) | (below & {"extensions", "vmcs-shadowing"})

    def handle(self, event: str, size: int, settings: Settings) -> Iterable[Step] | None:
        """Exits for what must be got hold of; everything else runs directly."""
        if event in _ALWAYS:
            return self.exit(settings, *_ALWAYS[event])
        handler = getattr(self, f"_on_{event}", None)
        if handler is not None:
            steps: Iterable[Step] | None = handler(size, settings)
            return steps
        return None if settings.on("nested_paging") else self._shadowed(event, settings)

    def exit(self, settings: Settings, *work: Step, times: float = 1.0, note: str = "") -> list[Step]:
        """``times`` exits with the given work in each."""
        steps = [
            Step("vm_exit", times, note=note),
            Step("vmcs_read", times * settings["vmcs_reads"]),
            Step("vmcs_write", times * settings["vmcs_writes"]),
            Step("exit_dispatch", times * settings["handler_slowdown"]),
            Step("msr_access", times * settings["other_exits"], note="the monitor's own registers"),
            *(step._replace(times=times * step.times) for step in work),
            Step("vm_entry", times),
        ]
        return [step for step in steps if step.times]

    @staticmethod
    def register(settings: Settings) -> Step:
        """Emulating an access to a register; a virtual machine's monitor may be slower at it."""
        return Step("msr_emulate", settings["register_slowdown"])

    def userspace(self, settings: Settings, *work: Step) -> list[Step]:
        """An exit that the monitor's process handles."""
        return self.exit(
            settings,
            Step("instruction_emulate"),
            Step("userspace_exit", note="to the monitor's process and back"),
            Step("msr_access", settings["userspace_msrs"], note="switch of the host's registers"),
            Step("vmcs_read", settings["userspace_vmcs"]),
            *work,
        )

    def _on_port_io(self, size: int, settings: Settings) -> list[Step]:
        return self.userspace(settings, Step("device_model"))

    def _on_mmio_access(self, size: int, settings: Settings) -> list[Step]:
        return self.userspace(settings, Step("device_model"))

    def _on_doorbell(self, size: int, settings: Settings) -> list[Step]:
        if not settings.on("doorbell_in_kernel"):
            return self.userspace(settings)
        signal = Step("doorbell_signal")
        if settings.on("nested_paging"):
            return self.exit(settings, signal, note="known by its address")
        return self.exit(settings, Step("shadow_walk"), DECODE, signal, note="a fault on a page that is not mapped")

    def _on_msr_access(self, size: int, settings: Settings) -> list[Step] | None:
        return self.exit(settings, self.register(settings)) if settings.on("msr_exits") else None

    def _on_timer_program(self, size: int, settings: Settings) -> list[Step] | None:
        if not settings.on("timer_exits"):
            return None
        return self.exit(settings, self.register(settings), Step("timer_program", note="the host's own timer"))

    def _on_halt(self, size: int, settings: Settings) -> list[Step] | None:
        return self.exit(settings, Step("halt")) if settings.on("halt_exits") else None

    def _on_exception(self, size: int, settings: Settings) -> None:
        return None

    def _on_invalid_opcode(self, size: int, settings: Settings) -> list[Step]:
        return [*self.exit(settings, Step("exception_reflect")), Step("exception", note="taken by the guest's kernel")]

    def _on_ipi_send(self, size: int, settings: Settings) -> list[Step]:
        if settings.on("posted_interrupts"):
            return [Step("ipi_send", note="posted")]
        return self.exit(settings, self.register(settings), Step("ipi_send", note="kick the other processor"))

    def _on_interrupt(self, size: int, settings: Settings) -> list[Step]:
        if settings.on("posted_interrupts"):
            return [Step("interrupt", note="posted to the running guest")]
        steps = self.exit(settings, Step("interrupt"), Step("event_inject"))
        if not settings.on("apicv"):
            steps += self.exit(settings, self.register(settings), note="end of interrupt")
        return steps

    def _on_tlb_miss(self, size: int, settings: Settings) -> list[Step] | None:
        if not settings.on("nested_paging"):
            return None
        n, m = settings["guest_levels"], settings["host_levels"]
        references = (n * m + n + m) * settings["walk_reference_share"]
        return [
            Step("walk_reference", references, note="two-dimensional walk, as if none were cached more than natively")
        ]

    # What a guest's own monitor does.

    def _on_vm_entry(self, size: int, settings: Settings) -> list[Step]:
        return self.exit(settings, Step("nested_switch"), note="a guest's monitor enters its guest")

    def _on_vm_exit(self, size: int, settings: Settings) -> list[Step]:
        return self.exit(settings, Step("nested_switch"), note="an exit is handed to a guest's monitor")

    def _on_vmcs_read(self, size: int, settings: Settings) -> list[Step] | None:
        return None if settings.on("vmcs_shadowing") else self.exit(settings, Step("vmcs_emulate"))

    def _on_vmcs_write(self, size: int, settings: Settings) -> list[Step] | None:
        return self._on_vmcs_read(size, settings)

    # Shadow paging.

    def _shadowed(self, event: str, settings: Settings) -> list[Step] | None:
        """What the software MMU adds; the guest's own part (its exception, its switch) is spent all the same."""
        if event == "page_exception":
            walk = self.exit(settings, Step("shadow_walk", note="find out whose fault it is"), Step("event_inject"))
            return [*walk, Step("exception", note="taken by the guest's kernel")]
        if event == "first_touch":
            return self._hidden_fault(settings)
        if event in ("address_space_switch", "root_switch"):
            return self.exit(settings, Step("shadow_switch"), Step(event))
        if event == "tlb_flush":
            return self.exit(settings, Step("shadow_sync"), Step("tlb_flush"))
        if event == "page_table":
            return self._page_table(settings)
        if event in _TRACED:
            return self._page_table_write(event, settings)
        return None

    def _page_table_write(self, event: str, settings: Settings) -> list[Step]:
        write = Step("pte_copy" if event in _BULK else "pte_write")
        if settings.on("traced"):
            return [*self.exit(settings, Step(_TRACED[event], note="traced write")), write]
        if event == "pte_map":
            return [write, *self._hidden_fault(settings)]
        if event == "pte_clear":
            return [write]  # Dropping what was shadowed is counted where it was filled: most entries never are.
        return [write, Step("shadow_sync", note="brought up to date later")]

    def _page_table(self, settings: Settings) -> list[Step]:
        """Writes to all levels but the lowest always trap, and so do the first ones to a page that was a table."""
        steps = [
            *self.exit(settings, Step("shadow_map", note="linked into the level above")),
            *self.exit(settings, Step("shadow_unmap", note="cut off again")),
        ]
        if not settings.on("traced"):
            reuse = self.exit(settings, Step("shadow_change"), times=settings["reuse_writes"], note="used for data")
            steps += reuse
        return steps

    def _hidden_fault(self, settings: Settings) -> list[Step]:
        """An entry is filled at its first use; where writes are not traced, it is dropped at some later flush."""
        fault = self.exit(settings, Step("shadow_walk"), note="hidden fault")
        return fault if settings.on("traced") else [*fault, Step("shadow_sync", note="dropped later")]


class Kvm(HardwareAssisted):
    """A monitor inside Linux."""

    name = "kvm"
    needs = frozenset({"linux", "extensions"})


class BareMetalHvm(HardwareAssisted):
    """A bare-metal hypervisor that uses the extensions; devices are modelled in a driver domain."""

    name = "hvm"
    needs = frozenset({"machine", "extensions"})
    parameters = {
        **without(HardwareAssisted.parameters, "userspace_msrs", "userspace_vmcs"),
        "domain_switches": exact(2, "1/access", "to the driver domain and back, where it shares the processor"),
    }

    def userspace(self, settings: Settings, *work: Step) -> list[Step]:
        """A device access is handed to the driver domain: it is woken, and its processor switched to it."""
        return self.exit(
            settings,
            Step("instruction_emulate"),
            Step("event_channel", 2, note="request and answer"),
            Step("vcpu_switch", settings["domain_switches"]),
            *work,
        )


def _kinds() -> Iterator[LayerKind]:
    yield Kvm()
    yield BareMetalHvm()


for _kind in _kinds():
    LAYER_KINDS.register(_kind.name)(_kind)
