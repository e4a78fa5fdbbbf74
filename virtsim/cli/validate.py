"""``virtsim validate``: suites of scenarios in both worlds, and published tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from virtsim.cli.console import check_target, note, say, write_json
from virtsim.cli.options import Json, Quick

if TYPE_CHECKING:
    from virtsim.validation import ValidationReport

#: The suite that is not run but compared with what was published.
LITERATURE = "literature"


def validate(
    suite: Annotated[str, typer.Option(help="smoke, container, scheduling, drawn, or literature.")] = "smoke",
    quick: Quick = False,
    seed: Annotated[int, typer.Option("--seed", help="Root seed of the programs.", min=0)] = 1,
    host: Annotated[str | None, typer.Option("--host", metavar="NAME", help="Host card of the model.")] = None,
    record: Annotated[
        Path | None, typer.Option(metavar="FILE.jsonl.gz", help="Keep the real runs, to judge them again elsewhere.")
    ] = None,
    recorded: Annotated[
        Path | None, typer.Option(metavar="FILE.jsonl.gz", help="Judge these real runs; needs no kernel.")
    ] = None,
    json: Json = None,
) -> None:
    """Judge the model by a suite of scenarios.

    Each runs in the model and on this kernel: metric, model, real, error, verdict. Exit code 1 if one FAILED.
    """
    for option, target in (("--record", record), ("--json", json)):
        check_target(option, target)
    if suite == LITERATURE:
        _literature(json)
        return
    import virtsim.validation.suites  # noqa: F401 # registers the suites
    from virtsim.cli.scenarios import load_some_runs
    from virtsim.experiment.progress import track
    from virtsim.platform.host import load_host
    from virtsim.validation import validate as judge
    from virtsim.validation.validate import SUITES

    # Before anything is read or said.
    SUITES.get(suite, "--suite")
    report = judge(
        suite,
        quick=quick,
        seed=seed,
        host=None if host is None else load_host(host),
        progress=track,
        record=record,
        recorded=None if recorded is None else load_some_runs([recorded]),
    )
    if json is not None:
        import msgspec

        write_json(json, msgspec.json.decode(report.to_json()))
    if json != "-":
        _show(report)
    if not report.passed:
        raise typer.Exit(1)


def _show(report: ValidationReport) -> None:
    from virtsim.cli.compare import show_comparison

    show_comparison(f"suite {report.suite}", report.rows, scenarios=True)
    for reason in dict.fromkeys(row.reason for row in report.rows if row.reason):
        note(f"note: {reason}")
    for name, value in _flat(report.summary):
        say(f"{name}: {value:.4g}" if isinstance(value, float) else f"{name}: {value}")


def _flat(summary: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for name, value in summary.items():
        rows += _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [(f"{prefix}{name}", value)]
    return rows


def _literature(json: str | None) -> None:
    from virtsim.validation.literature import validate_literature

    report = validate_literature()
    if json is not None:
        rows = [{**result._asdict(), "error": result.error} for result in report.results]
        columns = ("name", "predictions", "median_error", "largest_error", "rank_correlation", "order_right")
        summary = [dict(zip(columns, row, strict=True)) for row in report.summary()]
        write_json(json, {"rows": rows, "summary": summary})
    if json != "-":
        say(str(report))
