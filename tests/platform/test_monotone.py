"""Adding a layer never makes anything cheaper, on any host, unless a named mechanism does.

Everything that a program or a kernel may ask of what is below it: system calls and faults, privileged and sensitive
instructions, page-table updates, signals between processors, ticks, interrupts, input and output. A mechanism stands
for an event on a kind of layer; where another event costs less because it issues that one, what the mechanism saves has
to make up for all of the difference.
"""

import functools

import numpy as np
import pytest

from virtsim.core.data import models_folder
from virtsim.core.errors import SpecError
from virtsim.platform.events import EVENTS
from virtsim.platform.expand import design_row, expand
from virtsim.platform.host import load_host
from virtsim.platform.primitives import PRIMITIVES
from virtsim.platform.stack import Stack, load_stack


def shipped(kind):
    return sorted(path.stem for path in (models_folder() / kind).glob("*.toml"))


HOSTS = {name: load_host(name) for name in shipped("hosts")}
STACKS = shipped("stacks")
#: Events that pass between a monitor and what it runs on.
OF_MONITORS = {"device_access", "host_interrupt", "host_wait", "vmcall", "doorbell"}
#: Instructions of monitors that use the processor's extensions.
OF_EXTENSIONS = {"vm_exit", "vm_entry", "vmcs_read", "vmcs_write"}
#: What is neither asked for by programs nor executed by kernels, but spent by the layers themselves.
SPENT_BY_LAYERS = {name for name, p in PRIMITIVES.items() if p.group in ("monitor", "container")}
EVERYTHING = [
    (event, size)
    for event, kind in EVENTS.items()
    if event not in OF_MONITORS | SPENT_BY_LAYERS
    for size in ((0, 1500, 65_536) if kind.sized else (0,))
]
FORKS = {"fork_wait", "fork_exec", "fork_shell"}
#: Calls that a unikernel's exits make dearer than the calls themselves.
WITH_EXITS = {"timer_sleep", "file_io", "packet_send", "packet_receive"}
CALLS = sorted(event for event, kind in EVENTS.items() if kind.system_calls and event not in FORKS | WITH_EXITS)

_OWN_STATE = "a variable of the monitor, which no exit of the machine is needed for"
_MODEL = "the device is a model in memory, whose accesses need no bus and no exit of the machine"
_HOST_CALL = "a call of the host, whose kernel has done it before it is due"
_FUNCTION = "a function of the emulator"

#: By kind of layer and event: what may cost less for its sake, and why.
MECHANISMS = {
    **{("binary-translation", event): _OWN_STATE for event in ("cpuid", "msr_access", "cr_write", "timer_program")},
    **{("binary-translation", event): _MODEL for event in ("port_io", "mmio_access")},
    **{
        ("binary-translation", event): "the guest's table is memory that no processor walks"
        for event in ("pte_unmap", "pte_clear")
    },
    **{("emulator", event): _FUNCTION for event in ("cpuid", "msr_access", "cr_write", "rdtsc", *OF_EXTENSIONS)},
    **{("emulator", event): _MODEL for event in ("port_io", "mmio_access")},
    **{("emulator", event): _HOST_CALL for event in ("halt", "ipi_send", "timer_program")},
    **{("uml", event): _HOST_CALL for event in ("halt", "ipi_send", "timer_program", "port_io", "mmio_access")},
    **{("uml", event): "the host does it when it changes the mapping" for event in ("root_switch", "tlb_flush")},
    **{("pvm", event): _OWN_STATE for event in ("cpuid", "msr_access", "cr_write")},
    **{("pvm", event): _MODEL for event in ("port_io", "mmio_access")},
    ("pvm", "root_switch"): "the switcher changes roots with the world",
    **{("xen", event): _OWN_STATE for event in ("cpuid", "msr_access")},
    ("xen", "root_switch"): "the hypervisor changes roots where it bounces the call",
    **{("gvisor", event): "the Sentry's own" for event in ("signal", "timer_sleep", "release")},
    **{("unikernel", event): "a call is a function call" for event in (*CALLS, "protection_fault")},
    ("unikernel", "context_switch"): "all tasks have one address space",
}


@functools.cache
def counts(stack, is_virtual):
    """Primitives of everything on a stack, a row each; rows of what it cannot do are not numbers."""
    stack = on_a_host(stack, is_virtual)
    rows = np.full((len(EVERYTHING), len(PRIMITIVES)), np.nan)
    for row, (event, size) in zip(rows, EVERYTHING, strict=True):
        if event in OF_EXTENSIONS and "extensions" not in stack.offered:
            continue
        if event in FORKS and any(kind.name == "unikernel" for kind in stack.kinds):
            continue
        row[:] = design_row(expand(event, stack, size), list(PRIMITIVES))
    return rows


def on_a_host(stack, is_virtual):
    return stack.on_host(next(host for host in HOSTS.values() if bool(host.outer_monitor) == is_virtual))


@functools.cache
def issued(event, size, stack, is_virtual, kernel, mechanisms):
    """How often an event comes to one of those with a mechanism that ``kernel`` or what is below it handles."""
    found = {}

    def walk(node, times):
        if node.level <= kernel and node.event in mechanisms:
            found[node.event] = found.get(node.event, 0.0) + times
        elif node.level >= kernel:
            for part in node.parts:
                walk(part.expansion, times * part.times)

    walk(expand(event, on_a_host(stack, is_virtual), size), 1.0)
    return found


@functools.cache
def prices(name):
    """Of all primitives; 0 for those that are never spent there."""
    host = HOSTS[name]
    return np.array([host.price(p) if p in host.prices else 0.0 for p in PRIMITIVES])


def costs(stack, host):
    """Of everything on a stack of a host, ns."""
    return counts(stack, bool(HOSTS[host].outer_monitor)) @ prices(host)


def cheaper(stack, base):
    """What costs less on a stack than on its base: host, event, size, and both costs."""
    for host in HOSTS:
        here, there = costs(stack, host), costs(base, host)
        for row in np.flatnonzero(here < there * (1 - 1e-9)):
            yield host, *EVERYTHING[row], here[row], there[row]


class Change:
    """Layers added to a stack: what the layers above them met before, and what they meet now.

    Above them stands everything of ``base`` from its layer ``kernel`` up: that met ``before`` and meets ``after``.
    """

    def __init__(self, stack, base, added, kernel, before, after):
        self.stack, self.base, self.kernel = stack, base, kernel
        self.before, self.after = before, after
        self.mechanisms = frozenset(event for kind, event in MECHANISMS if kind in added)

    def saved(self, host, event, size):
        """What mechanisms of the added layers save of an event, ns."""
        before, after = costs(self.before, host), costs(self.after, host)
        is_virtual = bool(HOSTS[host].outer_monitor)
        saved = 0.0
        for other, times in issued(event, size, self.base, is_virtual, self.kernel, self.mechanisms).items():
            row = EVERYTHING.index((other, size if EVENTS[other].sized else 0))
            saved += times * max(0.0, before[row] - after[row])
        return saved

    def unexplained(self):
        """Events that cost less by more than mechanisms save, with a host, both costs and what is saved."""
        return {
            event: (host, here, there, saved)
            for host, event, size, here, there in cheaper(self.stack, self.base)
            if here + (saved := self.saved(host, event, size)) < there * (1 - 1e-9)
        }


def prefixes(stack):
    """The stacks that a stack adds layers to, each with the kinds added; the bare kernel is one of them."""
    kinds = [kind.name for kind in stack.kinds]
    yield load_stack("native"), kinds[1:]
    for length in range(3, len(kinds)):
        try:
            yield Stack(stack.card.replace(layers=stack.card.layers[:length])), kinds[length:]
        except SpecError:
            continue


def top_kernel(stack):
    return max(level for level, kind in enumerate(stack.kinds) if kind.role == "kernel")


@pytest.mark.parametrize("name", STACKS)
def test_layers_on_top_never_make_anything_cheaper_unless_a_named_mechanism_does(name):
    stack = load_stack(name)
    for base, added in prefixes(stack):
        assert not Change(stack, base, added, top_kernel(base), base, stack).unexplained(), base


@functools.cache
def possible(upper, lower):
    """One stack on another, or None where a layer lacks something below, which the refusal then says."""
    try:
        return load_stack(f"{upper}-on-{lower}")
    except SpecError as problem:
        if " needs " not in str(problem):
            raise
        return None


@pytest.mark.parametrize("lower", STACKS)
def test_layers_put_below_never_make_anything_cheaper_unless_a_named_mechanism_does(lower):
    added = [kind.name for kind in load_stack(lower).kinds[1:]]
    for upper in STACKS:
        if (stack := possible(upper, lower)) is not None:
            alone = load_stack(upper)
            shared = int(alone.kinds[1].role == "kernel")  # A bare-metal hypervisor takes the place of the kernel.
            change = Change(stack, alone, added, shared, load_stack("native"), load_stack(lower))
            assert not change.unexplained(), upper


@pytest.mark.parametrize("lower", STACKS)
def test_filters_put_on_any_stack_make_nothing_cheaper(lower):
    for upper in ("container-docker", "wine"):
        assert not list(cheaper(possible(upper, lower), load_stack(lower))), upper


def test_every_mechanism_makes_something_cheaper_on_a_shipped_stack():
    found = set()
    for stack in map(load_stack, STACKS):
        for base, added in prefixes(stack):
            for _, event, *_ in cheaper(stack, base):
                found |= {(kind, event) for kind in added}
    assert set(MECHANISMS) <= found
