"""``virtsim compare``: recorded runs of the model against recorded runs of the kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from virtsim.cli.console import check_target, show_table, show_value, show_verdict, write_json
from virtsim.cli.options import Json
from virtsim.cli.scenarios import load_some_runs
from virtsim.core.errors import SpecError
from virtsim.results.run import Run

Runs = list[Run]


def compare(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Runs of the model, or those to be judged.")],
    real: Annotated[Path, typer.Argument(metavar="REAL", help="Runs of the kernel, or the reference.")],
    json: Json = None,
) -> None:
    """Compare two files of runs, scenario by scenario: metric, model, real, error, verdict."""
    check_target("--json", json)
    ours, theirs = (_by_scenario(load_some_runs([path])) for path in (model, real))
    common = [name for name in ours if name in theirs]
    if not common:
        raise SpecError(str(real), f"has no scenario of {model}; it has: {', '.join(theirs)}; there: {', '.join(ours)}")
    tables = {name: compared_rows(ours[name], theirs[name]) for name in common}
    if json is not None:
        write_json(json, {"rows": [row for rows in tables.values() for row in rows]})
    if json != "-":
        for name, rows in tables.items():
            show_comparison(name, rows)


def _by_scenario(runs: Runs) -> dict[str, Runs]:
    groups: dict[str, Runs] = {}
    for run in runs:
        groups.setdefault(run.scenario.name, []).append(run)
    return groups


def compared_rows(model: Runs, real: Runs) -> list[dict[str, Any]]:
    """The rows of a comparison as plain data."""
    import msgspec

    import virtsim

    found = virtsim.compare(model, real)
    rows: list[dict[str, Any]] = [
        row._asdict() if hasattr(row, "_asdict") else msgspec.to_builtins(row) for row in found.rows
    ]
    return rows


def show_comparison(title: str, rows: list[dict[str, Any]]) -> None:
    """Print a comparison."""
    cells = [
        (
            row.get("entity") or row.get("scenario"),
            row["metric"],
            show_value(row["model"], row["unit"]),
            show_value(row["real"], row["unit"]),
            "" if row.get("real_spread") is None else f"± {show_value(row['real_spread'], row['unit'])}",
            "" if row.get("error") is None else f"{row['error']:+.1%}",
            show_verdict(row["verdict"]),
        )
        for row in rows
    ]
    columns = ("entity", "metric", "model", "real", "spread", "error", "verdict")
    show_table(title, columns, cells, right=("model", "real", "spread", "error"))
