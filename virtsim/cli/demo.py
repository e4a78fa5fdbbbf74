"""``virtsim demo``: the first experiment, told step by step."""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from virtsim.cli.console import note, say, show_table
from virtsim.cli.options import Seed
from virtsim.core.errors import SpecError

if TYPE_CHECKING:
    from virtsim.backends import Capability

EXPERIMENT = "01-two-worlds"


def demo(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where tables and figures go.")] = Path("out/demo"),
    replay: Annotated[bool, typer.Option("--replay", help="Replay recorded observations in any case.")] = False,
    seed: Seed = 7,
) -> None:
    """Six scenarios in the model and on this kernel.

    Looks at the machine, calibrates the model quickly, runs six scenarios in both worlds, and draws them. Where
    containers cannot be observed, recorded observations are replayed instead.
    """
    from virtsim.backends import doctor
    from virtsim.experiment.folder import find_experiment, run_experiment

    try:
        experiment = find_experiment(EXPERIMENT)
    except SpecError:
        raise SpecError("demo", "its experiment is not here; run it in a checkout of virtsim: make demo") from None
    begin = time.monotonic()
    found = doctor()
    container = next(capability for capability in found if capability.name == "container")
    live = container.present and not replay
    if live:
        say(
            f"This runs on this kernel, Linux {platform.release()}: six scenarios, in the model and in real containers."
        )
    else:
        why = "as you asked" if container.present else f"because of this machine: {container.why}"
        say(f"This replays recorded observations, {why}; nothing is run on this kernel.")
    out.mkdir(parents=True, exist_ok=True)
    _show_doctor(found)
    if live:
        _calibrate(out)
    else:
        os.environ["VIRTSIM_REPLAY"] = "1"
    outcome = run_experiment(experiment.path, quick=True, seed=seed, out=out)
    _show_rows(out / "comparison.json")
    met = sum(check.passed for check in outcome.checks)
    say(f"{met} of {len(outcome.checks)} expectations of the experiment are met: virtsim experiment run {EXPERIMENT}")
    say(f"model and kernel above each other: {out / 'timeline.png'}; took {time.monotonic() - begin:.0f} s")


def _show_doctor(found: list[Capability]) -> None:
    there = [c.name for c in found if c.present]
    say(f"doctor: {len(there)} of {len(found)} capabilities are there: {', '.join(there)}")
    lacking = [(c.name, c.why, c.how_to_fix) for c in found if not c.present]
    if lacking:
        show_table("not there", ("capability", "why", "what to do"), lacking, fold=("why", "what to do"))


def _calibrate(out: Path) -> None:
    """A quick calibration; a card that is there already is kept, the demo then has one of its own."""
    from virtsim.calibration import calibrate
    from virtsim.experiment.progress import track
    from virtsim.platform.host import this_card

    own = out / "host.toml"
    own.unlink(missing_ok=True)
    kept = this_card().is_file()
    say("calibrating the model quickly, on this machine ...")
    found = calibrate(quick=True, out=own if kept else None, progress=track)
    where = f"{own}, for this demo; your own card stays as it is" if kept else str(found.path)
    say(f"{len(found.fit.prices)} prices fitted, missing the measurements by {found.median_residual:.1%} at the median")
    say(f"the card is {where}")
    for warning in found.warnings:
        note(f"note: {warning}")


def _show_rows(path: Path) -> None:
    from virtsim.cli.compare import show_comparison
    from virtsim.validation.compare import Row

    rows = [Row(**row) for row in json.loads(path.read_bytes())]
    show_comparison("model against kernel", rows, scenarios=True)
