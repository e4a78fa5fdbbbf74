"""``virtsim compare``: recorded runs of the model against recorded runs of the kernel."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from virtsim.cli.console import check_target, show_table, show_value, show_verdict, write_json
from virtsim.cli.options import Json
from virtsim.cli.scenarios import load_some_runs
from virtsim.core.errors import SpecError

if TYPE_CHECKING:
    from virtsim.results.run import Run
    from virtsim.validation.compare import Row

    Runs = list[Run]


def compare(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Runs of the model, or those to be judged.")],
    real: Annotated[Path, typer.Argument(metavar="REAL", help="Runs of the kernel, or the reference.")],
    json: Json = None,
) -> None:
    """Compare recorded runs of model and kernel.

    Scenario by scenario: metric, model, real, error, verdict.
    """
    check_target("--json", json)
    ours, theirs = _by_scenario(model, "model"), _by_scenario(real, "real")
    common = [name for name in ours if name in theirs]
    if not common:
        raise SpecError(str(real), f"has no scenario of {model}; it has: {', '.join(theirs)}; there: {', '.join(ours)}")
    tables = {name: compared_rows(ours[name], theirs[name]) for name in common}
    if json is not None:
        write_json(json, {"rows": [row for rows in tables.values() for row in plain_rows(rows)]})
    if json != "-":
        for name, rows in tables.items():
            show_comparison(name, rows)


def _by_scenario(path: Path, world: str) -> dict[str, Runs]:
    """The runs of a file by scenario; of a file with runs of both worlds, those of one."""
    runs = load_some_runs([path])
    groups: dict[str, Runs] = {}
    for run in [run for run in runs if run.world == world] or runs:
        groups.setdefault(run.scenario.name, []).append(run)
    return groups


def compared_rows(model: Runs, real: Runs) -> list[Row]:
    """The rows of a comparison."""
    from virtsim.validation import compare as compare_runs

    return compare_runs(model, real).rows


def show_comparison(title: str, rows: list[Row], scenarios: bool = False) -> None:
    """Print a comparison; with ``scenarios``, of several."""
    cells = [((row.scenario,) if scenarios else ()) + _cells(row) for row in rows]
    columns = ("entity", "metric", "model", "90 % interval", "real", "spread", "error", "verdict")
    right = ("model", "90 % interval", "real", "spread", "error")
    show_table(title, ("scenario", *columns) if scenarios else columns, cells, right=right)


def _cells(row: Row) -> tuple[Any, ...]:
    interval = ""
    if row.model is not None and row.model_low != row.model_high:
        interval = f"{show_value(row.model_low, row.unit)} to {show_value(row.model_high, row.unit)}"
    return (
        row.entity,
        row.metric or row.reason,
        show_value(row.model, row.unit),
        interval,
        show_value(row.real, row.unit),
        "" if row.real_spread is None else f"± {row.real_spread:.1%}",
        "" if row.error is None else f"{row.error:+.1%}",
        show_verdict(row.verdict),
    )


def plain_rows(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Rows ready for JSON."""
    return [{**row._asdict(), "real_values": list(row.real_values)} for row in rows]
