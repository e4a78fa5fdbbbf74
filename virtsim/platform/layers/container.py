"""A container: the same kernel, with a filter in front of it.

Namespaces and cgroups change what a system call sees, not what it costs in steady state (measured ratio
to native 1.00 ± 0.03 on every call). What costs is a seccomp filter: a call of a process with any filter
enters the kernel by the slow path, and where the verdict depends on arguments the filter itself is run.
Verdicts that depend on the call's number alone are kept in a bitmap since Linux 5.11 and are not run.

    cost of a call = syscall_slow_entry + [reads arguments] * (seccomp_run + rules * seccomp_compare)

An overlay root adds to path look-ups, a bridge and NAT to packets, the I/O controller to requests.

Limits of validity: CPU time that limits take away is the scheduler's matter, not this layer's. A page
fault and a context switch cost what they cost natively.
"""

from __future__ import annotations

from collections.abc import Iterable

from virtsim.platform.events import EVENTS
from virtsim.platform.layers.base import LAYER_KINDS, LayerKind, Settings, Step, exact

_PATHS = {"stat": 1, "open_close": 1, "create": 1, "delete": 1, "fork_exec": 1, "fork_shell": 10}
_SWITCH = "a property of the stack"


class Container(LayerKind):
    """Namespaces, cgroups, seccomp, and optionally an overlay root and a bridged network."""

    name = "container"
    role = "filter"
    needs = frozenset({"system"})
    provides = frozenset({"system"})
    parameters = {
        "seccomp_rules": exact(0, "rules", "no filter unless the stack or the guest has one"),
        "seccomp_arguments": exact(0, "switch", _SWITCH),
        "overlay": exact(0, "switch", _SWITCH),
        "bridge": exact(0, "switch", _SWITCH),
        "nat": exact(0, "switch", _SWITCH),
        "io_control": exact(0, "switch", _SWITCH),
    }

    def handle(self, event: str, size: int, settings: Settings) -> Iterable[Step] | None:
        """Filter each system call of the event, then let the kernel below handle it."""
        if EVENTS[event].interface != "system":
            return None
        steps = [*_filter(EVENTS[event].system_calls, settings)]
        if event in _PATHS and settings.on("overlay"):
            steps.append(Step("overlay_lookup", _PATHS[event]))
        if event in ("packet_send", "packet_receive"):
            steps.extend(Step(primitive) for name, primitive in _NETWORK if settings.on(name))
        if event == "file_io" and settings.on("io_control"):
            steps.append(Step("io_charge"))
        return [*steps, Step(event, 1, size)] if steps else None


_NETWORK = (("bridge", "bridge_forward"), ("nat", "nat_translate"))


def _filter(calls: int, settings: Settings) -> Iterable[Step]:
    rules = settings["seccomp_rules"]
    if not rules or not calls:
        return
    yield Step("syscall_slow_entry", calls, note="a filter is attached")
    if settings.on("seccomp_arguments"):
        yield Step("seccomp_run", calls)
        yield Step("seccomp_compare", calls * rules)


LAYER_KINDS.register("container")(Container())
