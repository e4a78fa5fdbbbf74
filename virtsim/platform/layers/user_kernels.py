"""Kernels in user space: User-Mode Linux, gVisor.

The program is a process of the host that may not call it: its system calls and faults are caught and
served by another process. *How* they are caught is the platform:

- ``ptrace``: two stops a call (before it, and instead of it), each with a switch to the tracer and back;
- ``kvm`` (``in_guest``): the program runs as a guest's user mode, the kernel as its kernel mode, so a call stays
  inside. What the kernel needs of its host leaves the guest: each host call is an exit to the process, each page that
  is new to the guest an exit to KVM, and a TLB miss a two-dimensional walk. Under another hypervisor those exits
  multiply.
- ``systrap`` (``by_signal``): a seccomp filter raises a signal at each call; its handler asks the kernel's thread
  through shared memory, for which both poll a while before they sleep on a futex (``asleep``). A call whose
  instructions have been replaced by a jump to the handler (``patched``) needs no signal:

    call = (1 - patched) * (seccomp filter + signal) + sentry_switch + 2 * asleep * (futex and switch) + sentry_call

User-Mode Linux is Linux whose *machine* is such a process: page-table entries are mappings of the host's,
changed by a host call each, and an address-space switch lets another host process run. gVisor has a
kernel of its own (the Sentry), and a file server (the Gofer) that is asked for paths.

A kernel masks interrupts while it allocates, queues and signals. Those of User-Mode Linux are signals of the host, so
until a variable told their handlers to wait (Linux 2.6.21) each change of the mask was a host call
(``masks_by_calls``): two where a section sets and clears it, four where it saves and restores it, as around each object
of the slab. The calls of a section are counted in the source; which sections a service passes (``masked_sections``) is
an assumption.

Computation is native: only what enters a kernel changes, and TLB misses in a guest.

Limits of validity: the Sentry's own work has one price on all platforms, and so have a mapping changed on behalf of a
program and a thread woken, which were measured under ``ptrace``. A fault of a program is the host's own on all of them.

References
----------
gVisor, ``pkg/sentry/platform/systrap/README.md``; K. Bogomolov, "Releasing Systrap", gVisor's blog, 28 April 2023 (a
call of 239 ns natively takes 1017 ns where it is patched, on a virtual machine of a cloud).
Linux 2.6.12-rc2 (the first in Git), ``arch/um/kernel/signal_user.c`` (``get_signals``, ``set_signals``),
``include/asm-um/system-generic.h``, ``mm/slab.c``, ``kernel/signal.c``; the port to 2.4 was a patch apart.
J. Dike, *User Mode Linux*, Prentice Hall, 2006, chapter 9.
E. G. Young et al., "The true cost of containing: a gVisor case study", HotCloud 2019.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from virtsim.core.units import PAGE_BYTES
from virtsim.platform.events import EVENTS
from virtsim.platform.layers.base import LAYER_KINDS, LayerKind, Settings, Step, assumed, exact, published

#: Host calls of a section that saves and restores the mask: one reads it, one sets it, two put it back.
_SAVED = 4.0
#: Of one that sets and clears it.
_SET = 2.0
#: Of an object of the slab that comes and goes.
_OBJECT = 2 * _SAVED

#: Host calls to change the mask in a service, from the sections that it passes.
_MASKINGS: dict[str, float] = {
    "file_lookup": _OBJECT,  # The path's buffer.
    "file_open": _OBJECT,
    "file_create": 2 * _OBJECT + 2 * _SAVED,  # The path's buffer and a journal handle; a directory entry, an inode.
    "file_delete": 3 * _OBJECT + 2 * _SAVED,  # The path's buffer and two handles; directory entry and inode go.
    "free_page": 2 * _SAVED,  # The zone's list, and the page's journal head.
    "write_page": _OBJECT + 3 * _SAVED,  # A journal handle; a page, its buffer head and its journal head.
    "pipe_service": 2 * _SAVED,  # The queue of waiters and the one of runnable tasks.
    "signal_delivery": _OBJECT + _SAVED + 3 * _SET,  # The entry; sent; taken, the handler's mask, and it restored.
    "fault_reflect": _OBJECT + 2 * _SAVED + 3 * _SET,  # Forced first, then as any signal.
    "task_switch": _SET,
    "packet_send_service": 2 * _OBJECT + _SAVED,  # A buffer and its data, the driver's lock.
    "packet_receive_service": 2 * _OBJECT + _SAVED + _SET,  # Likewise, and the queue between driver and protocol.
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
        "masked_sections": assumed(
            1.0,
            "1",
            "each section on a service's way in Linux 2.6.12-rc2 is passed once; 2.4 may differ",
            low=0.5,
            high=1.5,
        ),
    }

    def handle(self, event: str, size: int, settings: Settings) -> Iterable[Step] | None:
        """Calls and faults stop the traced process; mappings are changed by host calls."""
        if event in _MASKINGS and settings.on("masks_by_calls"):
            calls = settings["masked_sections"] * _MASKINGS[event]
            mask = Step("signal_install", calls, note="sigprocmask, a call of about that work")
            return (Step(event), mask)
        if event == "mode_switch":
            return (Step("mode_switch"), Step("ptrace_stop", settings["stops_per_call"]))
        if event in ("exception", "page_exception"):
            return (Step(event), Step("ptrace_stop", settings["stops_per_fault"]))
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
        if event in ("device_kick", "device_more", "device_receive"):
            return (Step("null", note="a host call for the I/O"), Step(event, 1, size))
        return None


#: Copying to and from the program, and finding each page beyond the first.
_COPIES = {
    "read": ("copy_from_file", "read_page"),
    "write": ("copy_to_file", "write_page"),
    "pipe_write": ("copy_pipe", ""),
    "pipe_read": ("copy_pipe", ""),
}
_FILES = {"stat": 1, "open_close": 2, "create": 3, "delete": 1, "fork_exec": 4, "fork_shell": 12}
_TREE = {"fork_wait": "fork_maps", "fork_exec": "exec_maps", "fork_shell": "exec_maps", "map_unmap": "map_calls"}


class Sentry(LayerKind):
    """gVisor."""

    name = "gvisor"
    role = "kernel"
    needs = frozenset({"linux"})
    provides = frozenset({"system"})
    parameters = {
        "stops_per_call": exact(2, "stops/call", "where calls are caught by tracing: before it, and instead of it"),
        "in_guest": exact(0, "switch", "calls are caught as those of a guest's user mode (KVM)"),
        "by_signal": exact(0, "switch", "calls are caught by a seccomp filter that raises a signal (systrap)"),
        "patched": assumed(
            0.9, "share", "calls of the usual form, a move and a call, are replaced once they have been caught"
        ),
        "asleep": assumed(0, "1/handover", "both sides poll while calls follow each other"),
        "walk_references": published(
            16.56,
            "1/miss",
            "in a guest: 24 references, 0.69 of the price each: Bhargava et al., ASPLOS 2008, table 1",
            "2008",
            15.6,
            18.2,
        ),
        "gofer": exact(1, "switch", "paths are the file server's; 0 where the files live in the Sentry"),
        "fork_maps": assumed(120, "calls", "mappings of a child's host address space (2.2 ms a fork by tracing)"),
        "exec_maps": assumed(320, "calls", "mappings of a new image's host address space (6.1 ms by tracing)"),
        "map_calls": assumed(10, "calls", "host calls to change mappings, through the program's stub"),
        "faults_to_sentry": assumed(0.14, "1/fault", "most faults are the host's own (4.9 us a fault by tracing)"),
    }

    def needs_of(self, settings: Settings) -> frozenset[str]:
        """The host's Linux, and its KVM for the platform that is a guest."""
        return self.needs | {"extensions"} if settings.on("in_guest") else self.needs

    def handle(self, event: str, size: int, settings: Settings) -> Iterable[Step] | None:
        """Every call goes to the Sentry; memory is the host's."""
        if event == "tlb_miss" and settings.on("in_guest"):
            return (Step("walk_reference", settings["walk_references"], note="two-dimensional walk"),)
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
        if event in _COPIES:
            copy, page = _COPIES[event]
            yield Step(copy, size)
            if page:
                yield Step(page, max(0, -(-size // PAGE_BYTES) - 1), note="found in the Sentry's own cache")
        if event in ("page_fault", "copy_fault", "protection_fault"):
            yield from self._exit(settings, "the page is new to the guest")
            yield Step(event, note="the host's fault, on the Sentry's memory")
            yield from self._enter(settings["faults_to_sentry"], settings)
        if event in _FILES and settings.on("gofer"):
            yield Step("gofer_call", _FILES[event])
        if event in _TREE:
            yield Step("sentry_map", settings[_TREE[event]])
        if event in ("fork_wait", "fork_exec", "fork_shell"):
            yield Step(event, note="the host's process behind it")
        if event in ("file_io", "packet_send", "packet_receive"):
            yield from self._exit(settings, "for the host call", Step("userspace_exit"))
            yield Step(event, 1, size, note="the host's own I/O")

    def _enter(self, calls: float, settings: Settings) -> Iterator[Step]:
        if not calls:
            return
        if settings.on("by_signal"):
            yield from self._signalled(calls * (1 - settings["patched"]))
            yield Step("sentry_switch", calls, note="asked through shared memory")
            for step in ("futex_wake", "futex_wait", "context_switch"):
                yield Step(step, 2 * calls * settings["asleep"], note="the other side sleeps")
        elif settings.on("in_guest"):
            yield Step("sentry_switch", calls, note="to the guest's kernel mode")
        else:
            yield Step("ptrace_stop", calls * settings["stops_per_call"])
        yield Step("sentry_call", calls)

    def _signalled(self, calls: float) -> Iterator[Step]:
        """The filter's verdict is a signal: its frame is built, its handler runs and returns."""
        yield Step("syscall_slow_entry", calls, note="a filter is attached")
        yield Step("seccomp_run", calls, note="whose verdict is a signal")
        yield Step("signal", calls, note="raised by the call")

    def _exit(self, settings: Settings, note: str, *work: Step) -> Iterable[Step]:
        """The Sentry as a guest needs its host."""
        if not settings.on("in_guest"):
            return ()
        return (Step("vm_exit", note=note), Step("exit_dispatch"), *work, Step("vm_entry"))


LAYER_KINDS.register("uml")(UserModeMachine())
LAYER_KINDS.register("gvisor")(Sentry())
