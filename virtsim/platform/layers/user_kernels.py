"""Kernels in user space: User-Mode Linux, gVisor.

The program is a process of the host that may not call it: its system calls and faults are caught and
served by another process. *How* they are caught is the platform:

- ``ptrace``: two stops a call (before it, and instead of it), each with a switch to the tracer and back;
- ``kvm``: the program runs as a guest's user mode, the kernel as its kernel mode: a mode switch;
- ``systrap``: the program's thread signals the kernel's thread through memory and sleeps.

User-Mode Linux is Linux whose *machine* is such a process: page-table entries are mappings of the host's,
changed by a host call each, and an address-space switch lets another host process run. gVisor has a
kernel of its own (the Sentry), and a file server (the Gofer) that is asked for paths.

A kernel masks interrupts while it allocates, queues and signals. Those of User-Mode Linux are signals of the host, so
until a variable told their handlers to wait (Linux 2.6.21) each change of the mask was a host call
(``masks_by_calls``).

Computation is native: only what enters a kernel changes.

References
----------
Linux 2.4 and 2.6.11, ``arch/um/kernel/signal_user.c``. J. Dike, *User Mode Linux*, Prentice Hall, 2006, chapter 9.
E. G. Young et al., "The true cost of containing: a gVisor case study", HotCloud 2019.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from virtsim.platform.events import EVENTS
from virtsim.platform.layers.base import LAYER_KINDS, LayerKind, Settings, Step, assumed, exact

#: Host calls to change the mask in a service of Linux 2.4 (mm/slab.c, kernel/signal.c, net/core, fs/ext3, fs/jbd): four
#: where it is saved and restored, as around each object of the slab, two where it is set and cleared.
_MASKINGS: dict[str, float] = {
    "file_lookup": 8,  # The path's buffer comes and goes.
    "file_open": 8,
    "file_create": 24,  # The path's buffer, a directory entry, an inode, a journal handle.
    "file_delete": 32,  # The path's buffer, two journal handles; directory entry and inode go.
    "write_page": 20,  # A page, its buffer head and journal head, a journal handle.
    "pipe_service": 8,  # The queue of waiters and the one of runnable tasks.
    "signal_delivery": 18,  # Sent and queued, taken from the queue, handler's mask, mask restored.
    "fault_reflect": 22,  # Forced first, then as any signal.
    "task_switch": 2,
    "packet_send_service": 20,  # A buffer and its data come and go, the driver's lock.
    "packet_receive_service": 22,  # Likewise, and the queue between driver and protocol.
}


class UserModeMachine(LayerKind):
    """The machine that User-Mode Linux runs on: host processes, traced."""

    name = "uml"
    role = "machine"
    needs = frozenset({"linux"})
    provides = frozenset({"machine"})
    parameters = {
        "stops_per_call": exact(
            2, "1/call", "the host's call is annulled, then the program resumed: Dike, 2006, chapter 9"
        ),
        "stops_per_fault": exact(1, "1/fault", "the fault's signal stops the program once"),
        "stops_per_return": exact(0, "1/return", "the tracer sets registers while the program is stopped anyway"),
        "masks_by_calls": exact(0, "switch", "Linux 2.6.21 and later: a variable instead of host calls"),
    }

    def handle(self, event: str, size: int, settings: Settings) -> Iterable[Step] | None:
        """Calls and faults stop the traced process; mappings are changed by host calls."""
        if event in _MASKINGS and settings.on("masks_by_calls"):
            mask = Step("signal_install", _MASKINGS[event], note="sigprocmask, a call of about that work")
            return (Step(event), mask)
        if event == "mode_switch":
            return (Step("mode_switch"), Step("ptrace_stop", settings["stops_per_call"]))
        if event in ("exception", "page_exception"):
            return (Step("exception"), Step("ptrace_stop", settings["stops_per_fault"]))
        if event in ("pte_map", "pte_unmap", "pte_change"):
            return (Step("host_map", note="one mapping of the host process"),)
        if event in ("pte_protect", "pte_fill", "pte_clear"):
            return (Step("pte_copy"), Step("host_copy", note="the host's mapping follows"))
        if event == "full_return":
            return (Step("ptrace_stop", settings["stops_per_return"], note="registers are set by the tracer"),)
        if event == "address_space_switch":
            return (Step("host_switch"),)
        if event in ("root_switch", "tlb_flush"):
            return ()  # The host flushes when it changes the mapping.
        if event in ("timer_program", "ipi_send", "halt", "doorbell", "port_io", "mmio_access"):
            return (Step("null", note="a host call"),)
        if event == "interrupt":
            return (Step("interrupt"), Step("ptrace_stop", 1, note="a signal to the tracer"))
        if event in ("device_kick", "device_receive"):
            return (Step("null", note="a host call for the I/O"), Step(event, 1, size))
        return None


_FILES = {"stat": 1, "open_close": 2, "create": 3, "delete": 1, "fork_exec": 4, "fork_shell": 12}
_TREE = {"fork_wait": "fork_maps", "fork_exec": "exec_maps", "fork_shell": "exec_maps", "map_unmap": "map_calls"}


class Sentry(LayerKind):
    """gVisor."""

    name = "gvisor"
    role = "kernel"
    needs = frozenset({"linux"})
    provides = frozenset({"system"})
    parameters = {
        "platform": exact(2, "stops/call", "ptrace: 2 stops a call; 0 for the platforms without tracing"),
        "gofer": exact(1, "switch", "paths are the file server's; 0 where the files live in the Sentry"),
        "fork_maps": assumed(120, "calls", "mappings of a child's host address space (2.2 ms a fork by tracing)"),
        "exec_maps": assumed(320, "calls", "mappings of a new image's host address space (6.1 ms by tracing)"),
        "map_calls": assumed(10, "calls", "host calls to change mappings, through the program's stub"),
        "faults_to_sentry": assumed(0.14, "1/fault", "most faults are the host's own (4.9 us a fault by tracing)"),
    }

    def handle(self, event: str, size: int, settings: Settings) -> Iterable[Step] | None:
        """Every call goes to the Sentry; memory is the host's."""
        known = EVENTS.get(event)
        if known is None or known.interface != "system":
            return None
        if event in (
            "thread_switch",
            "wakeup",
            "wakeup_remote",
            "packet_wakeup",
            "timer_tick",
            "idle",
            "context_switch",
        ):
            return self._switches(event, settings)
        return list(self._serve(event, size, settings))

    def _switches(self, event: str, settings: Settings) -> Iterable[Step] | None:
        if event == "context_switch":
            return (Step("context_switch"), Step("sentry_wake", note="another host process"))
        return None

    def _serve(self, event: str, size: int, settings: Settings) -> Iterator[Step]:
        calls = EVENTS[event].system_calls
        yield from self._enter(calls, settings)
        if event in ("read", "write", "pipe_write", "pipe_read"):
            yield Step("copy_from_file" if event in ("read", "write") else "copy_pipe", size)
        if event in ("page_fault", "copy_fault", "protection_fault"):
            yield Step(event, note="the host's fault, on the Sentry's memory")
            yield from self._enter(settings["faults_to_sentry"], settings)
        if event in _FILES and settings.on("gofer"):
            yield Step("gofer_call", _FILES[event])
        if event in _TREE:
            yield Step("sentry_map", settings[_TREE[event]])
        if event in ("fork_wait", "fork_exec", "fork_shell"):
            yield Step(event, note="the host's process behind it")
        if event in ("file_io", "packet_send", "packet_receive"):
            yield Step(event, 1, size, note="the host's own I/O")

    def _enter(self, calls: float, settings: Settings) -> Iterator[Step]:
        if not calls:
            return
        stops = settings["platform"]
        yield Step("ptrace_stop", calls * stops) if stops else Step("sentry_switch", calls)
        yield Step("sentry_call", calls)


LAYER_KINDS.register("uml")(UserModeMachine())
LAYER_KINDS.register("gvisor")(Sentry())
