"""``virtsim cluster``: run a data centre over its traces and print what it cost."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from virtsim.cli.console import check_target, say, write_json
from virtsim.cli.options import Json
from virtsim.core.errors import SpecError

if TYPE_CHECKING:
    from virtsim.cluster.run import ClusterRun

app = typer.Typer(no_args_is_help=True, help="Data centres: consolidation over traces, energy and service levels.")


class Rules(str, Enum):
    """Rule books."""

    virtsim = "virtsim"
    cloudsim = "cloudsim-3.0.3"


@app.callback()
def cluster() -> None:
    """Data centres: consolidation over traces, energy and service levels."""


@app.command()
def run(
    scenario: Annotated[Path | None, typer.Argument(help="A scenario as TOML; or give --traces.")] = None,
    traces: Annotated[Path | None, typer.Option(help="PlanetLab traces, an .npz file.")] = None,
    day: Annotated[str | None, typer.Option(help="Day in the traces, YYYYMMDD.")] = None,
    policy: Annotated[
        str | None, typer.Option(help="npa, dvfs, or detector-selection: lr-mmt (the default), thr-mc-0.9.")
    ] = None,
    rules: Annotated[Rules | None, typer.Option(help="Rule book; virtsim by default.")] = None,
    hosts: Annotated[
        int | None, typer.Option(min=1, max=1_000_000, help="Hosts of the PlanetLab set-up; 800 by default.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Root seed.")] = 1,
    json: Json = None,
    save: Annotated[Path | None, typer.Option(help="Write the whole run, with its series, to this file.")] = None,
) -> None:
    """Run a cluster and print its metrics with their units.

    With --json, the totals are written at full precision.
    """
    for option, target in (("--json", json), ("--save", save)):
        check_target(option, target)
    if (scenario is None) == (traces is None):
        raise SpecError("", "give either a scenario file or --traces FILE.npz --day DAY")
    if scenario is not None:
        for name, value in (("day", day), ("policy", policy), ("rules", rules), ("hosts", hosts)):
            if value is not None:
                raise SpecError(f"--{name}", "goes with --traces only; a scenario file says it itself")
        result = _run_file(scenario, seed)
    else:
        assert traces is not None
        result = _run_traces(traces, day, policy or "lr-mmt", rules or Rules.virtsim, hosts or 800, seed)
    if save is not None:
        result.save(save)
    if json is not None:
        write_json(json, result.totals)
    if json != "-":
        _show(result)


def _run_file(scenario: Path, seed: int) -> ClusterRun:
    from virtsim.cluster.scenario import ClusterScenario
    from virtsim.cluster.simulate import simulate_cluster
    from virtsim.core.spec import load_toml

    return simulate_cluster(load_toml(scenario, ClusterScenario), seed=seed)


def _run_traces(traces: Path, day: str | None, policy: str, rules: Rules, hosts: int, seed: int) -> ClusterRun:
    from virtsim.cluster.scenario import ClusterScenario
    from virtsim.cluster.simulate import planetlab_scenario, simulate_cluster
    from virtsim.cluster.traces import planetlab_days, read_planetlab

    if day is None:
        raise SpecError("--day", f"say which of {traces}: {', '.join(planetlab_days(traces))}")
    demand = read_planetlab(traces, day)
    if rules is Rules.cloudsim:
        scenario = ClusterScenario(rules="cloudsim-3.0.3", policy_name=policy, reference_hosts=hosts)
    else:
        scenario = planetlab_scenario(policy, hosts)
    return simulate_cluster(scenario, demand, seed=seed)


def _show(run: ClusterRun) -> None:
    from virtsim.cluster.run import CLUSTER_METRICS

    say(f"{run.policy} on {run.traces}, rules {run.rules}: {run.hosts} hosts, {run.guests} guests")
    width = max(len(name) for name in run.totals)
    for name, value in run.totals.items():
        unit = CLUSTER_METRICS[name].unit
        shown = f"{value:.10g}" if isinstance(value, float) else str(value)
        say(f"  {name:<{width}}  {shown:>18}  {'' if unit == '1' else unit}".rstrip())
