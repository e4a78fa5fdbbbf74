"""Unikernels: one program linked with a library that is its kernel, in one address space.

A system call is a function call; there is nothing to protect it from. Services do the same work as a
kernel's. Processes cannot be forked.

References
----------
S. Kuenzer et al., "Unikraft: fast, specialized unikernels the easy way", EuroSys 2021, table 1 (a call of 4
cycles against 222 for a system call of Linux).
"""

from __future__ import annotations

from collections.abc import Iterable

from virtsim.core.errors import SpecError
from virtsim.platform.layers.base import LAYER_KINDS, Settings, Step, exact, without
from virtsim.platform.layers.linux import Linux

_OF_PROCESSES = ("table_", "fork_", "child_", "exec_", "shell_")
_IMPOSSIBLE = {"fork_wait", "fork_exec", "fork_shell"}


class Unikernel(Linux):
    """A library kernel."""

    name = "unikernel"
    provides = frozenset({"system"})
    parameters = {
        **without(Linux.parameters, *(name for name in Linux.parameters if name.startswith(_OF_PROCESSES))),
        "calls_translated": exact(0, "switch", "unmodified programs: calls are trapped and translated at run time"),
    }

    def handle(self, event: str, size: int, settings: Settings) -> Iterable[Step] | None:
        """As Linux, with function calls for system calls and one address space."""
        if event in _IMPOSSIBLE:
            raise SpecError(f"{settings.where}.kind", f"a unikernel has one address space: it cannot do {event!r}")
        if event == "context_switch":
            event = "thread_switch"
        steps = super().handle(event, size, settings)
        if steps is None or settings.on("calls_translated"):
            return steps
        return [step._replace(event="call_return") if step.event == "mode_switch" else step for step in steps]


LAYER_KINDS.register("unikernel")(Unikernel())
