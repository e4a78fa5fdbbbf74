"""The experiments that ship: each folder is whole, and its quick run shows what it claims."""

import re
from pathlib import Path

import pytest

from virtsim.core.spec import decode_json
from virtsim.experiment.folder import Expectation, list_experiments, run_experiment

ROOT = Path(__file__).resolve().parents[2] / "experiments"
EXPERIMENTS = list_experiments(ROOT)
#: Its quick run takes a minute.
SLOW = {"51-consolidation-planetlab"}


def name_of(experiment):
    return experiment.name


def quick_runs():
    return [pytest.param(e, id=e.name, marks=[pytest.mark.slow] if e.name in SLOW else []) for e in EXPERIMENTS]


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=name_of)
def test_a_folder_is_whole(experiment):
    folder = ROOT / experiment.name
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert "**Claim.**" in readme
    assert "virtsim experiment run" in readme
    expected = decode_json((folder / "expected.json").read_bytes(), dict[str, Expectation], experiment.name)
    assert expected, "a claim rests on results"
    shown = set(re.findall(r"\]\((figures/[^)]+)\)", readme))
    there = {f"figures/{path.name}" for path in folder.glob("figures/*.png")}
    assert shown <= {f"figures/{path.name}" for path in folder.glob("figures/*")}, "every figure that it shows is there"
    assert there <= shown, "every figure is shown"


@pytest.mark.parametrize("experiment", quick_runs())
def test_a_quick_run_shows_what_is_claimed(experiment, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="needs virtsim[plots]")
    monkeypatch.setenv("VIRTSIM_REPLAY", "1")
    outcome = run_experiment(ROOT / experiment.name, quick=True, out=tmp_path)
    failed = [check for check in outcome.checks if not check.passed]
    assert not failed
    assert outcome.checks
