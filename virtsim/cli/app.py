"""All commands in one application."""

from __future__ import annotations

from typing import Annotated

import typer

from virtsim import __version__
from virtsim.cli.calibrate import calibrate
from virtsim.cli.cluster import app as cluster
from virtsim.cli.compare import compare
from virtsim.cli.demo import demo
from virtsim.cli.doctor import doctor
from virtsim.cli.experiment import experiments
from virtsim.cli.explain import explain
from virtsim.cli.models import models
from virtsim.cli.overhead import overhead
from virtsim.cli.report import report
from virtsim.cli.run import run
from virtsim.cli.sweep import sweep
from virtsim.cli.trace import trace
from virtsim.cli.validate import validate

app = typer.Typer(
    name="virtsim",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"virtsim {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Model virtualization architectures, and check the models against the kernel you are sitting on."""


for command in (run, compare, sweep, calibrate, validate, doctor, models, explain, overhead, trace, report, demo):
    app.command()(command)
app.add_typer(experiments, name="experiment")
app.add_typer(cluster, name="cluster")
