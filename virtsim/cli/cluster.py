"""``virtsim cluster``: run a data centre over its traces and print what it cost."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

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
    json: Annotated[Path | None, typer.Option(help="Write the totals at full precision to this file.")] = None,
    save: Annotated[Path | None, typer.Option(help="Write the whole run, with its series, to this file.")] = None,
) -> None:
    """Run a cluster and print its metrics with their units."""
    from virtsim.cluster.run import CLUSTER_METRICS
    from virtsim.cluster.scenario import ClusterScenario
    from virtsim.cluster.simulate import planetlab_scenario, simulate_cluster
    from virtsim.cluster.traces import planetlab_days, read_planetlab
    from virtsim.core.errors import SpecError, VirtsimError
    from virtsim.core.spec import load_toml

    try:
        if (scenario is None) == (traces is None):
            raise SpecError("", "give either a scenario file or --traces FILE.npz --day DAY")
        if scenario is not None:
            for name, option in (("day", day), ("policy", policy), ("rules", rules), ("hosts", hosts)):
                if option is not None:
                    raise SpecError(f"--{name}", "goes with --traces only; a scenario file says it itself")
            result = simulate_cluster(load_toml(scenario, ClusterScenario), seed=seed)
        else:
            assert traces is not None
            if day is None:
                raise SpecError("--day", f"say which of {traces}: {', '.join(planetlab_days(traces))}")
            demand = read_planetlab(traces, day)
            policy, hosts = policy or "lr-mmt", hosts or 800
            if rules is Rules.cloudsim:
                chosen = ClusterScenario(rules="cloudsim-3.0.3", policy_name=policy, reference_hosts=hosts)
            else:
                chosen = planetlab_scenario(policy, hosts)
            result = simulate_cluster(chosen, demand, seed=seed)
        if json is not None:
            _write_totals(json, result.totals)
        if save is not None:
            result.save(save)
    except VirtsimError as problem:
        typer.echo(f"virtsim cluster: {problem}", err=True)
        raise typer.Exit(2) from None
    typer.echo(
        f"{result.policy} on {result.traces}, rules {result.rules}: {result.hosts} hosts, {result.guests} guests"
    )
    width = max(len(name) for name in result.totals)
    for name, value in result.totals.items():
        unit = CLUSTER_METRICS[name].unit
        shown = f"{value:.10g}" if isinstance(value, float) else str(value)
        typer.echo(f"  {name:<{width}}  {shown:>18}  {'' if unit == '1' else unit}".rstrip())


def _write_totals(path: Path, totals: dict[str, int | float]) -> None:
    import json

    from virtsim.core.errors import SpecError

    try:
        path.write_text(json.dumps(totals, indent=1) + "\n")
    except OSError as problem:
        raise SpecError(str(path), f"cannot be written: {problem.strerror}") from None


if __name__ == "__main__":
    app()
