"""Comparing stacks: the ratio of two expansions, with what it rests on."""

import pytest

from virtsim.core.data import models_folder
from virtsim.core.errors import SpecError
from virtsim.platform.expand import price
from virtsim.platform.host import load_host
from virtsim.platform.mixes import load_mix
from virtsim.platform.operations import Event
from virtsim.platform.overhead import overheads
from virtsim.platform.stack import load_stack

HOST = load_host("xeon-8269cy-linux-4.19")


def test_an_overhead_is_the_ratio_of_two_expansions_less_one():
    found = overheads("page_fault", ["kvm-shadow", "xen-pv"], HOST, n=200, seed=7)
    for row in found:
        mine, bare = (price(load_stack(s).expand("page_fault").totals, HOST) for s in (row.stack, "native"))
        assert row.cost_ns.value == pytest.approx(mine)
        assert row.over.value == pytest.approx(mine / bare - 1)
        assert row.over.low < row.over.value < row.over.high
    assert found["xen-pv"].assumed > 0.9 > 0.1 > found["kvm-shadow"].assumed, "hypercalls were not measured there"


def test_what_is_alike_costs_nothing_more_and_for_sure():
    row = overheads("null", ["container"], HOST, n=200)["container"]
    assert (row.over, row.assumed) == ((0.0, 0.0, 0.0), 0.0)


def test_work_is_a_mix_an_event_or_events_and_the_base_any_stack():
    mix = load_mix("units-of-work/compile")
    by_name = overheads("units-of-work/compile", ["kvm"], "xeon-8269cy-linux-4.19", n=200, seed=1)
    by_hand = overheads((Event(e.event, e.times, e.size) for e in mix.events), [load_stack("kvm")], HOST, n=200, seed=1)
    assert by_name.rows == by_hand.rows
    on_kvm = overheads("cpuid", ["kvm-nested"], HOST, base="kvm", n=200)
    assert on_kvm["kvm-nested"].over.value == pytest.approx(12.9, abs=1.5)
    assert on_kvm.title == "cpuid over kvm, host xeon-8269cy-linux-4.19"


def test_cards_may_be_files_anywhere(tmp_path):
    (tmp_path / "deep.toml").write_text((models_folder() / "stacks" / "kvm-shadow.toml").read_text())
    shop = tmp_path / "shop.toml"
    shop.write_text(
        'name = "shop"\ndescription = "A shop."\n[mixes.order]\nsource = "counted"\n'
        'events = [{ event = "page_fault" }, { event = "cpuid", times = 0.1 }]\n'
    )
    path = str(tmp_path / "deep.toml")
    (mine, stacked) = overheads(f"{shop}/order", [path, f"{path}-on-kvm"], HOST.name)
    (shipped,) = overheads([Event("page_fault"), Event("cpuid", 0.1)], ["kvm-shadow"], HOST)
    assert mine.cost_ns.value == pytest.approx(shipped.cost_ns.value)
    assert stacked.cost_ns.value > mine.cost_ns.value
    with pytest.raises(SpecError, match=r"there is no stack card '.*shallow\.toml'"):
        overheads("null", [str(tmp_path / "shallow.toml")], HOST)
    shop.write_text(shop.read_text().replace("cpuid", "cpuidd"))
    with pytest.raises(SpecError, match=r"shop\.toml: mixes\.order\.events\[1\]\.event: .* did you mean 'cpuid'\?"):
        overheads(f"{shop}/order", ["kvm"], HOST)


def test_a_table_prints_itself():
    found = overheads("page_fault", ["container", "kvm-shadow"], HOST, n=200)
    lines = repr(found).splitlines()
    assert lines[1].split("  ")[0] == "stack"
    assert lines[3].startswith("kvm-shadow  3.4")
    assert "<td>kvm-shadow</td>" in found._repr_html_()
    with pytest.raises(SpecError, match="'kvm' was not compared; there are: container, kvm-shadow"):
        found["kvm"]


def test_a_base_that_spends_nothing_is_refused():
    with pytest.raises(SpecError, match="base: the work costs nothing on 'native'"):
        overheads([Event("first_touch")], ["kvm-shadow"], HOST)
