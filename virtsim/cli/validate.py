"""``virtsim validate``: suites of scenarios in both worlds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from virtsim.cli.console import check_target, say, show_table, show_value, show_verdict, write_json
from virtsim.cli.options import Json, Quick


def validate(
    suite: Annotated[str, typer.Option(help="smoke, container, scheduling, literature.")] = "smoke",
    quick: Quick = False,
    json: Json = None,
) -> None:
    """Run a suite in both worlds: metric, model, real, error, verdict; exit code 1 if anything failed."""
    import virtsim

    check_target("--json", json)
    report = virtsim.validate(suite, quick=quick)
    if json is not None:
        import msgspec

        write_json(json, msgspec.json.decode(report.to_json()))
    if json != "-":
        show_table(
            f"suite {suite}",
            ("scenario", "entity", "metric", "model", "real", "spread", "error", "verdict"),
            [_cells(row) for row in report.rows],
            right=("model", "real", "spread", "error"),
        )
        for name, value in _flat(report.summary):
            say(f"{name}: {value}")
    if any(_get(row, "verdict") == "FAILED" for row in report.rows):
        raise typer.Exit(1)


def _cells(row: Any) -> tuple[Any, ...]:
    unit, spread, error = _get(row, "unit"), _get(row, "real_spread"), _get(row, "error")
    return (
        _get(row, "scenario"),
        _get(row, "entity") or "",
        _get(row, "metric"),
        show_value(_get(row, "model"), unit),
        show_value(_get(row, "real"), unit),
        "" if spread is None else f"± {show_value(spread, unit)}",
        "" if error is None else f"{error:+.1%}",
        show_verdict(_get(row, "verdict")),
    )


def _get(row: Any, name: str) -> Any:
    value = row.get(name) if isinstance(row, Mapping) else getattr(row, name, None)
    return getattr(value, "value", value)


def _flat(summary: Any, prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for name, value in summary.items():
        rows += _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [(f"{prefix}{name}", value)]
    return rows
