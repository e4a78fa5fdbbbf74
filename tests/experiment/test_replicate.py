"""Replications, sweeps, engines, resuming; on a closed-form model (closed_form.py)."""

import functools
from pathlib import Path

import pytest

from tests.experiment import closed_form
from virtsim.core.errors import BackendUnavailable, ModelError, SpecError
from virtsim.experiment.design import full_factorial, one_at_a_time
from virtsim.experiment.engines import ENGINES
from virtsim.experiment.progress import track
from virtsim.experiment.replicate import replicate, replicate_to_precision, sweep
from virtsim.results.runset import RunSet
from virtsim.results.statistics import mean_interval
from virtsim.workload.builders import request_server, spin

SIMULATE = {"simulate": closed_form.simulate}


def finished(folder):
    return sorted(path.name for path in (folder / "finished").iterdir())


def test_replications_are_independent_and_repeatable(scenario):
    runs = replicate(scenario, 5, seed=7, **SIMULATE)
    again = replicate(scenario, 5, seed=7, **SIMULATE)
    assert [run.digest for run in runs] == [run.digest for run in again]
    assert len({run.digest for run in runs}) == 5
    assert replicate(scenario, 5, seed=8, **SIMULATE)[0].digest != runs[0].digest
    assert runs.manifest["seed"] == 7
    assert runs.manifest["scenario"] == scenario.digest
    assert runs.manifest["seconds"] >= 0


def test_more_replications_extend_the_fewer(scenario):
    few, many = replicate(scenario, 3, seed=1, **SIMULATE), replicate(scenario, 6, seed=1, **SIMULATE)
    assert [run.digest for run in many][:3] == [run.digest for run in few]


def test_one_worker_or_many_give_the_same_runs(scenario):
    one = replicate(scenario, 6, seed=3, **SIMULATE)
    many = replicate(scenario, 6, seed=3, workers=2, **SIMULATE)
    assert one.digest == many.digest
    here, there = one[0].manifest["pid"], {run.manifest["pid"] for run in many}
    assert here not in there, "the runs were made in other processes"


def test_results_are_in_order_whoever_ends_first(scenario):
    many = replicate(scenario, 6, seed=3, workers=2, simulate=closed_form.last_first)
    assert many.digest == replicate(scenario, 6, seed=3, **SIMULATE).digest


def test_dask_gives_the_same_runs(scenario):
    distributed = pytest.importorskip("distributed", reason="needs virtsim[distributed]")
    with pytest.raises(BackendUnavailable, match="make a client first"):
        replicate(scenario, 1, engine="dask", **SIMULATE)
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster,
        distributed.Client(cluster),
    ):
        runs = replicate(scenario, 6, seed=3, workers=2, engine="dask", **SIMULATE)
    assert runs.digest == replicate(scenario, 6, seed=3, **SIMULATE).digest


def test_a_broken_run_continues(scenario, tmp_path, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        replicate(scenario, 6, seed=2, folder=tmp_path, simulate=closed_form.dies_at_three)
    before = finished(tmp_path)
    stamps = {name: (tmp_path / "finished" / name).stat().st_mtime_ns for name in before}
    assert len(before) == 3
    assert not (tmp_path / "runset.json").exists(), "an unfinished set is not saved"
    monkeypatch.setenv("VIRTSIM_TEST_SURVIVES", "1")
    runs = replicate(scenario, 6, seed=2, folder=tmp_path, simulate=closed_form.dies_at_three)
    assert runs.digest == replicate(scenario, 6, seed=2, **SIMULATE).digest
    assert {name: (tmp_path / "finished" / name).stat().st_mtime_ns for name in before} == stamps
    assert len(finished(tmp_path)) == 6
    assert RunSet.load(tmp_path).digest == runs.digest


def test_a_damaged_run_is_made_again(scenario, tmp_path):
    runs = replicate(scenario, 3, seed=2, folder=tmp_path, **SIMULATE)
    for i, name in enumerate(finished(tmp_path)):
        path = tmp_path / "finished" / name
        path.write_bytes([b"", b"not gzip", path.read_bytes()[:50]][i])
    assert replicate(scenario, 3, seed=2, folder=tmp_path, **SIMULATE).digest == runs.digest


def test_finished_runs_are_those_of_the_same_scenario_seed_and_model(scenario, tmp_path):
    for arguments in (
        {"seed": 1, **SIMULATE},
        {"seed": 2, **SIMULATE},
        {"seed": 1, "simulate": closed_form.last_first},
        {"seed": 1, "timeline": True, **SIMULATE},
    ):
        replicate(scenario, 1, folder=tmp_path, **arguments)
    replicate(scenario.replace(duration=20_000_000), 1, seed=1, folder=tmp_path, **SIMULATE)
    assert len(finished(tmp_path)) == 5


def test_bound_arguments_are_part_of_the_model(scenario, tmp_path):
    """``partial(simulate, folder=...)`` is how a simulator gets more arguments; equal ones find equal runs."""
    for folder in ("a", "b", "a"):
        simulate = functools.partial(closed_form.in_folder, folder=Path(folder))
        replicate(scenario, 1, folder=tmp_path, simulate=simulate)
    assert len(finished(tmp_path)) == 2


def test_workers_write_their_finished_runs(scenario, tmp_path):
    runs = replicate(scenario, 4, seed=5, workers=2, folder=tmp_path, **SIMULATE)
    assert len(finished(tmp_path)) == 4
    assert RunSet.load(tmp_path).digest == runs.digest


# -- sweeps ----------------------------------------------------------------------------------------


def test_a_sweep_is_every_combination_with_common_random_numbers(scenario):
    factors = {"guests.web.2.stack": ["native", "container"], "guests.web.cpu_weight": [100, 300]}
    runs = sweep(scenario, factors, 4, seed=7, **SIMULATE)
    assert runs.points == [
        {"guests.web.2.stack": stack, "guests.web.cpu_weight": weight}
        for stack in ("native", "container")
        for weight in (100, 300)
    ]
    assert [run.scenario.guests[1].stack for run in runs] == ["native"] * 8 + ["container"] * 8
    rows = runs.compare_rows("request_latency_mean", {"guests.web.2.stack": "native"}, entity="web.2/t")
    for row in rows:
        assert row.ratio == pytest.approx(1.02, abs=1e-6), "the same draws, stretched by 2 %"
        assert row.difference.significant


def test_a_sweep_point_is_what_replicating_its_scenario_gives(scenario):
    runs = sweep(scenario, {"guests.web.cpu_weight": [100, 200]}, 3, seed=9, **SIMULATE)
    alone = replicate(runs[3].scenario, 3, seed=9, **SIMULATE)
    assert [run.digest for run in runs][3:] == [run.digest for run in alone]


def test_levels_that_are_workloads_have_labels(scenario):
    workloads = {"spin": spin(), "server": request_server("10/s", "1ms")}
    runs = sweep(scenario, {"guests.web.workload": workloads}, 1, **SIMULATE)
    assert runs.points == [{"guests.web.workload": "spin"}, {"guests.web.workload": "server"}]
    assert runs[1].scenario.guests[0].workload == workloads["server"]


def test_designs():
    factors = {"a": [1, 2, 3], "b": ["x", "y"]}
    assert [tuple(point.labels.values()) for point in full_factorial(factors)] == [
        (1, "x"), (1, "y"), (2, "x"), (2, "y"), (3, "x"), (3, "y"),
    ]  # fmt: skip
    assert [tuple(point.labels.values()) for point in one_at_a_time(factors)] == [
        (1, "x"), (2, "x"), (3, "x"), (1, "y"),
    ]  # fmt: skip


def test_one_factor_at_a_time(scenario):
    factors = {"guests.web.cpu_weight": [100, 200], "duration": ["10ms", "20ms"]}
    assert len(sweep(scenario, factors, 1, design="one-at-a-time", **SIMULATE).points) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"factors": {"guests.wbe.stack": ["x"]}}, "nothing here is called 'wbe'"),
        ({"factors": {"guests.web.cpu_weight": [100, 0]}}, "with guests.web.cpu_weight=0"),
        ({"factors": {"duration": []}}, "duration: a factor needs at least one level"),
        ({"factors": {"duration": "10ms"}}, "duration: levels are a list"),
        ({"factors": {"duration": ["10ms", "10ms"]}}, "duration: the level '10ms' is there twice"),
        ({"factors": {"guests.web.workload": [spin()]}}, "needs a label"),
        ({"factors": {}, "design": "latin"}, "design: 'latin' is not a design; known: full, one-at-a-time"),
        ({"factors": {}, "n": 0}, "n: 0 is not a number of replications"),
        ({"factors": {}, "n": 2.0}, "n: 2.0 is not a number of replications"),
        ({"factors": {}, "seed": -1}, "seed: -1 is not a whole number"),
        ({"factors": {}, "seed": "7"}, "seed: '7' is not a whole number"),
        ({"factors": {}, "workers": 0}, "workers: 0 is not a number of workers"),
        ({"factors": {}, "engine": "gpu"}, "engine: no engine is called 'gpu'; known: dask, processes, serial"),
    ],
)
def test_bad_arguments_are_refused_before_anything_runs(scenario, tmp_path, arguments, message):
    with pytest.raises(SpecError) as caught:
        sweep(scenario, **{"n": 2, "folder": tmp_path / "out", **arguments}, **SIMULATE)
    assert message in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_the_model_arrives_as_itself(scenario, workers):
    with pytest.raises(ModelError, match="the host is broken") as caught:
        sweep(scenario, {"host": ["this", "broken"]}, 2, workers=workers, **SIMULATE)
    assert any("of host='broken'" in note for note in caught.value.__notes__)


# -- precision -------------------------------------------------------------------------------------


def test_replications_to_a_precision(scenario, tmp_path):
    runs = replicate_to_precision(
        scenario, 0.03, entity="web/t", metric="request_latency_mean", seed=1, folder=tmp_path, **SIMULATE
    )
    assert runs.manifest["precision_reached"]
    # Exponential latencies: a run's mean has a coefficient of variation of 1/sqrt(200) = 7 %, so about 21 are needed.
    assert 12 <= len(runs) <= 60
    assert mean_interval(runs.values("web/t", "request_latency_mean")).relative_half_width < 0.035
    assert RunSet.load(tmp_path).digest == runs.digest
    assert runs.digest == replicate(scenario, len(runs), seed=1, **SIMULATE).digest


def test_a_precision_that_is_not_reached_is_said(scenario):
    runs = replicate_to_precision(
        scenario, 1e-6, entity="web/t", metric="request_latency_mean", n_max=12, n_min=10, **SIMULATE
    )
    assert (len(runs), runs.manifest["precision_reached"]) == (12, False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"precision": 0.1, "metric": "throttled_time"}, "metric: 10 of 10 runs have no throttled_time of 'web/t'"),
        ({"precision": 0.0, "metric": "cpu_time"}, "precision: 0.0 is not"),
        ({"precision": 0.1, "metric": "cpu_time", "n_min": 1}, "n_min: 1 must lie between 2"),
    ],
)
def test_bad_precisions_are_refused(scenario, arguments, message):
    with pytest.raises(SpecError) as caught:
        replicate_to_precision(scenario, entity="web/t", **arguments, **SIMULATE)
    assert message in str(caught.value)


# -- manners ---------------------------------------------------------------------------------------


def test_nothing_is_printed(scenario, capfd):
    replicate(scenario, 2, **SIMULATE)
    assert capfd.readouterr() == ("", "")


def test_progress_can_be_asked_for(capsys):
    assert list(track(range(3), "runs", show=True)) == [0, 1, 2]
    assert "runs" in capsys.readouterr().err


def test_engines_are_a_plug_point():
    assert list(ENGINES) == ["dask", "processes", "serial"]
