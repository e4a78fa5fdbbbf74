"""Hosts that are virtual machines: their guests are nested, as if the outer monitor were a layer of the stack."""

import msgspec
import pytest

from virtsim.core.errors import SpecError
from virtsim.core.spec import from_builtins
from virtsim.platform.costs import Costs
from virtsim.platform.draws import PriceDraws
from virtsim.platform.events import EVENTS
from virtsim.platform.expand import expand, price
from virtsim.platform.host import BARE_ONLY, OF_THE_MACHINE, HostCard, load_host
from virtsim.platform.operations import Event
from virtsim.platform.primitives import PRIMITIVES
from virtsim.platform.stack import load_stack

BARE = load_host("xeon-8269cy-linux-4.19")
VIRTUAL = load_host("epyc-guest-linux-6.18")
#: Instructions that a guest of KVM cannot execute by itself.
EXITING = (
    "cpuid",
    "msr_access",
    "cr_write",
    "port_io",
    "mmio_access",
    "halt",
    "ipi_send",
    "timer_program",
    "interrupt",
)


def price_at(card, name, ns):
    return msgspec.structs.replace(card.prices[name], value=ns, low=None, high=None)


def guest_of(bare, stack):
    """The card of a virtual machine on that stack, each instruction at the price that it has there."""
    prices = {name: price_at(bare, name, price(expand(name, load_stack(stack)), bare)) for name in EXITING}
    kept = {name: parameter for name, parameter in bare.prices.items() if name not in BARE_ONLY}
    return bare.replace(name="guest", virtual="KVM", prices={**kept, **prices})


#: TLB misses have a price a reference, whoever walks; the second dimension is in the price of a real virtual host.
SAME_WALKS = [event for event, kind in EVENTS.items() if kind.interface == "system"] + [*EXITING, "invalid_opcode"]


@pytest.mark.parametrize("upper", ["native", "kvm", "kvm-shadow", "pvm", "container-in-kvm", "gvisor-kvm", "xen-hvm"])
def test_a_stack_on_a_virtual_host_costs_what_it_costs_on_the_monitor_below_it(upper):
    """An exit there takes what CPUID takes: what emulating CPUID takes besides is the only difference."""
    guest, stack = guest_of(BARE, "kvm"), load_stack(upper)
    nested = load_stack(f"{upper}-on-kvm-emulated-devices" if upper != "native" else "kvm-emulated-devices")
    here = stack.on_host(guest)
    for event in SAME_WALKS:
        if event in ("file_io", "packet_send", "packet_receive"):
            continue  # The doorbell of a virtual host's own device has one price, its back end none.
        exits = sum(times for name, times in reached(expand(event, here, 64)).items() if name in CAUGHT)
        mine, theirs = price(expand(event, here, 64), guest), price(expand(event, nested, 64), BARE)
        assert mine == pytest.approx(theirs + exits * BARE.price("instruction_emulate")), event


#: What the outer monitor gets hold of on behalf of guests of this machine.
CAUGHT = BARE_ONLY | {"invalid_opcode"}


def reached(node, times=1.0):
    """How often each event arrives at the virtual hardware."""
    if node.level == 0:
        return {node.event: times}
    found = {}
    for part in node.parts:
        for event, count in reached(part.expansion, times * part.times).items():
            found[event] = found.get(event, 0.0) + count
    return found


def test_what_exits_on_a_virtual_host_costs_natively_what_was_measured():
    for event in EXITING:
        assert price(expand(event, load_stack("native").on_host(VIRTUAL)), VIRTUAL) == VIRTUAL.price(event)
        assert price(expand(event, load_stack("container-docker").on_host(VIRTUAL)), VIRTUAL) == VIRTUAL.price(event)


def test_exits_multiply_on_a_virtual_host():
    """One more level than on a bare one: two exits to the outer monitor for each of this machine's, four below that."""
    for name, exits in (("kvm", 2), ("kvm-nested", 4), ("kvm-on-kvm-nested", 8)):
        totals = load_stack(name).on_host(VIRTUAL).expand("cpuid").totals
        assert totals["cpuid"] == exits
        assert not BARE_ONLY & set(totals)
        assert load_stack(name).expand("cpuid").totals["vm_exit"] == exits / 2


def test_without_shadowing_below_each_access_to_a_control_block_is_an_exit():
    stack = load_stack("kvm").with_parameters({"kvm": {"vmcs_reads": 7, "vmcs_writes": 4}}).on_host(VIRTUAL)
    assert stack.expand("cpuid").totals["cpuid"] == 2
    plain = stack.with_parameters({"virtual-hardware": {"vmcs_shadowing": 0}})
    assert plain.expand("cpuid").totals["cpuid"] == 2 + 7 + 4
    assert plain.expand("cpuid").totals["vmcs_emulate"] == 11


@pytest.mark.parametrize(
    "name", ["native", "container-docker", "pvm", "uml", "gvisor-systrap", "tcg", "xen-pv", "wine"]
)
def test_stacks_without_extensions_are_the_same_on_virtual_hardware(name):
    stack = load_stack(name)
    for event in EVENTS:
        if EVENTS[event].interface == "system" or event in EXITING:
            assert stack.on_host(VIRTUAL).expand(event, 64).totals == stack.expand(event, 64).totals, event


def test_bare_hosts_leave_stacks_as_they_are():
    for name in ("native", "kvm", "xen-hvm"):
        assert load_stack(name).on_host(BARE) is load_stack(name)
    placed = load_stack("kvm").on_host(VIRTUAL)
    assert placed.on_host(VIRTUAL) is placed
    with pytest.raises(SpecError, match=r"layers\[0\].kind: host 'xeon-8269cy-linux-4.19' is not a virtual machine"):
        placed.on_host(BARE)


def test_whoever_prices_stacks_puts_them_on_the_host_first():
    stack, ns = load_stack("kvm"), price(load_stack("kvm").on_host(VIRTUAL).expand("cpuid"), VIRTUAL)
    assert ns > 3 * VIRTUAL.price("cpuid")
    assert Costs(VIRTUAL, stack).event_ns("cpuid") == round(ns)
    assert PriceDraws(VIRTUAL, n=1).work([Event("cpuid")], stack)[0] == pytest.approx(ns)
    text = str(stack.explain("cpuid", VIRTUAL))
    assert "cpuid on kvm (machine under KVM · linux · kvm · vhost · guest linux)" in text
    assert text.count("to the outer monitor and back, which CPUID takes here  measured: CPUID in a loop") == 2
    assert text.splitlines()[-1] == "by layer: kvm 330 ns, machine under KVM 15.1 us"
    with pytest.raises(SpecError, match=r"prices\.vm_exit: this host is itself a virtual machine \(KVM\)"):
        price(stack.expand("cpuid"), VIRTUAL)


def test_cards_that_do_not_say_are_told_apart_by_cpuid():
    old = VIRTUAL.to_builtins()
    del old["virtual"]
    assert from_builtins(old, HostCard).outer_monitor == "an unknown monitor"
    assert BARE.virtual is None
    assert BARE.outer_monitor == ""
    assert BARE.with_prices({"cpuid": price_at(BARE, "cpuid", 4000.0)}).outer_monitor
    said = BARE.replace(virtual="")
    assert not said.with_prices({"cpuid": price_at(BARE, "cpuid", 4000.0)}).outer_monitor


@pytest.mark.parametrize("host", [BARE, VIRTUAL])
@pytest.mark.parametrize("factor", [0.0, 0.01, 100.0])
def test_a_scaled_host_stays_virtual_or_bare(host, factor):
    assert host.scaled(factor).outer_monitor == host.outer_monitor


def test_a_card_for_a_machine_of_the_other_sort_borrows_what_the_monitor_below_has_a_hand_in():
    bare = VIRTUAL.on_machine("", BARE)
    assert set(bare.prices) == set(PRIMITIVES)
    for name, parameter in bare.prices.items():
        owner = BARE if name in OF_THE_MACHINE else VIRTUAL
        assert parameter.value == owner.prices[name].value, name
        if name in OF_THE_MACHINE:
            assert parameter.status == "assumed"
            assert parameter.source.startswith("assumed: as on xeon-8269cy-linux-4.19: ")
            assert parameter.low < parameter.value < parameter.high
    assert not bare.outer_monitor
    assert load_stack("kvm").on_host(bare) is load_stack("kvm")
    virtual = BARE.on_machine("Xen", VIRTUAL)
    assert virtual.outer_monitor == "Xen"
    assert set(virtual.prices) == set(PRIMITIVES) - BARE_ONLY
    assert VIRTUAL.on_machine("KVM", VIRTUAL) == VIRTUAL
