"""What the commands do, in the model: tables, files, JSON."""

import gzip
import json

import pytest

from tests.cli.conftest import SCENARIO
from virtsim import __version__
from virtsim.cli.sweep import parse_setting
from virtsim.core.errors import SpecError
from virtsim.results.store import load_runs, save_runs


def test_help_and_version(call):
    assert call("--version").out == f"virtsim {__version__}\n"
    listed = call("--help").out
    for command in ("run", "compare", "sweep", "calibrate", "validate", "doctor", "models", "explain", "trace", "demo"):
        assert f"\n  {command} " in listed


def test_run_prints_metrics_with_units_and_the_digest(call, scenario):
    result = call("run", scenario, "--seed", 7)
    assert result.code == 0
    assert result.err == ""
    assert "pair in the model, seed 7" in result.out
    assert " a cpu_time 4" in result.words
    assert " ms " in result.words
    digest = next(iter(load_after(call, scenario))).digest
    assert f"digest {digest}" in result.out


def load_after(call, scenario):
    assert call("run", scenario, "--seed", 7, "--save", "runs.jsonl.gz").code == 0
    return load_runs("runs.jsonl.gz")


def test_run_writes_json_of_a_stated_shape(call, scenario):
    result = call("run", scenario, "--seed", 3, "--repeat", 2, "--json", "-")
    data = json.loads(result.out)
    assert set(data) == {"runs", "comparison"}
    assert data["comparison"] is None
    assert [run["seed"] for run in data["runs"]] == [3, 4]
    keys = {"world", "scenario", "seed", "duration_ns", "digest", "disturbed", "metrics", "manifest"}
    assert all(set(run) == keys for run in data["runs"])
    assert all(set(row) == {"entity", "metric", "unit", "value"} for run in data["runs"] for row in run["metrics"])


def test_several_runs_are_summed_up(call, scenario):
    result = call("run", scenario, "--repeat", 3)
    assert "pair: 3 runs, model" in result.out
    assert "95 % interval" in result.out


def test_run_draws_and_traces(call, scenario, tmp_path):
    pytest.importorskip("matplotlib", reason="needs virtsim[plots]")
    result = call("run", scenario, "--timeline", "t.png", "--trace", "t.json", "--save", "t.jsonl.gz")
    assert result.code == 0
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")
    first = json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    assert call("trace", "t.jsonl.gz", "again.json.gz").code == 0
    again = json.loads(gzip.decompress((tmp_path / "again.json.gz").read_bytes()))["traceEvents"]
    assert first == again


def test_a_run_without_a_timeline_makes_no_trace(call, scenario):
    call("run", scenario, "--save", "t.jsonl.gz")
    result = call("trace", "t.jsonl.gz", "t.json")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "no run in it has a timeline" in result.err


def test_without_calibration_a_note_says_which_card_serves(call, scenario):
    scenario.write_text(SCENARIO.replace('host = "epyc-guest-linux-6.18"\n', ""))
    result = call("run", scenario)
    assert result.code == 0
    assert result.err.count("\n") == 1
    assert result.err.startswith("virtsim: note: this machine has not been calibrated")


def test_arrivals_from_a_file_are_those_beside_the_scenario(call, scenario, tmp_path):
    folder = tmp_path / "deep"
    folder.mkdir()
    (folder / "times.txt").write_text("1ms\n2ms\n30ms\n")
    served = '{ op = "serve", arrivals = "file(times.txt)", body = [{ op = "syscall" }] }'
    periodic = SCENARIO[SCENARIO.index('[{ op = "periodic"') + 1 : SCENARIO.rindex("]")]
    (folder / "s.toml").write_text(SCENARIO.replace(periodic, served))
    assert call("run", "deep/s.toml", "--save", "s.jsonl").code == 0
    (run,) = load_runs(tmp_path / "s.jsonl")
    assert [request.arrival_ns for request in run.requests] == [1_000_000, 2_000_000, 30_000_000]


def test_sweep_prints_and_writes_every_variant(call, scenario, tmp_path):
    settings = ("--set", "guests.a.cpu_weight=100,300", "-n", 2, "--metric", "cpu_time", "--entity", "a")
    result = call("sweep", scenario, *settings, "--json", "s.json", "--out", "kept")
    assert result.code == 0
    assert "4 runs; digest" in result.out
    rows = json.loads((tmp_path / "s.json").read_text())["rows"]
    assert [row["factors"] for row in rows] == [{"guests.a.cpu_weight": 100}, {"guests.a.cpu_weight": 300}]
    assert rows[0]["low"] <= rows[0]["mean"] <= rows[0]["high"]
    assert call("report", "kept").out == "4 run(s) in report.html\n"


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("x=1,2", [1, 2]),
        ("x=1.5", [1.5]),
        ("x=30ms/100ms,50%", ["30ms/100ms", "50%"]),
        ("x=uniform(1ms, 2ms),1ms", ["uniform(1ms, 2ms)", "1ms"]),
        ("x=0,1;0", ["0,1", "0"]),
        ("x=true,false", [True, False]),
        ("x=a=b", ["a=b"]),
    ],
)
def test_a_setting_is_split_where_its_levels_end(text, levels):
    assert parse_setting(text) == ("x", levels)


@pytest.mark.parametrize("text", ["", "x", "x=", "=1"])
def test_what_is_no_setting_is_refused(text):
    with pytest.raises(SpecError, match="is not a setting"):
        parse_setting(text)


def test_models_are_listed_and_shown(call, tmp_path):
    assert " stacks " in call("models").words
    assert "container" in call("models", "stacks").out
    assert 'kind = "linux"' in call("models", "stacks", "container").out
    own = tmp_path / "config" / "virtsim" / "stacks"
    own.mkdir(parents=True)
    (own / "broken.toml").write_text("= 1")
    assert "not readable" in call("models", "stacks").out


def test_explain_takes_an_event_apart(call):
    plain = call("explain", "null", "--stack", "container").out
    priced = call("explain", "null", "--stack", "container", "--host", "epyc-guest-linux-6.18").out
    assert "mode_switch" in plain
    assert "189 ns" in priced


def test_overheads_of_stacks_are_compared(call):
    words = ("overhead", "units-of-work/compile", "--host", "xeon-8269cy-linux-4.19")
    shown = call(*words, "--stack", "container, kvm-shadow")
    assert "units-of-work/compile over native, host xeon-8269cy-linux-4.19" in shown.out
    assert "of it assumed" in shown.out
    rows = json.loads(call(*words, "--stack", "kvm-shadow", "--base", "kvm", "--json", "-").out)["rows"]
    assert [row["stack"] for row in rows] == ["kvm-shadow"]
    assert rows[0]["over"]["low"] <= rows[0]["over"]["value"] <= rows[0]["over"]["high"]


def test_report_is_one_file(call, scenario, tmp_path):
    pytest.importorskip("matplotlib", reason="needs virtsim[plots]")
    call("run", scenario, "--repeat", 2, "--timeline", "t.png", "--save", "t.jsonl.gz")
    assert call("report", "t.jsonl.gz", "-o", "page.html", "--title", "<Mine>").code == 0
    text = (tmp_path / "page.html").read_text()
    assert "<h1>&lt;Mine&gt;</h1>" in text
    assert text.count("data:image/png;base64,") >= 2
    assert "http" not in text


def real_twin(runs):
    """The same runs, as if a kernel had made them."""
    import msgspec

    return [msgspec.structs.replace(run, world="real") for run in runs]


def test_compare_prints_and_writes_rows(call, scenario, tmp_path):
    call("run", scenario, "--repeat", 3, "--save", "model.jsonl.gz")
    save_runs(tmp_path / "real.jsonl.gz", real_twin(load_runs(tmp_path / "model.jsonl.gz")))
    result = call("compare", "model.jsonl.gz", "real.jsonl.gz", "--json", "c.json")
    assert result.code == 0
    assert "FAILED" not in result.out
    rows = json.loads((tmp_path / "c.json").read_text())["rows"]
    wanted = {"scenario", "metric", "role", "unit", "model", "model_low", "model_high", "real", "real_spread"}
    assert rows
    assert all(wanted | {"error", "verdict", "margin", "entity"} <= set(row) for row in rows)
    assert {row["error"] for row in rows} <= {0.0}
    both = [*load_runs(tmp_path / "model.jsonl.gz"), *load_runs(tmp_path / "real.jsonl.gz")]
    save_runs(tmp_path / "both.jsonl", both)
    assert call("compare", "both.jsonl", "both.jsonl").out == result.out


def test_compare_refuses_runs_of_other_scenarios_and_of_the_wrong_world(call, scenario):
    call("run", scenario, "--save", "one.jsonl")
    scenario.write_text(SCENARIO.replace('name = "pair"', 'name = "other"'))
    call("run", scenario, "--save", "other.jsonl")
    assert "has no scenario of" in call("compare", "one.jsonl", "other.jsonl").err
    assert call("compare", "one.jsonl", "one.jsonl").code == 2


def test_doctor_lists_every_capability(call):
    result = call("doctor", "--json")
    data = json.loads(result.out)
    assert result.code == 0
    assert data["cleaned"] == []
    assert {"compiler", "cgroups", "container"} <= {row["name"] for row in data["capabilities"]}
    assert all(row["present"] or row["how_to_fix"] or row["why"] for row in data["capabilities"])
    assert "container" in call("doctor", "--clean").out


def test_experiments_are_listed(call, monkeypatch):
    result = call("experiment", "list")
    assert "01-two-worlds" in result.out


@pytest.mark.needs("container")
def test_both_worlds_are_compared(call, scenario, tmp_path):
    result = call("run", scenario, "--in", "both", "--replications", 2, "--json", "b.json", "--timeline", "b.png")
    assert result.code == 0, result.err
    data = json.loads((tmp_path / "b.json").read_text())
    assert [run["world"] for run in data["runs"]] == ["model", "real"]
    assert {row["metric"] for row in data["comparison"]} >= {"cpu_time"}
    assert (tmp_path / "b.png").exists()


@pytest.mark.needs("container")
def test_sigterm_ends_a_real_run_and_leaves_nothing(scenario):
    import os
    import signal
    import subprocess
    import sys
    import time

    from virtsim.backends.journal import left_behind

    scenario.write_text(SCENARIO.replace('"50ms"', '"30s"'))
    before = set(left_behind())
    process = subprocess.Popen(
        [sys.executable, "-m", "virtsim", "run", str(scenario), "--in", "real"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ,
    )
    time.sleep(3)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    assert (out, err) == (b"", b"")
    assert set(left_behind()) <= before


@pytest.mark.parametrize("suite", [("literature",), ("--suite", "literature"), ("literature", "--suite", "literature")])
def test_the_literature_needs_no_kernel_and_is_named_either_way(call, tmp_path, suite):
    result = call("validate", *suite, "--json", "l.json")
    assert result.code == 0
    assert "median error" in result.out
    data = json.loads((tmp_path / "l.json").read_text())
    assert {"published", "predicted", "low", "high", "error", "use"} <= set(data["rows"][0])
    assert [row["name"] for row in data["summary"]][-1] == "all"
    for row in data["summary"]:
        assert 0 <= row["median_error"]["low"] <= row["median_error"]["value"] <= row["largest_error"]


def test_one_paper_of_the_literature(call, tmp_path):
    result = call("validate", "literature", "--paper", "turtles-2010", "--paper", "sugerman-2001", "--json", "l.json")
    assert result.code == 0
    data = json.loads((tmp_path / "l.json").read_text())
    assert {row["paper"] for row in data["rows"]} == {"turtles-2010", "sugerman-2001"}


def test_recorded_runs_are_judged_without_a_kernel(call, tmp_path):
    """Runs of other scenarios than the suite's: every row says that none was recorded."""
    from virtsim.experiment.folder import find_experiment

    recorded = find_experiment("01-two-worlds").path / "observations" / "runs.jsonl.gz"
    arguments = ("--suite", "smoke", "--host", "epyc-guest-linux-6.18", "--json", "v.json")
    result = call("validate", *arguments, "--recorded", recorded)
    assert result.code == 0
    data = json.loads((tmp_path / "v.json").read_text())
    assert set(data) == {"rows", "summary", "manifest"}
    wanted = {"scenario", "metric", "role", "unit", "model", "model_low", "model_high", "real", "real_spread", "error"}
    assert all(wanted | {"verdict", "margin"} <= set(row) for row in data["rows"])
    assert {row["verdict"] for row in data["rows"]} == {"SKIPPED"}
    assert "no recorded run" in result.err


@pytest.mark.slow
@pytest.mark.needs("container")
def test_a_calibration_is_found_by_its_name(call, scenario, tmp_path):
    result = call("calibrate", "--quick")
    card = tmp_path / "config" / "virtsim" / "hosts" / "this.toml"
    assert result.code == 0
    assert str(card) in result.out
    assert "mode_switch" in result.out
    scenario.write_text(SCENARIO.replace('host = "epyc-guest-linux-6.18"\n', ""))
    assert "has not been calibrated" not in call("run", scenario).err
