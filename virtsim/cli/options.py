"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ScenarioFile = Annotated[Path, typer.Argument(metavar="FILE.toml", help="A scenario.")]
Seed = Annotated[int, typer.Option("--seed", help="Root seed of all random draws.", min=0)]
Json = Annotated[str | None, typer.Option("--json", metavar="FILE", help="Write the results as JSON; - is stdout.")]
Host = Annotated[
    str | None, typer.Option("--host", metavar="NAME", help="Host card of the model; the scenario's own if absent.")
]
Quick = Annotated[bool, typer.Option("--quick", help="Fewer repetitions: less precise, but soon done.")]
