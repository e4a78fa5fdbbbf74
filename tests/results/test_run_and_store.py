"""Histograms, runs and their files."""

import gzip
import json

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtsim.core.errors import SpecError
from virtsim.core.spec import Duration
from virtsim.results.histogram import Histogram, bucket_bounds, bucket_of
from virtsim.results.manifest import make_manifest
from virtsim.results.run import RequestRecord, Slice, TaskRecord, Throttle, Wakeup
from virtsim.results.schema import METRICS
from virtsim.results.store import load_runs, save_runs

DURATIONS = st.integers(0, 2**62)


@given(DURATIONS)
def test_a_bucket_holds_its_value_and_is_narrow(value):
    low, high = bucket_bounds(bucket_of(value))
    assert low <= value < high
    assert high - low <= max(1, value / 128)


@given(st.integers(0, 8000))
def test_buckets_follow_each_other(index):
    low, high = bucket_bounds(index)
    assert bucket_of(low) == bucket_of(high - 1) == index
    assert bucket_of(high) == index + 1


@given(st.lists(DURATIONS, max_size=60), st.lists(DURATIONS, max_size=60))
def test_merging_is_adding(left, right):
    merged, other, together = Histogram(), Histogram(), Histogram()
    for value in left:
        merged.add(value)
    for value in right:
        other.add(value)
    for value in left + right:
        together.add(value)
    merged.merge(other)
    assert merged == together
    assert (merged.count, merged.sum_ns) == (len(left + right), sum(left + right))
    if left + right:
        assert (merged.min_ns, merged.max_ns) == (min(left + right), max(left + right))


@given(st.lists(st.integers(0, 10**10), min_size=1, max_size=200), st.floats(0, 100))
def test_percentiles_are_within_a_bucket_of_the_exact_ones(values, percent):
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    exact_low = np.percentile(values, percent, method="lower")
    exact_high = np.percentile(values, percent, method="higher")
    got = histogram.percentile_ns(percent)
    assert exact_low * (1 - 1 / 128) - 1 <= got <= exact_high * (1 + 1 / 128) + 1
    assert min(values) <= got <= max(values)


def test_an_empty_histogram():
    assert (Histogram().mean_ns, Histogram().percentile_ns(50), Histogram().share_below(10)) == (0.0, 0.0, 0.0)


def test_metrics_are_all_in_the_schema(make_run):
    for row in make_run().metrics():
        name = row.metric.rsplit("_", 1)[0] if row.metric.startswith(("request", "wakeup", "response")) else row.metric
        assert METRICS[name].unit == row.unit
        assert METRICS[name].meaning


def test_the_digest_is_of_everything_but_the_manifest(make_run):
    run, same = make_run(3), make_run(3)
    same.manifest = {"host": "elsewhere"}
    assert run.digest == same.digest
    same.tasks[0].cpu_time_ns += 1
    assert run.digest != same.digest


@pytest.mark.parametrize("name", ["runs.jsonl", "runs.jsonl.gz"])
def test_runs_survive_the_disk(make_run, tmp_path, name):
    runs = [make_run(seed) for seed in range(3)]
    save_runs(tmp_path / name, runs)
    back = list(load_runs(tmp_path / name))
    assert back == runs
    assert [run.digest for run in back] == [run.digest for run in runs]
    assert [path.name for path in tmp_path.iterdir()] == [name], "no scratch file is left"


def test_times_taken_from_the_scenario_are_written_as_numbers(make_run, tmp_path):
    run = make_run(1)
    record = TaskRecord(guest="a", task="t", start_ns=Duration(5), end_ns=Duration(9), cpu_time_ns=0)
    made = msgspec.structs.replace(
        run,
        duration_ns=run.scenario.duration,
        tasks=[record],
        slices=[*run.slices, Slice(0, 5, run.scenario.duration, "a", "t")],
        wakeups=[Wakeup(Duration(5), 0, "a", "t")],
        throttles=[Throttle(0, Duration(5), Duration(9), "a")],
        requests=[RequestRecord("a", "t", Duration(1), 2, Duration(3))],
    )
    made.save(tmp_path / "run.jsonl")
    assert list(load_runs(tmp_path / "run.jsonl")) == [made]


def test_compressed_files_of_equal_runs_are_equal(make_run, tmp_path):
    for name in ("a.gz", "b.gz"):
        save_runs(tmp_path / name, [make_run(1)])
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not json\n", "line 1"),
        (b'{"world": "dream"}\n', "line 1"),
        (gzip.compress(b"{}", mtime=0)[:-4], "line 1|cannot be read"),
    ],
)
@pytest.mark.parametrize("name", ["runs.jsonl", "runs.jsonl.gz"])
def test_damaged_files_are_one_line_errors(tmp_path, content, message, name):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SpecError, match=f"{name}") as caught:
        list(load_runs(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_a_one_line_error(tmp_path):
    with pytest.raises(SpecError, match="cannot be read"):
        list(load_runs(tmp_path / "none.jsonl"))


def test_value_of_a_metric(make_run):
    run = make_run()
    assert run.value("a", "cpu_time") == run.guests[0].cpu_time_ns
    with pytest.raises(KeyError, match="no cpu_time of c"):
        run.value("c", "cpu_time")


def test_frames_and_html(make_run):
    run = make_run()
    assert list(run.to_frame().columns) == ["entity", "metric", "unit", "value"]
    assert "shares" in run._repr_html_()


def test_the_manifest_is_json_and_names_no_host(monkeypatch):
    import getpass
    import platform

    monkeypatch.setattr("sys.argv", ["/home/someone/bin/virtsim", "run", "x.toml"])
    manifest = make_manifest(seed=7, scenario="abc")
    text = json.dumps(manifest)
    assert manifest["command"] == ["virtsim", "run", "x.toml"]
    assert (manifest["seed"], manifest["scenario"]) == (7, "abc")
    assert set(manifest) >= {"virtsim", "python", "packages", "platform", "started"}
    assert platform.node() not in text or not platform.node()
    assert f'"{getpass.getuser()}"' not in text
