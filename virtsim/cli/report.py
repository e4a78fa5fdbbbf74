"""``virtsim report``: recorded runs as one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from virtsim.cli.console import check_target, say
from virtsim.cli.scenarios import load_some_runs


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUNS...", help="Files of runs, or folders of sweeps.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.html")] = Path("report.html"),
    title: Annotated[str, typer.Option(help="Heading of the page.")] = "virtsim report",
) -> None:
    """Write recorded runs into one HTML page.

    Tables and figures; the file needs nothing else.
    """
    from virtsim.report import write_report

    check_target("--out", out)
    found = load_some_runs(runs)
    write_report(out, found, title)
    say(f"{len(found)} run(s) in {out}")
