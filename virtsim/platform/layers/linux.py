"""Linux on a machine: what its services consist of.

A service is one or more entries into the kernel, the kernel's own work (a primitive of the group
``kernel``, priced on the host for the kernel that the card names) and what the kernel asks of its
machine: page-table updates, address-space switches, timers, interrupts. The last are what makes the same
kernel cost more on a virtual machine.

What a packet that arrives costs up to the socket is spent by the processor that its device's queue interrupts. With
``receive_queues`` that is not the program's: as many processors as there are queues share it, and a device with one
queue has one processor do it for all connections.

Limits of validity: kernel work has the price that the host's card gives, whatever the version of a
guest's kernel. Fork and exec have the page counts of the parameters, not of the workload's processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import ClassVar

from virtsim.core.units import PAGE_BYTES
from virtsim.platform.layers.base import LAYER_KINDS, LayerKind, Settings, Step, assumed, exact, here

Rule = Callable[[int, Settings], Iterable[Step]]

#: Who takes what arrives where that is not the program's processor.
INTERRUPTED = "interrupted processor"


def _enter(calls: float, settings: Settings, note: str = "") -> Iterator[Step]:
    """System calls; a kernel that isolates its page tables loads another root on the way in and out."""
    yield Step("mode_switch", calls, note=note)
    if settings.on("kpti"):
        yield Step("root_switch", 2 * calls, note="kernel page-table isolation")


def _fault(settings: Settings) -> Iterator[Step]:
    yield Step("page_exception")
    if settings.on("kpti"):
        yield Step("root_switch", 2, note="kernel page-table isolation")


def _call(*steps: Step, calls: int = 1) -> Rule:
    def rule(size: int, settings: Settings) -> Iterator[Step]:
        yield from _enter(calls, settings)
        yield from steps

    return rule


def _fixed(*steps: Step) -> Rule:
    return lambda size, settings: steps


def _copying(call: str, copy: str) -> Rule:
    return lambda size, settings: (*_enter(1, settings), Step(call), Step(copy, size))


def _file_copying(call: str, copy: str, page: str) -> Rule:
    """Copying to or from the page cache goes page by page: each beyond the first has to be found."""

    def rule(size: int, settings: Settings) -> Iterator[Step]:
        yield from _enter(1, settings)
        yield Step(call)
        yield Step(copy, size)
        if size > PAGE_BYTES:
            yield Step(page, -(-size // PAGE_BYTES) - 1)

    return rule


def _delete(size: int, settings: Settings) -> Iterator[Step]:
    yield from _enter(1, settings)
    yield Step("file_delete")
    yield Step("free_page", -(-size // PAGE_BYTES))


def _page_fault(size: int, settings: Settings) -> Iterator[Step]:
    yield from _fault(settings)
    yield Step("fault_service")
    yield Step("pte_map")


def _copy_fault(size: int, settings: Settings) -> Iterator[Step]:
    yield from _fault(settings)
    yield Step("fault_service")
    yield Step("copy_page")
    yield Step("pte_change")
    yield Step("tlb_flush")


def _protection_fault(size: int, settings: Settings) -> Iterator[Step]:
    yield from _fault(settings)
    yield Step("fault_reflect")
    yield from _enter(1, settings, "sigreturn")
    yield Step("full_return")


def _tables(settings: Settings) -> float:
    """Page tables of an address space; isolation gives the program's half a root of its own."""
    return settings["table_pages"] + settings["kpti"]


def _fork(size: int, settings: Settings) -> Iterator[Step]:
    """Fork, exit, wait: the child shares the pages, and both sides write to some of them."""
    yield from _enter(3, settings, "fork, exit, wait")
    yield Step("process_fork")
    yield Step("page_table", _tables(settings), note="the child's page tables")
    yield Step("pte_protect", settings["fork_protects"], note="the parent's writable pages")
    yield Step("pte_fill", settings["fork_pages"], note="the child's copy")
    yield Step("pte_clear", settings["child_pages"], note="at the child's exit")
    yield here("copy_fault", settings["fork_faults"], note="pages written by parent or child")
    yield Step("first_touch", settings["fork_touched"], note="pages the child and its kernel use")
    yield here("context_switch", 2, note="to the child and back")


def _exec(size: int, settings: Settings) -> Iterator[Step]:
    """As a fork, and the child builds a new address space and faults its program in."""
    yield from _fork(size, settings)
    yield from _enter(1, settings, "execve")
    yield Step("process_exec")
    yield Step("page_table", _tables(settings), note="the new image's page tables")
    yield Step("pte_clear", settings["exec_pages"], note="the new image, at exit")
    yield here("page_fault", settings["exec_faults"], note="program, stack, data")
    yield Step("first_touch", settings["exec_touched"], note="pages the kernel uses in the new space")
    yield Step("new_code", settings["exec_instructions"])


def _shell(size: int, settings: Settings) -> Iterator[Step]:
    """A shell that starts one program: two forks and two executions, the shell's being larger."""
    yield here("fork_exec", 2, note="the shell, and the program it starts")
    yield from _enter(settings["shell_calls"], settings, "start-up of shell and libraries")
    yield Step("shell_start")
    yield here("page_fault", settings["shell_faults"], note="shell and its libraries")
    yield Step("pte_clear", settings["shell_pages"], note="the shell's pages, at exit")


def _file_io(size: int, settings: Settings) -> Iterator[Step]:
    yield from _enter(1, settings)
    yield Step("block_request")
    yield Step("device_kick", 1, size)
    yield Step("device_interrupt", settings["interrupts_per_request"])


def _interrupted(settings: Settings) -> str:
    return INTERRUPTED if settings.on("receive_queues") else ""


def _packet_send(size: int, settings: Settings) -> Iterator[Step]:
    yield from _enter(1, settings)
    yield Step("packet_send_service")
    yield Step("packet_byte", size)
    yield Step("device_kick", 1, size)
    completions = settings["interrupts_per_packet"] / settings["sends_per_interrupt"]
    yield Step("device_interrupt", completions, size, party=_interrupted(settings))


def _packet_receive(size: int, settings: Settings) -> Iterator[Step]:
    who = _interrupted(settings)
    yield from _enter(1, settings)
    yield Step("packet_receive_service", party=who)
    yield Step("packet_byte", size)
    yield Step("device_receive", 1, size, party=who)
    yield Step("device_interrupt", settings["interrupts_per_packet"], size, party=who)


def _packet_wakeup(size: int, settings: Settings) -> Iterator[Step]:
    who = _interrupted(settings)
    yield Step("wakeup_service", party=who)
    yield Step("ipi_send", party=who)
    yield Step("interrupt", note="on the program's processor")


_RULES: dict[str, Rule] = {
    "null": _call(),
    "stat": _call(Step("file_lookup")),
    "open_close": _call(Step("file_open"), calls=2),
    "read": _file_copying("file_read", "copy_from_file", "read_page"),
    "write": _file_copying("file_write", "copy_to_file", "write_page"),
    "fsync": _call(Step("file_sync")),
    "create": _call(Step("file_create"), calls=2),
    "delete": _delete,
    "select": _call(Step("select_scan")),
    "map_unmap": _call(Step("map_area"), calls=2),
    "release": _call(Step("release_area")),
    "page_fault": _page_fault,
    "copy_fault": _copy_fault,
    "protection_fault": _protection_fault,
    "fork_wait": _fork,
    "fork_exec": _exec,
    "fork_shell": _shell,
    "pipe_write": _copying("pipe_service", "copy_pipe"),
    "pipe_read": _copying("pipe_service", "copy_pipe"),
    "futex_wake": _call(Step("futex_wake_service")),
    "futex_wait": _call(Step("futex_wait_service")),
    "signal_install": _call(Step("signal_install_service")),
    "signal": _call(Step("signal_delivery"), Step("full_return"), calls=2),
    "timer_sleep": _call(Step("timer_arm"), Step("timer_program")),
    "context_switch": _fixed(Step("task_switch"), Step("address_space_switch")),
    "thread_switch": _fixed(Step("task_switch")),
    "wakeup": _fixed(Step("wakeup_service")),
    "wakeup_remote": _fixed(Step("wakeup_service"), Step("ipi_send"), Step("interrupt")),
    "timer_tick": _fixed(Step("interrupt"), Step("tick"), Step("timer_program")),
    "idle": _fixed(Step("halt"), Step("timer_program")),
    "file_io": _file_io,
    "packet_send": _packet_send,
    "packet_receive": _packet_receive,
    "packet_wakeup": _packet_wakeup,
}


class Linux(LayerKind):
    """Linux, on hardware or in a virtual machine; with ``paravirtual``, one ported to a hypervisor."""

    name = "linux"
    role = "kernel"
    provides = frozenset({"system", "linux"})
    least: ClassVar = {"sends_per_interrupt": 1.0}
    parameters = {
        "paravirtual": exact(0, "switch", "a property of the stack"),
        "kpti": exact(0, "switch", "a property of the stack"),
        "table_pages": assumed(
            11, "pages", "10 of four levels below the root of a small dynamic program (VmPTE), counted on Linux 6.18"
        ),
        "fork_pages": assumed(
            25, "pages", "anonymous pages of a small dynamic program, copied at a fork; counted on Linux 6.18"
        ),
        "fork_protects": assumed(20, "pages", "those of them that were writable in the parent"),
        "fork_faults": assumed(22, "faults", "20 in the child and 2 in the parent, counted on Linux 6.18"),
        "child_pages": assumed(59, "pages", "resident pages of such a child at its exit, counted on Linux 6.18"),
        "fork_touched": assumed(60, "pages", "what child and kernel use between the child's start and its exit"),
        "exec_pages": assumed(
            270, "pages", "resident pages of a small dynamic program at its exit, counted on Linux 6.18"
        ),
        "exec_faults": assumed(50, "faults", "70 less the fork's 20, counted on Linux 6.18"),
        "exec_touched": assumed(60, "pages", "as for a fork"),
        "exec_instructions": assumed(
            0, "instructions", "a program that ran before: its translations are kept with its pages"
        ),
        "shell_pages": assumed(
            150, "pages", "what a shell has resident more than a small program, counted on Linux 6.18"
        ),
        "shell_faults": assumed(60, "faults", "a small shell that starts a program, counted on Linux 6.18"),
        "shell_calls": assumed(60, "calls", "start-up of a shell"),
        "interrupts_per_packet": assumed(1.0, "1/packet", "one completion interrupt a packet, no coalescing"),
        "sends_per_interrupt": assumed(1.0, "packets/interrupt", "each packet sent is completed by itself"),
        "receive_queues": exact(
            0, "queues", "of its network device, each interrupting one processor; 0: each processor has its own"
        ),
        "interrupts_per_request": assumed(1.0, "1/request", "one completion interrupt a request"),
    }

    def needs_of(self, settings: Settings) -> frozenset[str]:
        """A ported kernel needs hypercalls, any other a machine."""
        return frozenset({"hypercalls" if settings.on("paravirtual") else "machine"})

    def handle(self, event: str, size: int, settings: Settings) -> Iterable[Step] | None:
        """Services are taken apart; instructions of kernel or program run on the machine below."""
        rule = _RULES.get(event)
        return None if rule is None else rule(size, settings)


LAYER_KINDS.register("linux")(Linux())
