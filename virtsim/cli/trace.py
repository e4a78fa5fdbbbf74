"""``virtsim trace``: recorded runs as a trace file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from virtsim.cli.console import check_target, say
from virtsim.cli.scenarios import load_some_runs


def trace(
    runs: Annotated[Path, typer.Argument(metavar="RUNS", help="A file of runs, from run --save.")],
    out: Annotated[Path, typer.Argument(metavar="OUT.json", help="Where to write the trace; .gz is compressed.")],
) -> None:
    """Write recorded timelines for Perfetto."""
    from virtsim.core.errors import SpecError
    from virtsim.results.trace import save_trace

    check_target("OUT.json", out)
    found = load_some_runs([runs])
    if not any(run.slices or run.requests for run in found):
        raise SpecError(str(runs), "no run in it has a timeline; make them with run --timeline or --trace, and --save")
    save_trace(out, found)
    say(f"{len(found)} run(s) in {out}; open it in ui.perfetto.dev")
