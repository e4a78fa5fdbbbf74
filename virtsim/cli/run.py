"""``virtsim run``: one scenario in the model, on this kernel, or in both."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from virtsim.cli.console import check_target, note, say, show_table, show_value, write_json
from virtsim.cli.options import Host, Json, ScenarioFile, Seed
from virtsim.cli.scenarios import load_scenario
from virtsim.core.errors import SpecError

if TYPE_CHECKING:
    from virtsim.results.run import Run
    from virtsim.scenario.scenario import Scenario
    from virtsim.validation.compare import Row


class World(str, Enum):
    """Where to run."""

    model = "model"
    real = "real"
    both = "both"


def run(
    file: ScenarioFile,
    world: Annotated[World, typer.Option("--in", help="In the model, on this kernel, or both.")] = World.model,
    seed: Seed = 0,
    repeat: Annotated[int, typer.Option("--repeat", "-n", min=1, help="Runs in each world.")] = 1,
    host: Host = None,
    replications: Annotated[
        int, typer.Option(min=1, help="With --in both: replications behind the model's intervals.")
    ] = 10,
    policy: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Who schedules in the model: eevdf, cfs, rr, lottery, credit2, ..."),
    ] = None,
    timeline: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw who ran when.")] = None,
    trace: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Write a trace for ui.perfetto.dev.")] = None,
    save: Annotated[Path | None, typer.Option(metavar="FILE.jsonl.gz", help="Write the runs.")] = None,
    json: Json = None,
) -> None:
    """Run one scenario, in the model or on this kernel.

    Prints its metrics; with --in both, model and kernel side by side.
    """
    for option, target in (("--timeline", timeline), ("--trace", trace), ("--save", save), ("--json", json)):
        check_target(option, target)
    if policy is not None and world is not World.model:
        raise SpecError("--policy", "a kernel keeps its scheduler; leave it out, or take --in model")
    scenario = load_scenario(file)
    if host is not None:
        scenario = scenario.replace(host=host).checked()
    seeds = range(seed, seed + repeat)
    with_timeline = timeline is not None or trace is not None
    runs = list(_run_all(scenario, world, seeds, with_timeline, policy))
    comparison = _compare(runs, replications) if world is World.both else None
    if save is not None:
        from virtsim.results.store import save_runs

        save_runs(save, runs)
    if timeline is not None:
        from virtsim.plots.timeline import plot_timeline

        plot_timeline([run for run in runs if run.seed == seed], path=timeline)
    if trace is not None:
        from virtsim.results.trace import save_trace

        save_trace(trace, runs)
    if json is not None:
        from virtsim.cli.compare import plain_rows

        rows = None if comparison is None else plain_rows(comparison)
        write_json(json, {"runs": [describe(run) for run in runs], "comparison": rows})
    if json != "-":
        _show(runs, comparison)


def _run_all(scenario: Scenario, world: World, seeds: range, timeline: bool, policy: str | None) -> Iterator[Run]:
    """Model first: what it refuses is refused before the kernel is troubled."""
    from virtsim.experiment.progress import track

    if world is not World.real:
        from virtsim.machine import simulate

        for seed in track(seeds, "model", show=None if len(seeds) > 1 else False):
            yield simulate(scenario, seed=seed, timeline=timeline, policy=policy)
    if world is not World.model:
        from virtsim.backends import observe

        for seed in track(seeds, "kernel", show=None if len(seeds) > 1 else False):
            yield observe(scenario, seed=seed, timeline=timeline)


def _compare(runs: list[Run], replications: int) -> list[Row]:
    """The real runs against the model with all that is uncertain drawn anew, so that it has an interval."""
    from virtsim.validation import compare_with_model

    return compare_with_model([run for run in runs if run.world == "real"], replications=replications).rows


def describe(run: Run) -> dict[str, Any]:
    """A run without its records, ready for JSON."""
    return {
        "world": run.world,
        "scenario": run.scenario.name,
        "seed": run.seed,
        "duration_ns": run.duration_ns,
        "digest": run.digest,
        "disturbed": run.disturbed,
        "metrics": [row._asdict() for row in run.metrics()],
        "manifest": run.manifest,
    }


def _show(runs: list[Run], comparison: list[Row] | None) -> None:
    from virtsim.cli.compare import show_comparison

    for run in runs:
        if run.disturbed:
            noise = run.manifest["noise"]
            note(
                f"note: the run on the kernel (seed {run.seed}) was disturbed: {noise['steal_share']:.1%} of the time "
                f"stolen, {noise['foreign_share']:.1%} used by others, {noise['attempts']} attempts"
            )
    if comparison is not None:
        show_comparison(runs[0].scenario.name, comparison)
        return
    if len(runs) > 1:
        _show_summary(runs)
        return
    only = runs[0]
    title = f"{only.scenario.name} in the {'model' if only.world == 'model' else 'kernel'}, seed {only.seed}"
    rows = [(row.entity, row.metric, show_value(row.value, row.unit)) for row in only.metrics()]
    show_table(title, ("entity", "metric", "value"), rows, right=("value",))
    say(f"lasted {show_value(only.duration_ns, 'ns')}; digest {only.digest}")


def _show_summary(runs: list[Run]) -> None:
    from virtsim.results.runset import Entry, RunSet

    title = f"{runs[0].scenario.name}: {len(runs)} runs, {runs[0].world}"
    rows = []
    for row in RunSet(Entry({}, i, run) for i, run in enumerate(runs)).summary_rows():
        low, high = (show_value(edge, row.unit) for edge in (row.interval.low, row.interval.high))
        mean = show_value(row.interval.mean, row.unit)
        rows.append((row.entity, row.metric, mean, f"{low} to {high}", row.interval.n))
    show_table(title, ("entity", "metric", "mean", "95 % interval", "n"), rows, right=("mean", "95 % interval", "n"))
