"""``virtsim calibrate``: the prices of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from virtsim.cli.console import check_target, note, say, show_table
from virtsim.cli.options import Quick

if TYPE_CHECKING:
    from virtsim.calibration import Calibration


def calibrate(
    quick: Quick = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.toml", help="Where to write the card; your own folder if absent.")
    ] = None,
) -> None:
    """Measure the prices of this machine.

    Micro-workloads run on this kernel, and the prices of the model's primitives are fitted to them. The card
    is what a scenario means by host = "this".
    """
    from virtsim.calibration import calibrate as measure
    from virtsim.experiment.progress import track

    check_target("--out", out)
    show_calibration(measure(quick=quick, out=out, progress=track))


def show_calibration(found: Calibration) -> None:
    """Print prices with their intervals, what stayed unknown, and where the card is."""
    rows = [
        (name, f"{price.value:.4g}", f"{price.low:.4g} to {price.high:.4g}", found.card.prices[name].unit)
        for name, price in found.fit.prices.items()
    ]
    columns = ("primitive", "price", "90 % interval", "unit")
    show_table(found.card.description, columns, rows, right=("price", "90 % interval"))
    for warning in found.warnings:
        note(f"note: {warning}")
    say(f"the fit misses the measurements by {found.median_residual:.1%} at the median; the card is {found.path}")
