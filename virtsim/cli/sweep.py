"""``virtsim sweep``: variants of a scenario in the model, with common random numbers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from virtsim.cli.console import check_target, say, show_table, show_value, write_json
from virtsim.cli.options import Json, ScenarioFile, Seed
from virtsim.cli.scenarios import load_scenario
from virtsim.core.errors import SpecError

_LISTED = 60


def sweep(
    file: ScenarioFile,
    settings: Annotated[
        list[str],
        typer.Option("--set", metavar="PATH=V1,V2", help="A field and its levels; ';' separates levels with commas."),
    ],
    n: Annotated[int, typer.Option("-n", help="Replications of each variant.", min=1)] = 10,
    seed: Seed = 0,
    design: Annotated[str, typer.Option(help="full, or one-at-a-time.")] = "full",
    metric: Annotated[str | None, typer.Option(help="Show only this metric.")] = None,
    entity: Annotated[str | None, typer.Option(help="Show only this guest or guest/task.")] = None,
    workers: Annotated[int, typer.Option(help="Processes; -1 is one for each CPU.")] = 1,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Keep the runs; a broken sweep continues from there.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw --metric over the factors.")] = None,
    json: Json = None,
) -> None:
    """Run variants of a scenario in the model.

    Prints means with 95 % intervals; the variants share their random numbers.
    """
    from virtsim.experiment.replicate import sweep as run_sweep

    check_target("--plot", plot)
    check_target("--json", json)
    if plot is not None and metric is None:
        raise SpecError("--plot", "say which metric to draw with --metric")
    factors = dict(parse_setting(text) for text in settings)
    if len(factors) < len(settings):
        raise SpecError("--set", "a path is set twice; give all its levels at once")
    runs = run_sweep(load_scenario(file), factors, n, design=design, seed=seed, workers=workers, folder=out)
    rows = [row for row in runs.summary_rows(metric) if entity in (None, row.entity)]
    if not rows:
        raise SpecError("--entity", f"no run has a guest or guest/task called {entity!r}")
    if plot is not None:
        from virtsim.plots.style import save_figure
        from virtsim.plots.sweep import plot_sweep

        save_figure(plot_sweep(runs, str(metric), entity), plot)
    if json is not None:
        write_json(json, {"rows": [_plain(row) for row in rows], "manifest": runs.manifest, "digest": runs.digest})
    if json != "-":
        _show(file.stem, list(factors), rows)
        say(f"{len(runs)} runs; digest {runs.digest}")


def parse_setting(text: str) -> tuple[str, list[Any]]:
    """``path=level,level``; commas inside parentheses or between digits of ``a;b`` levels stay.

    Examples
    --------
    >>> parse_setting("guests.web.cpu_weight=100,200")
    ('guests.web.cpu_weight', [100, 200])
    >>> parse_setting("guests.a.cpus=0,1;0")
    ('guests.a.cpus', ['0,1', '0'])
    """
    path, equals, levels = text.partition("=")
    if not equals or not path.strip() or not levels.strip():
        raise SpecError("--set", f"{text[:60]!r} is not a setting; write PATH=LEVEL,LEVEL")
    parts = levels.split(";") if ";" in levels else re.split(r",(?![^()]*\))", levels)
    numbers = ";" not in levels
    return path.strip(), [_level(part.strip(), numbers) for part in parts]


def _level(text: str, numbers: bool) -> Any:
    if numbers and re.fullmatch(r"[+-]?\d{1,18}", text):
        return int(text)
    if numbers and re.fullmatch(r"[+-]?\d+\.\d+", text):
        return float(text)
    return {"true": True, "false": False}.get(text, text)


def _plain(row: Any) -> dict[str, Any]:
    interval = row.interval
    one = interval.n < 2
    return {
        "factors": row.factors,
        "entity": row.entity,
        "metric": row.metric,
        "unit": row.unit,
        "mean": interval.mean,
        "low": None if one else interval.low,
        "high": None if one else interval.high,
        "n": interval.n,
        "runs": row.runs,
    }


def _show(name: str, factors: list[str], rows: list[Any]) -> None:
    cells = []
    for row in rows[:_LISTED]:
        interval = row.interval
        low, high = show_value(interval.low, row.unit), show_value(interval.high, row.unit)
        between = f"{low} to {high}" if interval.n > 1 else "one run"
        levels = [str(row.factors.get(path, "")) for path in factors]
        cells.append((*levels, row.entity, row.metric, show_value(interval.mean, row.unit), between, interval.n))
    columns = (*factors, "entity", "metric", "mean", "95 % interval", "n")
    show_table(f"{name}: sweep", columns, cells, right=("mean", "95 % interval", "n"))
    if len(rows) > _LISTED:
        say(f"and {len(rows) - _LISTED} more rows; choose with --metric and --entity, or write them with --json")
