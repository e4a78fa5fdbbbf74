"""Linux on a machine: what its services consist of.

A service is one or more entries into the kernel, the kernel's own work (a primitive of the group
``kernel``, priced on the host for the kernel that the card names) and what the kernel asks of its
machine: page-table updates, address-space switches, timers, interrupts. The last are what makes the same
kernel cost more on a virtual machine.

Limits of validity: kernel work has the price that the host's card gives, whatever the version of a
guest's kernel. Fork and exec have the page counts of the parameters, not of the workload's processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from virtsim.platform.layers.base import LAYER_KINDS, LayerKind, Settings, Step, assumed, here

Rule = Callable[[int, Settings], tuple[Step, ...]]


def _fixed(*steps: Step) -> Rule:
    return lambda size, settings: steps


def _call(*steps: Step, calls: int = 1) -> Rule:
    return _fixed(Step("mode_switch", calls), *steps)


def _copying(call: str, copy: str) -> Rule:
    return lambda size, settings: (Step("mode_switch"), Step(call), Step(copy, size))


def _fork(size: int, settings: Settings) -> tuple[Step, ...]:
    """Fork, exit, wait: the child shares the pages, and both sides write to some of them."""
    return (
        Step("mode_switch", 3, note="fork, exit, wait"),
        Step("process_fork"),
        Step("pte_copy", 2 * settings["fork_pages"], note="copied, then cleared at exit"),
        here("copy_fault", settings["fork_faults"], note="pages written by parent or child"),
        here("context_switch", 2, note="to the child and back"),
    )


def _exec(size: int, settings: Settings) -> tuple[Step, ...]:
    """As a fork, and the child builds a new address space and faults its program in."""
    return (
        *_fork(size, settings),
        Step("mode_switch", note="execve"),
        Step("process_exec"),
        Step("pte_copy", settings["exec_pages"], note="new image, cleared at exit"),
        here("page_fault", settings["exec_faults"], note="program, stack, data"),
    )


def _shell(size: int, settings: Settings) -> tuple[Step, ...]:
    """A shell that starts one program: two forks and two executions, the shell's being larger."""
    return (
        here("fork_exec", 2, note="the shell, and the program it starts"),
        Step("mode_switch", settings["shell_calls"], note="start-up of shell and libraries"),
        Step("shell_start"),
        here("page_fault", settings["shell_faults"], note="shell and its libraries"),
        Step("pte_copy", settings["shell_pages"], note="the shell's pages"),
    )


_RULES: dict[str, Rule] = {
    "null": _call(),
    "stat": _call(Step("file_lookup")),
    "open_close": _call(Step("file_open"), calls=2),
    "read": _copying("file_read", "copy_from_file"),
    "write": _copying("file_write", "copy_to_file"),
    "fsync": _call(Step("file_sync")),
    "create": _call(Step("file_create"), calls=2),
    "delete": _call(Step("file_delete")),
    "select": _call(Step("select_scan")),
    "map_unmap": _call(Step("map_area"), calls=2),
    "release": _call(Step("release_area")),
    "page_fault": _fixed(Step("exception"), Step("fault_service"), Step("pte_write")),
    "copy_fault": _fixed(
        Step("exception"), Step("fault_service"), Step("copy_page"), Step("pte_write"), Step("tlb_flush")
    ),
    "protection_fault": _fixed(Step("exception"), Step("fault_reflect"), Step("mode_switch", note="sigreturn")),
    "fork_wait": _fork,
    "fork_exec": _exec,
    "fork_shell": _shell,
    "pipe_write": _copying("pipe_service", "copy_pipe"),
    "pipe_read": _copying("pipe_service", "copy_pipe"),
    "futex_wake": _call(Step("futex_wake_service")),
    "futex_wait": _call(Step("futex_wait_service")),
    "signal_install": _call(Step("signal_install_service")),
    "signal": _call(Step("signal_delivery"), calls=2),
    "timer_sleep": _call(Step("timer_arm"), Step("timer_program")),
    "context_switch": _fixed(Step("task_switch"), Step("address_space_switch")),
    "thread_switch": _fixed(Step("task_switch")),
    "wakeup": _fixed(Step("wakeup_service")),
    "wakeup_remote": _fixed(Step("wakeup_service"), Step("ipi_send"), Step("interrupt")),
    "timer_tick": _fixed(Step("interrupt"), Step("tick"), Step("timer_program")),
    "idle": _fixed(Step("halt"), Step("timer_program")),
    "file_io": lambda size, settings: (
        Step("mode_switch"),
        Step("block_request"),
        Step("device_kick"),
        Step("device_interrupt"),
    ),
    "packet_send": lambda size, settings: (
        Step("mode_switch"),
        Step("packet_send_service"),
        Step("packet_byte", size),
        Step("device_kick"),
        Step("device_interrupt", settings["interrupts_per_packet"]),
    ),
    "packet_receive": lambda size, settings: (
        Step("mode_switch"),
        Step("packet_receive_service"),
        Step("packet_byte", size),
        Step("device_interrupt", settings["interrupts_per_packet"]),
    ),
}


class Linux(LayerKind):
    """Linux, on hardware or in a virtual machine."""

    name = "linux"
    role = "kernel"
    needs = frozenset({"machine"})
    provides = frozenset({"system", "linux"})
    parameters = {
        "fork_pages": assumed(100, "pages", "resident pages of a small static program"),
        "fork_faults": assumed(4, "faults", "stack, data and allocator pages of parent and child"),
        "exec_pages": assumed(60, "pages", "resident pages of a small static program"),
        "exec_faults": assumed(30, "faults", "a small static program and its stack"),
        "shell_pages": assumed(300, "pages", "resident pages of a shell"),
        "shell_faults": assumed(200, "faults", "a shell and its libraries"),
        "shell_calls": assumed(60, "calls", "start-up of a shell"),
        "interrupts_per_packet": assumed(1.0, "1/packet", "one completion interrupt a packet, no coalescing"),
    }

    def handle(self, event: str, size: int, settings: Settings) -> Iterable[Step] | None:
        """Services are taken apart; instructions of kernel or program run on the machine below."""
        rule = _RULES.get(event)
        return None if rule is None else rule(size, settings)


LAYER_KINDS.register("linux")(Linux())
