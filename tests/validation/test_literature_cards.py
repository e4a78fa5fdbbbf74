"""Cards of one's own: more rows of a paper that ships, rows without a published value, and another machine."""

import math

import msgspec
import pytest

from virtsim import Guest, Scenario, operations, simulate, workloads
from virtsim.core.errors import SpecError
from virtsim.core.spec import dump_toml
from virtsim.platform.host import load_host
from virtsim.platform.stack import load_stack
from virtsim.validation.literature import paper_stack, validate_literature, validate_paper
from virtsim.validation.literature_cards import load_paper
from virtsim.validation.literature_fit import calibration_rows, fit_prices
from virtsim.validation.literature_intervals import drawn_prices, paper_intervals

FORK = """
[[rows]]
benchmark = "fork"
where = "table 3"
level = "micro"
unit = "us"
fixed = "lmbench/fork"
published = { linux = 110.0, xen = 198.0, uml = 21000.0 }
predict = ["vmware"]
"""
MORE = f"""
name = "more"
title = "More rows, 2026"
like = "xen-2003"
{FORK}
"""


def card(tmp_path, text, name="more.toml"):
    path = tmp_path / name
    path.write_text(text)
    return str(path)


def test_a_card_that_is_like_another_predicts_as_that_one_does(tmp_path):
    paper, model = load_paper(card(tmp_path, MORE)), load_paper("xen-2003")
    assert (paper.host, paper.base, paper.given) == (model.host, model.base, model.given)
    assert paper.stacks == model.stacks
    assert calibration_rows(paper) == [], "whoever takes prices over fits none"
    mine = {r.stack: r.predicted for r in validate_paper(paper).results}
    theirs = {r.stack: r.predicted for r in validate_paper(model).results if r.benchmark == "fork"}
    assert mine == theirs


def test_its_prices_are_as_open_as_those_of_the_other(tmp_path):
    """The posterior of the other's calibration rows: fork was fitted, so hardly anything of it is open."""
    paper = load_paper(card(tmp_path, MORE))
    low, high = paper_intervals(paper)["table 3", "fork", "vmware"]
    assert 0.9 < low / 874.0 < high / 874.0 < 1.1


def test_what_has_no_published_value_is_predicted_and_judged_by_nobody(tmp_path):
    report = validate_literature([card(tmp_path, MORE)])
    (open_one,) = (r for r in report.results if r.use == "unpublished")
    assert open_one.stack == "vmware"
    assert math.isnan(open_one.published)
    assert open_one.low < open_one.predicted < open_one.high
    assert [r.stack for r in report.predictions()] == ["xen", "uml"]
    assert report.orderings() == (3, 3)
    assert "nan" not in str(report)
    assert "nan" not in report._repr_html_()
    alone = card(tmp_path, MORE.replace(", xen = 198.0, uml = 21000.0", ""), "alone.toml")
    assert "unpublished" in str(validate_literature([alone]))


def test_stacks_may_be_added(tmp_path):
    text = MORE.replace('"vmware"]', '"vmware", "kvm"]') + '\n[stacks.kvm]\ncard = "kvm"\n'
    assert {"linux", "kvm"} < set(load_paper(card(tmp_path, text)).stacks)


@pytest.mark.parametrize("name", ["xen-2003.vmware", "turtles-2010.nested-drw", "ibm-2014.nat"])
def test_a_papers_systems_are_stacks(name):
    paper, _, stack = name.partition(".")
    found = load_stack(name)
    assert found.name == name
    assert found == paper_stack(load_paper(paper), stack)
    for event in ("fork_exec", "packet_send", "cpuid"):
        assert found.expand(event, 64).totals == paper_stack(load_paper(paper), stack).expand(event, 64).totals


def test_a_papers_systems_run_in_scenarios_and_on_other_stacks():
    work = workloads.repeat(operations.Work(unit="cpuid", times=1000.0), count=1)
    guest = Guest("g", work, stack="turtles-2010.nested", vcpus=1)
    run = simulate(Scenario(host="xeon-2900-linux-2.6", guests=[guest], duration="1s"))
    cost = load_stack("turtles-2010.nested").explain("cpuid", load_host("xeon-2900-linux-2.6")).cost
    assert run.value("g/repeat", "cpu_time") == pytest.approx(1000 * cost.ns, rel=0.02)
    below = [layer.kind for layer in load_stack("turtles-2010.guest").card.layers]
    assert [layer.kind for layer in load_stack("container-on-turtles-2010.guest").card.layers] == [*below, "container"]


def test_what_is_no_system_of_a_paper_lists_those_that_are(monkeypatch, tmp_path):
    with pytest.raises(
        SpecError, match="paper 'turtles-2010' has no stack 'nestd'; known: native, guest, nested, nested-drw"
    ):
        load_stack("turtles-2010.nestd")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "virtsim" / "literature").mkdir(parents=True)
    card(tmp_path / "virtsim" / "literature", MORE)
    assert load_stack("more.vmware").expand("cpuid").totals == load_stack("xen-2003.vmware").expand("cpuid").totals
    with pytest.raises(SpecError, match=r"no stack is called 'moore\.vmware'"):
        load_stack("moore.vmware")


REFUSED = {
    "unit": (
        '"us"',
        '"GUPS"',
        "rows[0].unit: 'GUPS' is no time; known: %, ns, us, ms, s, cycles; if more of it is better",
    ),
    "host": ('like = "xen-2003"', 'like = "xen-2003"\nhost = "opteron-2007"', "host: is that of 'xen-2003'"),
    "like": ('"xen-2003"', '"xen-2004"', "like: no paper is called 'xen-2004'; did you mean 'xen-2003'?"),
    "stack": ('"vmware"]', '"esx"]', "rows[0].predict: no such stack in this paper: 'esx'; known: linux, xen, vmware"),
    "both": ('"vmware"]', '"xen"]', "rows[0].predict: 'xen' has a published value and is predicted anyway"),
    "fit": ("predict = ", 'calibration = ["xen"]\npredict = ', "the prices are those of 'xen-2003'; only a scale is"),
}


@pytest.mark.parametrize(("old", "new", "message"), REFUSED.values(), ids=REFUSED)
def test_what_it_may_not_say_is_refused_with_the_path(tmp_path, old, new, message):
    with pytest.raises(SpecError) as caught:
        load_paper(card(tmp_path, MORE.replace(old, new)))
    assert message in str(caught.value)
    assert "more.toml: " in str(caught.value)


@pytest.mark.parametrize(
    ("mix", "message"),
    {
        "fork": "more: fork: a mix is named with its card",
        "lmbench/frk": "more: fork: workload 'lmbench': no mix is",
    }.items(),
)
def test_a_mix_that_is_none_is_told_with_the_row(tmp_path, mix, message):
    with pytest.raises(SpecError, match=message):
        validate_literature([card(tmp_path, MORE.replace("lmbench/fork", mix))])


def test_cycles_need_a_clock():
    paper = load_paper("turtles-2010")
    with pytest.raises(SpecError, match=r"frequency: 'cpuid' is in cycles, and nobody says the clock"):
        validate_paper(paper, load_host(paper.host).replace(frequency=0))


def test_a_card_is_not_like_one_that_is_like_another(tmp_path):
    first = card(tmp_path, MORE, "first.toml")
    with pytest.raises(SpecError, match="'more' is itself like 'xen-2003'; name that one"):
        load_paper(card(tmp_path, MORE.replace("xen-2003", first)))


def test_without_fitted_rows_the_host_cards_intervals_count(tmp_path):
    """A machine whose prices are known exactly leaves nothing open; one price with an interval leaves just that."""
    host = load_host("xeon-2400-linux-2.4")
    exact = {k: msgspec.structs.replace(p, low=None, high=None) for k, p in host.prices.items()}
    switch = exact["task_switch"]
    exact["task_switch"] = msgspec.structs.replace(switch, low=switch.value / 2, high=switch.value * 2)
    machine = card(tmp_path, dump_toml(host.replace(name="mine", prices=exact)), "mine.toml")
    rows = FORK.replace(", xen = 198.0, uml = 21000.0", "").replace('["vmware"]', '["kvm"]')
    stacks = '[stacks.linux]\ncard = "native"\n[stacks.kvm]\ncard = "kvm"\n'
    text = f'name = "own"\ntitle = "Own, 2026"\nhost = "{machine}"\nbase = "linux"\n{stacks}{rows}'
    paper = load_paper(card(tmp_path, text, "own.toml"))
    drawn = drawn_prices(paper, load_host(machine), 50)
    assert {name for name, values in drawn.items() if len(set(values)) > 1} == {"task_switch"}
    assert set(fit_prices(paper, host)) == set(host.prices)
