"""Comparison and verdicts, on runs made by the model and dressed up as real ones."""

from __future__ import annotations

import json

import msgspec
import pytest

from virtsim import Group, Guest, Scenario, workloads
from virtsim.core.errors import SpecError
from virtsim.core.parameter import Parameter
from virtsim.core.streams import Streams
from virtsim.machine import simulate
from virtsim.platform.host import reference_card
from virtsim.scenario.quotas import fit_quotas
from virtsim.validation.compare import compare, quantile
from virtsim.validation.predict import drawn_card, predict
from virtsim.validation.suites.container import container
from virtsim.validation.suites.smoke import smoke
from virtsim.validation.validate import ValidationReport, check_disjoint, compare_with_model, validate
from virtsim.validation.verdict import Margin, Verdict, judge

CARD = reference_card()


def as_real(run, factor=1.0):
    tasks = [msgspec.structs.replace(task, cpu_time_ns=round(task.cpu_time_ns * factor)) for task in run.tasks]
    guests = [msgspec.structs.replace(guest, cpu_time_ns=round(guest.cpu_time_ns * factor)) for guest in run.guests]
    return msgspec.structs.replace(run, world="real", tasks=tasks, guests=guests)


def test_a_run_agrees_with_itself():
    run = simulate(smoke(2)[0], host=CARD)
    comparison = compare(run, as_real(run))
    assert comparison.rows
    assert all(row.verdict == "PASSED" and row.error == 0 for row in comparison.rows)


@pytest.mark.parametrize(
    ("factors", "verdict"),
    [((1.0, 1.02), "PASSED"), ((1.2, 1.21), "FAILED"), ((1.0, 1.2, 1.4), "UNDECIDED")],
    ids=["within 5 %", "20 % off and repeatable", "20 % off and noisy"],
)
def test_verdicts(factors, verdict):
    run = simulate(smoke(2)[0], host=CARD)
    rows = compare(run, [as_real(run, factor) for factor in factors], ["cpu_time"]).rows
    assert {row.verdict for row in rows} == {verdict}


def test_an_absolute_margin_saves_small_numbers():
    assert judge(3, 2, 0.0, Margin(0.05, 1)) == Verdict.PASSED
    assert judge(4, 2, 0.0, Margin(0.05, 1)) == Verdict.FAILED


def test_runs_of_other_worlds_or_scenarios_are_refused():
    first, second = (simulate(scenario, host=CARD) for scenario in smoke(2)[:2])
    with pytest.raises(SpecError, match="of the model world"):
        compare(first, first)
    with pytest.raises(SpecError, match="different scenarios"):
        compare(first, as_real(second))
    with pytest.raises(SpecError, match="no run"):
        compare([], as_real(first))


def test_a_real_run_is_judged_by_the_quotas_that_its_kernel_took():
    """A quota that does not fit into the one around (cgroup v1 refuses it) is throttled in each of its own periods."""
    groups = [Group(name="out", cpu_max="20ms/200ms")]
    guests = [Guest(name="c", group="out", cpu_max="9ms/10ms", workload=workloads.spin())]
    scenario = Scenario(groups=groups, guests=guests, duration="1s", host=reference_card().name)
    limited = as_real(simulate(fit_quotas(scenario)))
    cut = msgspec.structs.replace(
        limited, scenario=scenario, manifest=limited.manifest | {"cgroups": {"clamped_quotas": ["c"]}}
    )
    assert {row.verdict for row in compare_with_model([cut], replications=2).rows} == {Verdict.PASSED.value}
    whole = msgspec.structs.replace(limited, scenario=scenario)
    assert Verdict.FAILED.value in {row.verdict for row in compare_with_model([whole], replications=2).rows}


def test_a_real_run_is_judged_at_the_speed_its_machine_had():
    guests = [Guest(name="g", workload=workloads.spin(work="50ms"))]
    scenario = Scenario(guests=guests, duration="1s", host=CARD.name)
    told = CARD.replace(reference_round=Parameter(value=0.8, unit="ns", source="a test", date="2026"))
    real = as_real(simulate(scenario, host=told.at_speed(1.2)))
    slow, unknown = (
        msgspec.structs.replace(real, manifest=real.manifest | told_by)
        for told_by in ({"runner": {"round_ns": [1.19, 1.21]}}, {})
    )
    assert {row.verdict for row in compare_with_model([slow], host=told, replications=2).rows} == {"PASSED"}
    assert "FAILED" in {row.verdict for row in compare_with_model([unknown], host=told, replications=2).rows}


def test_quantiles_interpolate():
    assert [quantile([1, 2, 3, 4], level) for level in (0, 0.5, 1)] == [1, 2.5, 4]


def test_a_prediction_draws_prices_within_reason_and_repeats_itself():
    first, second = (drawn_card(CARD, Streams(3, replication)) for replication in (1, 2))
    assert first.price("compute") != second.price("compute")
    assert drawn_card(CARD, Streams(3, 1)) == first
    assert 0.8 < first.price("compute") / CARD.price("compute") < 1.2
    scenario = smoke(2)[0]
    assert [run.digest for run in predict(scenario, n=3, host=CARD)] == [
        run.digest for run in predict(scenario, n=3, host=CARD)
    ]


def test_suites_have_enough_scenarios_with_different_names_and_none_of_the_calibration():
    for suite, least in ((smoke, 6), (container, 24)):
        scenarios = suite(2)
        assert len(scenarios) >= least
        assert len({scenario.name for scenario in scenarios}) == len(scenarios)
        check_disjoint(scenarios)
        assert all(scenario.cpus is not None and list(scenario.cpus) == [0] for scenario in suite(1))
    with pytest.raises(SpecError, match="cannot validate"):
        check_disjoint([smoke(1)[0].replace(name="calibrate-null")])


def test_recorded_runs_are_judged_without_a_kernel():
    scenarios = smoke(CARD.topology.cpus)
    recorded = [as_real(simulate(scenario, seed=1, host=CARD)) for scenario in scenarios[:3]]
    report = validate("smoke", quick=True, host=CARD, recorded=recorded)
    assert isinstance(report, ValidationReport)
    counts = report.comparison.counts()
    assert counts["PASSED"] > 0
    assert counts["SKIPPED"] == 3
    data = json.loads(report.to_json())
    assert set(data) == {"rows", "summary", "manifest"}
    wanted = {"scenario", "metric", "role", "unit", "model", "model_low", "model_high", "real", "real_spread", "error"}
    assert wanted | {"verdict", "margin"} <= set(data["rows"][0])


@pytest.mark.parametrize(
    ("factors", "verdict"),
    [((1.0, 1.001), "PASSED"), ((1.2, 1.201), "FAILED"), ((1.0, 1.06), "UNDECIDED"), ((1.0,), "UNDECIDED")],
)
def test_runs_that_were_all_disturbed_decide_where_they_agree(factors, verdict):
    run = simulate(smoke(CARD.topology.cpus)[0], seed=1, host=CARD)
    noisy = {**run.manifest, "noise": {"disturbed": True}}
    recorded = [msgspec.structs.replace(as_real(run, factor), manifest=noisy) for factor in factors]
    rows = validate("smoke", quick=True, host=CARD, recorded=recorded).rows
    rows = [row for row in rows if row.scenario == run.scenario.name and row.metric == "cpu_time"]
    assert rows
    for row in rows:
        assert row.verdict == verdict
        assert row.reason.startswith("all runs were disturbed")
