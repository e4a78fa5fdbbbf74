"""``virtsim cluster`` as users call it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Result
from virtsim.cluster import ClusterRun, planetlab_scenario, read_planetlab, run_reference, simulate_cluster

DATA = Path(__file__).parent.parent.parent / "data" / "planetlab.npz"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A day of forty quiet machines."""
    numbers = np.random.Generator(np.random.PCG64(1))
    np.savez(tmp_path / "small.npz", u20200101=numbers.integers(1, 40, (40, 288)).astype(np.uint8))
    return tmp_path / "small.npz"


@pytest.mark.parametrize("rules", ["virtsim", "cloudsim-3.0.3"])
def test_totals_are_printed_and_written(call: Callable[..., Result], small: Path, tmp_path: Path, rules: str) -> None:
    arguments = ["run", "--traces", str(small), "--day", "20200101", "--rules", rules, "--hosts", "40"]
    result = call("cluster", *arguments, "--json", str(tmp_path / "o.json"), "--save", str(tmp_path / "r.json"))
    assert result.code == 0, result.err
    assert "energy_kwh" in result.out
    assert "kWh" in result.out
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
def test_the_written_totals_are_exactly_those_of_python(
    call: Callable[..., Result], small: Path, tmp_path: Path, rules: str
) -> None:
    """Not one bit of a figure is lost on the way through the file."""
    out = tmp_path / "o.json"
    arguments = ["run", "--traces", str(small), "--day", "20200101", "--rules", rules, "--hosts", "40", "--seed", "3"]
    assert call("cluster", *arguments, "--json", str(out)).code == 0
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
def test_the_reference_day(call: Callable[..., Result], tmp_path: Path) -> None:
    arguments = ["run", "--traces", str(DATA), "--day", "20110306", "--policy", "lr-mmt", "--rules", "cloudsim-3.0.3"]
    result = call("cluster", *arguments, "--json", str(tmp_path / "o.json"))
    assert result.code == 0, result.err
    totals = json.loads((tmp_path / "o.json").read_text())
    assert round(totals["energy_kwh"], 6) == 123.284186
    assert totals["migrations"] == 20878
    assert totals["shutdowns"] == 4018


def test_a_scenario_file(call: Callable[..., Result], tmp_path: Path) -> None:
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
    result = call("cluster", "run", str(tmp_path / "c.toml"))
    assert result.code == 0, result.err
    assert "4 hosts, 8 guests" in result.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "give either a scenario file or --traces"),
        (["run", "--traces", "none.npz", "--day", "1"], "none.npz: the traces cannot be read"),
        (["run", "none.toml"], "none.toml: the file cannot be read"),
    ],
)
def test_errors_are_one_line(call: Callable[..., Result], arguments: list[str], said: str) -> None:
    result = call("cluster", *arguments)
    assert result.code == 2
    assert said in result.err
    assert result.err.startswith("virtsim: error: ")
    assert result.err.count("\n") == 1


def test_unknown_days_and_policies(call: Callable[..., Result], small: Path) -> None:
    result = call("cluster", "run", "--traces", str(small), "--day", "20200102")
    assert result.code == 2
    assert "days in it: 20200101" in result.err
    result = call("cluster", "run", "--traces", str(small), "--day", "20200101", "--policy", "zz")
    assert result.code == 2
    assert "is no policy of the reference rules" in result.err


def test_a_day_that_is_not_named_is_asked_for(call: Callable[..., Result], small: Path) -> None:
    result = call("cluster", "run", "--traces", str(small))
    assert result.code == 2
    assert "--day: say which of" in result.err
    assert "20200101" in result.err


def test_json_goes_to_standard_output_too(call: Callable[..., Result], small: Path) -> None:
    arguments = ["run", "--traces", str(small), "--day", "20200101", "--policy", "dvfs", "--hosts", "40"]
    result = call("cluster", *arguments, "--json", "-")
    assert result.code == 0, result.err
    assert json.loads(result.out)["energy_kwh"] > 0
    assert not Path("-").exists()


def test_a_file_that_names_no_day_is_asked_for_one(call: Callable[..., Result], small: Path) -> None:
    scenario = f'rules = "cloudsim-3.0.3"\n[demand]\nfile = "{small}"\n'
    Path("c.toml").write_text(scenario)
    result = call("cluster", "run", "c.toml")
    assert result.code == 2
    assert "demand.day: say which of" in result.err
    assert "20200101" in result.err
