"""PVM: a monitor that runs the guest's kernel and programs without privileges and without extensions.

A small switcher, mapped in both worlds, changes between guest and monitor; a system call of a guest's
program reaches the guest's kernel through the switcher directly (``direct_switch``) or by way of the
monitor. Memory is shadowed by the monitor on the guest's request; no hardware exit is involved at any
depth of nesting, which is why the prices do not multiply on a virtual machine.

    trap = pvm_switch + exit_dispatch + work

What does not stay inside are exceptions that a monitor below wants to see: KVM takes each undefined instruction, with
nested paging as without (Linux, ``update_exception_bitmap``), and hands it on.

References
----------
J. Huang et al., "PVM: efficient shadow paging for deploying secure containers in cloud-native
environments", SOSP 2023, sections 3 and 4.
"""

from __future__ import annotations

from typing import ClassVar

from virtsim.platform.layers.base import LAYER_KINDS, Settings, Step, exact, without
from virtsim.platform.layers.hardware_assisted import DECODE, HardwareAssisted

#: What only hardware exits have.
_OF_EXTENSIONS = (
    "apicv",
    "posted_interrupts",
    "vmcs_reads",
    "vmcs_writes",
    "userspace_vmcs",
    "handler_slowdown",
    "other_exits",
    "msr_exits",
)


class Switcher(HardwareAssisted):
    """A software monitor in Linux that shares the classes of exits with KVM."""

    name = "pvm"
    needs = frozenset({"linux"})
    parameters: ClassVar = {
        **without(HardwareAssisted.parameters, *_OF_EXTENSIONS),
        "nested_paging": exact(0, "switch", "the monitor shadows the guest's memory"),
        "direct_switch": exact(1, "switch", "system calls do not pass the monitor"),
    }

    def provides_of(self, settings: Settings, below: frozenset[str]) -> frozenset[str]:
        """A machine without extensions, and hypercalls."""
        return frozenset({"machine", "hypercalls"})

    def exit(self, settings: Settings, *work: Step, times: float = 1.0, note: str = "") -> list[Step]:
        """``times`` traps into the monitor with the given work in each."""
        return [
            Step("pvm_switch", times, note=note),
            Step("exit_dispatch", times),
            *(step._replace(times=times * step.times) for step in work if step.times),
        ]

    def trapped(self, settings: Settings, *work: Step) -> list[Step]:
        """A privileged instruction of the unprivileged kernel: it faults, and the monitor decodes it."""
        fault = Step("exception", note="general protection fault")
        return [fault, *self.exit(settings, DECODE, *work)]

    def userspace(self, settings: Settings, *work: Step) -> list[Step]:
        """A trapped access that the monitor's process handles."""
        msrs = Step("msr_access", settings["userspace_msrs"], note="switch of the host's registers")
        return self.trapped(settings, Step("userspace_exit"), msrs, *work)

    def _on_msr_access(self, size: int, settings: Settings) -> list[Step]:
        return self.trapped(settings, self.register(settings))

    def _on_full_return(self, size: int, settings: Settings) -> list[Step]:
        return self.exit(settings)

    def _on_page_exception(self, size: int, settings: Settings) -> list[Step]:
        walk = self.exit(settings, Step("shadow_walk", note="find out whose fault it is"))
        handed = self.exit(settings, Step("exception_reflect", note="handed to the guest's kernel"))
        return [Step("page_exception"), *walk, *handed]

    def _on_mode_switch(self, size: int, settings: Settings) -> list[Step]:
        if settings.on("direct_switch"):
            return [Step("mode_switch"), Step("pvm_direct")]
        return [
            Step("mode_switch"),
            Step("pvm_switch", 2, note="to the guest's kernel and back"),
            Step("exit_dispatch", 2),
        ]

    def _on_root_switch(self, size: int, settings: Settings) -> list[Step]:
        return []

    def _on_exception(self, size: int, settings: Settings) -> list[Step]:  # type: ignore[override]
        return [Step("exception"), *self.exit(settings, Step("exception_reflect"))]

    def _on_invalid_opcode(self, size: int, settings: Settings) -> list[Step]:
        # A machine below that is virtual takes it first and hands it on: KVM looks at each, nested paging or not.
        below = Step("invalid_opcode", note="the machine's own exception, to the monitor")
        return [below, *self.exit(settings, Step("exception_reflect"))]

    def _on_ipi_send(self, size: int, settings: Settings) -> list[Step]:
        return self.exit(settings, self.register(settings), Step("ipi_send", note="kick the other processor"))

    def _on_interrupt(self, size: int, settings: Settings) -> list[Step]:
        return [Step("interrupt"), *self.exit(settings, Step("event_inject"))]


LAYER_KINDS.register("pvm")(Switcher())
