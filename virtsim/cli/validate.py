"""``virtsim validate``: suites of scenarios in both worlds, and published tables."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from virtsim.cli.console import check_target, note, say, write_json
from virtsim.cli.options import Json, Quick
from virtsim.core.errors import SpecError

if TYPE_CHECKING:
    from virtsim.validation import ValidationReport

#: The suite that is not run but compared with what was published.
LITERATURE = "literature"


def validate(
    named: Annotated[
        str | None, typer.Argument(metavar="[SUITE]", help="The suite; the same as --suite.", show_default=False)
    ] = None,
    option: Annotated[
        str | None,
        typer.Option("--suite", metavar="SUITE", help="smoke (if absent), container, scheduling, drawn, literature."),
    ] = None,
    quick: Quick = False,
    seed: Annotated[int, typer.Option("--seed", help="Root seed of the programs.", min=0)] = 1,
    host: Annotated[str | None, typer.Option("--host", metavar="NAME", help="Host card of the model.")] = None,
    record: Annotated[
        Path | None, typer.Option(metavar="FILE.jsonl.gz", help="Keep the real runs, to judge them again elsewhere.")
    ] = None,
    recorded: Annotated[
        Path | None, typer.Option(metavar="FILE.jsonl.gz", help="Judge these real runs; needs no kernel.")
    ] = None,
    paper: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="With literature: only this paper's card, or a file.")
    ] = None,
    json: Json = None,
) -> None:
    """Judge the model by a suite of scenarios.

    Each runs in the model and on this kernel: metric, model, real, error, verdict. Exit code 1 if one FAILED.
    """
    for flag, target in (("--record", record), ("--json", json)):
        check_target(flag, target)
    suite = _one_suite(named, option)
    if suite == LITERATURE:
        _literature(paper, json)
        return
    if paper:
        raise SpecError("--paper", f"papers are compared with by the suite {LITERATURE!r}, not by {suite!r}")
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


def _one_suite(named: str | None, option: str | None) -> str:
    """The suite, which may be named either way."""
    if named is not None and option is not None and named != option:
        raise SpecError("--suite", f"is {option!r}, but the suite was named {named!r} before; name one")
    return named or option or "smoke"


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


def _literature(papers: list[str] | None, json: str | None) -> None:
    from virtsim.validation.literature import validate_literature

    report = validate_literature(papers)
    if json is not None:
        rows = [_known({**result._asdict(), "error": result.error}) for result in report.results]
        summary = [_known(part._asdict()) for part in report.summary()]
        write_json(json, {"rows": rows, "summary": summary})
    if json != "-":
        say(str(report))


def _known(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields for JSON, which has no NaN: estimates as objects, what is not known as null."""
    found: dict[str, Any] = {}
    for name, value in fields.items():
        if hasattr(value, "_asdict"):
            found[name] = _known(value._asdict())
        else:
            found[name] = None if isinstance(value, float) and math.isnan(value) else value
    return found
