"""Who spends what: the parts by layer add up to the whole, on every stack; and stacks with other parameters."""

import math

import pytest

from virtsim.core.data import models_folder
from virtsim.core.errors import SpecError
from virtsim.platform.expand import price, price_interval
from virtsim.platform.host import load_host
from virtsim.platform.layers.base import exact
from virtsim.platform.stack import load_stack

HOST = load_host("xeon-8269cy-linux-4.19")
STACKS = sorted(path.stem for path in (models_folder() / "stacks").glob("*.toml"))


@pytest.mark.parametrize("event", ["page_fault", "file_io", "cpuid", "context_switch"])
@pytest.mark.parametrize("name", STACKS)
def test_what_layers_spend_adds_up_to_the_event(name, event):
    explanation = load_stack(name).explain(event, HOST, 4096)
    rows = explanation.spent()
    assert math.fsum(row.cost_ns for row in rows) == pytest.approx(price(explanation.expansion, HOST))
    totals = {}
    for row in rows:
        totals[row.primitive] = totals.get(row.primitive, 0.0) + row.times
    assert totals == pytest.approx(dict(explanation.expansion.totals))
    assert [row.level for row in rows] == sorted((row.level for row in rows), reverse=True)


def test_the_cost_is_the_price_with_its_interval():
    explanation = load_stack("kvm").explain("cpuid", HOST)
    assert explanation.cost == price_interval(explanation.expansion, HOST)
    with pytest.raises(SpecError, match=r"host: a cost needs a host's prices"):
        load_stack("kvm").explain("cpuid").cost  # noqa: B018


def test_the_layer_is_the_one_that_spends():
    spent = {(row.layer, row.primitive): row.times for row in load_stack("kvm-nested").explain("cpuid").spent()}
    assert spent["L0 kvm", "nested_switch"] == 2
    assert spent["L1 kvm", "instruction_emulate"] == 1
    assert ("L1 kvm", "vm_exit") not in spent, "the exits that L1's monitor executes are handled below"
    assert load_stack("native").explain("cpuid").spent() == [(0, "hardware", "cpuid", 1.0, None)]


def test_the_printed_tree_ends_with_the_costs_by_layer():
    text = str(load_stack("kvm-nested").explain("cpuid", HOST))
    assert text.splitlines()[-1] == "by layer: L1 kvm 330 ns, L0 kvm 7.18 us"
    twice = str(load_stack("kvm-on-kvm").explain("cpuid", HOST))
    assert twice.splitlines()[-1] == "by layer: kvm 330 ns, kvm 7.18 us"
    assert "by layer" not in str(load_stack("kvm").explain("cpuid"))


def test_a_batch_is_told_in_the_tree():
    batched = load_stack("kvm").with_parameters({"virtio": {"batch": 8}})
    lines = {line.event: line for line in batched.explain("packet_send").lines()}
    assert (lines["doorbell"].times, lines["doorbell"].note) == (0.125, "one for 8 requests")
    assert "one for" not in str(load_stack("kvm").explain("packet_send"))


def test_a_stack_with_other_parameters():
    stack = load_stack("kvm")
    batched = stack.with_parameters({"virtio": {"batch": 4}, "kvm": {"vmcs_shadowing": exact(0, "switch", "of 2010")}})
    assert batched.expand("file_io").totals["doorbell_signal"] == pytest.approx(0.25)
    assert stack.expand("file_io").totals["doorbell_signal"] == 1.0, "the stack itself stays"
    parameter = batched.settings[3].parameters["batch"]
    assert (parameter.unit, parameter.status) == ("1/event", "assumed")
    assert batched.settings[2].parameters["vmcs_shadowing"].status == "exact"
    assert batched != stack
    everywhere = load_stack("kvm-nested").with_parameters({"kvm": {"apicv": 0}})
    assert [s["apicv"] for k, s in zip(everywhere.kinds, everywhere.settings, strict=True) if k.name == "kvm"] == [0, 0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"virtio": {"batch": float("nan")}},
            r"stack 'kvm': layers\[3\].parameters.batch.value: is nan but must be a finite",
        ),
        ({"virtio": {"refill": 7}}, r"layers\[3\].parameters.refill.value: is 7 but a share is at most 1"),
        ({"xen": {"batch": 2}}, "stack 'kvm': no layer is called 'xen'; its layers are: hardware, linux, kvm, vhost"),
        ({"vhost": {"bunch": 2}}, r"layers\[3\].parameters.bunch: this kind of layer has no such parameter"),
        (
            {"vhost": {"batch": exact(2, "ns", "x")}},
            r"layers\[3\].parameters.batch.unit: is 'ns' but must be '1/event'",
        ),
    ],
)
def test_parameters_that_a_stack_does_not_have_are_refused(changes, message):
    with pytest.raises(SpecError, match=message):
        load_stack("kvm").with_parameters(changes)
