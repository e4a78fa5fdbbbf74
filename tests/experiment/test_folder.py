"""Experiment folders: found, run, checked, and told about."""

import json
import shutil

import pytest

from tests.experiment.made import write_experiment
from virtsim.core.errors import SpecError
from virtsim.experiment.folder import Expectation, find_experiment, list_experiments, run_experiment

TOML = 'title = "Shares"\nclaim = "CPU time follows weights."\n[full]\nn = 100\nrate = 2\n[quick]\nn = 3\n'
RUN = """
def run(context):
    total = sum(context.progress(range(context.parameters["n"]), "sums"))
    context.record("total", total)
    context.record("seed", context.seed)
    (context.folder / "figure.txt").write_text(f"{context.quick} {context.parameters['rate']}")
"""
EXPECTED = {
    "total": {"value": 4950, "relative": 0.01, "when": "full"},
    "seed": {"low": 0},
}


@pytest.fixture
def root(tmp_path, monkeypatch):
    folder = write_experiment(tmp_path / "experiments" / "01-shares", TOML, RUN, EXPECTED)
    shutil.copytree(folder, folder.with_name("02-more"))
    monkeypatch.chdir(tmp_path)
    return folder


def test_experiments_are_listed_and_found(root, tmp_path):
    assert [experiment.name for experiment in list_experiments()] == ["01-shares", "02-more"]
    for name in ("01-shares", "shares", "01", "1", root, str(root)):
        assert find_experiment(name).card.title == "Shares"
    with pytest.raises(SpecError, match=r"no experiment is called 'x'; there are: 01-shares, 02-more"):
        find_experiment("x")
    assert list_experiments(tmp_path / "nowhere") == []


def test_a_full_run_is_checked_and_documented(root, tmp_path):
    outcome = run_experiment("shares", seed=3, out=tmp_path / "o")
    assert outcome.passed
    assert outcome.results == {"total": 4950.0, "seed": 3.0}
    assert [check.name for check in outcome.checks] == ["total", "seed"]
    manifest = json.loads((tmp_path / "o" / "manifest.json").read_text())
    assert manifest["passed"] is True
    assert manifest["parameters"] == {"n": 100, "rate": 2}
    assert (manifest["experiment"], manifest["seed"], manifest["quick"]) == ("01-shares", 3, False)
    assert json.loads((tmp_path / "o" / "results.json").read_text()) == outcome.results
    assert "met" in outcome._repr_html_()


def test_a_quick_run_has_its_own_parameters_and_checks(root, tmp_path):
    outcome = run_experiment("shares", quick=True)
    assert outcome.folder == tmp_path.relative_to(tmp_path) / "out" / "01-shares"
    assert (outcome.folder / "figure.txt").read_text() == "True 2"
    assert [check.name for check in outcome.checks] == ["seed"]


def test_a_claim_that_does_not_hold_is_said(root, tmp_path):
    (root / "expected.json").write_text('{"total": {"value": 5000, "absolute": 49}, "more": {"high": 1}}')
    outcome = run_experiment(root, out=tmp_path / "o")
    assert not outcome.passed
    assert [(check.name, check.passed, check.result) for check in outcome.checks] == [
        ("total", False, 4950.0),
        ("more", False, None),
    ]
    assert json.loads((tmp_path / "o" / "manifest.json").read_text())["passed"] is False
    assert "missing" in outcome._repr_html_()


def test_results_of_an_earlier_run_are_not_this_ones(root, tmp_path):
    run_experiment(root, out=tmp_path / "o")
    (root / "run.py").write_text("def run(context):\n    pass\n")
    outcome = run_experiment(root, out=tmp_path / "o")
    assert not outcome.passed
    assert not (tmp_path / "o" / "results.json").exists()


def test_a_failed_run_leaves_a_manifest_that_says_why(root, tmp_path):
    (root / "run.py").write_text("def run(context):\n    context.record('a', 1)\n    1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        run_experiment(root, out=tmp_path / "o")
    manifest = json.loads((tmp_path / "o" / "manifest.json").read_text())
    assert manifest["passed"] is False
    assert manifest["exception"] == {
        "type": "ZeroDivisionError",
        "message": "division by zero",
        "where": ["run.py:3 1 / 0"],
    }
    assert str(tmp_path) not in json.dumps(manifest["exception"])


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("experiment.toml", 'title = "x"', "experiment.toml: claim: the field is required"),
        ("experiment.toml", TOML + "n = nan\n[fulll]", "experiment.toml: "),
        ("expected.json", '{"a": {"valu": 1}}', "expected.json: "),
        ("expected.json", '{"a": {}}', "expected.json: "),
        ("expected.json", "{", "expected.json: "),
        ("expected.json", None, "expected.json: an experiment needs this file"),
        ("run.py", None, "run.py: an experiment needs this file"),
        ("run.py", "x = 1\n", "run.py: defines no function run(context)"),
    ],
)
def test_bad_files_are_refused_before_anything_runs(root, tmp_path, file, content, message):
    (root / file).unlink() if content is None else (root / file).write_text(content)
    with pytest.raises(SpecError) as caught:
        run_experiment(root, out=tmp_path / "o")
    assert message in str(caught.value)
    assert not (tmp_path / "o").exists()


def test_a_result_is_a_number(root, tmp_path):
    (root / "run.py").write_text("def run(context):\n    context.record('a', float('nan'))\n")
    with pytest.raises(SpecError, match="a: nan is not a finite number"):
        run_experiment(root, out=tmp_path / "o")


def test_bounds():
    assert Expectation(value=-10, relative=0.1, absolute=1).bounds == (-12, -8)
    assert Expectation(low=1).bounds == (1, float("inf"))
    with pytest.raises(ValueError, match="either a value or bounds"):
        Expectation(value=1, low=0)
    with pytest.raises(ValueError, match="no tolerance"):
        Expectation(low=1, relative=0.1)
