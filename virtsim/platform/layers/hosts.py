"""What a monitor runs on: a hosted monitor's world switch, or a bare-metal kernel made for monitors.

*Hosted*: the monitor owns the processor while the guest runs. For every device access that it does not
model itself, and for every interrupt, it switches worlds to the host, whose process for the virtual
machine makes the system calls that do the guest's I/O:

    device_access = world_switch + c system calls + device_model
    host_interrupt = world_switch + interrupt

*Bare metal*: the monitor's own kernel has the drivers, so the same events are function calls.

References
----------
J. Sugerman, G. Venkitachalam, B.-H. Lim, "Virtualizing I/O devices on VMware Workstation's hosted virtual
machine monitor", USENIX ATC 2001, sections 2.2 and 3.2.
"""

from __future__ import annotations

from collections.abc import Iterable

from virtsim.platform.layers.base import LAYER_KINDS, LayerKind, Settings, Step, assumed


class Hosted(LayerKind):
    """A monitor that is a process of a host's Linux."""

    name = "hosted"
    role = "filter"
    needs = frozenset({"linux"})
    provides = frozenset({"monitor-host"})
    parameters = {
        "calls_per_access": assumed(1, "1/access", "one read, write or select of the process for an access it serves"),
    }

    def handle(self, event: str, size: int, settings: Settings) -> Iterable[Step] | None:
        """Device accesses and interrupts switch worlds."""
        if event == "device_access":
            return (
                Step("world_switch", note="to the host and back"),
                Step("null", settings["calls_per_access"], note="the process's system call"),
                Step("device_model"),
            )
        if event == "host_interrupt":
            return (Step("world_switch", note="the host takes the interrupt"), Step("interrupt"))
        if event == "host_wait":
            return (Step("world_switch"), Step("idle"))
        return None


class MonitorKernel(LayerKind):
    """A small kernel whose only programs are monitors (ESX)."""

    name = "monitor-kernel"
    role = "kernel"
    needs = frozenset({"machine"})
    provides = frozenset({"monitor-host"})

    def handle(self, event: str, size: int, settings: Settings) -> Iterable[Step] | None:
        """Device accesses and interrupts are calls inside the kernel."""
        if event == "device_access":
            return (Step("device_model"),)
        if event == "host_interrupt":
            return (Step("interrupt"),)
        if event == "host_wait":
            return (Step("halt"), Step("timer_program"))
        return None


LAYER_KINDS.register("hosted")(Hosted())
LAYER_KINDS.register("monitor-kernel")(MonitorKernel())
