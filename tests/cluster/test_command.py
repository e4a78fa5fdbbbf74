"""``virtsim cluster`` as users call it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from virtsim.cli.cluster import app
from virtsim.cluster import ClusterRun, planetlab_scenario, read_planetlab, run_reference, simulate_cluster

RUNNER = CliRunner()
DATA = Path(__file__).parent.parent.parent / "data" / "planetlab.npz"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A day of forty quiet machines."""
    numbers = np.random.Generator(np.random.PCG64(1))
    np.savez(tmp_path / "small.npz", u20200101=numbers.integers(1, 40, (40, 288)).astype(np.uint8))
    return tmp_path / "small.npz"


@pytest.mark.parametrize("rules", ["virtsim", "cloudsim-3.0.3"])
def test_totals_are_printed_and_written(small: Path, tmp_path: Path, rules: str) -> None:
    arguments = ["run", "--traces", str(small), "--day", "20200101", "--rules", rules, "--hosts", "40"]
    result = RUNNER.invoke(app, [*arguments, "--json", str(tmp_path / "o.json"), "--save", str(tmp_path / "r.json")])
    assert result.exit_code == 0, result.output
    assert "energy_kwh" in result.output
    assert "kWh" in result.output
    totals = json.loads((tmp_path / "o.json").read_text())
    assert {"energy_kwh", "migrations", "slatah", "pdm", "slav", "shutdowns"} <= set(totals)
    assert ClusterRun.load(tmp_path / "r.json").totals == totals


def test_the_reference_loads_nothing_that_it_does_not_use(small: Path) -> None:
    """A day takes about a second: libraries for drawing, tables and events would be a good part of the whole."""
    unused = ("rich", "simpy", "networkx", "pandas", "scipy", "matplotlib")
    code = (
        "import sys\nfrom virtsim.cli.main import main\nmain(sys.argv[1:])\n"
        f"print([name for name in {unused} if name in sys.modules])"
    )
    day = ["--traces", str(small), "--day", "20200101", "--rules", "cloudsim-3.0.3", "--hosts", "40"]
    command = [sys.executable, "-c", code, "cluster", "run", *day]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert lines[-1] == "[]", "\n".join(lines)


@pytest.mark.parametrize("rules", ["virtsim", "cloudsim-3.0.3"])
def test_the_written_totals_are_exactly_those_of_python(small: Path, tmp_path: Path, rules: str) -> None:
    """Not one bit of a figure is lost on the way through the file."""
    out = tmp_path / "o.json"
    arguments = ["run", "--traces", str(small), "--day", "20200101", "--rules", rules, "--hosts", "40", "--seed", "3"]
    assert RUNNER.invoke(app, [*arguments, "--json", str(out)]).exit_code == 0
    day = read_planetlab(small, "20200101")
    if rules == "virtsim":
        run = simulate_cluster(planetlab_scenario("lr-mmt", 40), day, seed=3)
    else:
        run = run_reference(day, "lr-mmt", seed=3, reference_hosts=40)
    totals = json.loads(out.read_text())
    assert totals == run.totals
    for name in ("energy_kwh", "migrations", "slatah", "pdm", "slav", "shutdowns"):
        assert type(totals[name]) is type(run.totals[name])
        assert float(totals[name]).hex() == float(run.totals[name]).hex()
    # Figures that have more digits than are shown: something would be lost if they were written as shown.
    assert any(float(f"{value:.10g}") != value for value in totals.values())


@pytest.mark.skipif(not DATA.is_file(), reason="the traces are data beside the package, not in it")
def test_the_reference_day(tmp_path: Path) -> None:
    arguments = ["run", "--traces", str(DATA), "--day", "20110306", "--policy", "lr-mmt", "--rules", "cloudsim-3.0.3"]
    result = RUNNER.invoke(app, [*arguments, "--json", str(tmp_path / "o.json")])
    assert result.exit_code == 0, result.output
    totals = json.loads((tmp_path / "o.json").read_text())
    assert round(totals["energy_kwh"], 6) == 123.284186
    assert totals["migrations"] == 20878
    assert totals["shutdowns"] == 4018


def test_a_scenario_file(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(
        """
duration = "2h"
[[hosts]]
name = "h"
count = 4
cores = 4
core_mips = 2000.0
memory = "16GiB"
power = "ibm-x3250-x3470"
[[guests]]
name = "g"
count = 8
core_mips = 2000.0
memory = "1GiB"
stack = "kvm"
"""
    )
    result = RUNNER.invoke(app, ["run", str(tmp_path / "c.toml")])
    assert result.exit_code == 0, result.output
    assert "4 hosts, 8 guests" in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "give either a scenario file or --traces"),
        (["run", "--traces", "none.npz", "--day", "1"], "none.npz: the traces cannot be read"),
        (["run", "none.toml"], "none.toml: the file cannot be read"),
    ],
)
def test_errors_are_one_line(arguments: list[str], said: str) -> None:
    result = RUNNER.invoke(app, arguments)
    assert result.exit_code == 2
    assert said in result.output
    assert "Traceback" not in result.output


def test_unknown_days_and_policies(small: Path) -> None:
    result = RUNNER.invoke(app, ["run", "--traces", str(small), "--day", "20200102"])
    assert result.exit_code == 2
    assert "days in it: 20200101" in result.output
    result = RUNNER.invoke(app, ["run", "--traces", str(small), "--day", "20200101", "--policy", "zz"])
    assert result.exit_code == 2
    assert "is no policy of the reference rules" in result.output


def test_a_day_that_is_not_named_is_asked_for(small: Path) -> None:
    result = RUNNER.invoke(app, ["run", "--traces", str(small)])
    assert result.exit_code == 2
    assert "--day: say which of" in result.output
    assert "20200101" in result.output
