"""``virtsim experiment``: the claims in ``experiments/``, run and checked again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from virtsim.cli.console import note, say, show_table, show_verdict
from virtsim.cli.options import Quick
from virtsim.core.errors import BackendUnavailable

if TYPE_CHECKING:
    from virtsim.backends import Capability
    from virtsim.experiment.folder import Outcome
    from virtsim.experiment.progress import Show

experiments = typer.Typer(no_args_is_help=True, help="List and run the experiments.", rich_markup_mode=None)


@experiments.command("list")
def list_all() -> None:
    """List the experiments, each with its claim."""
    from virtsim.experiment.folder import experiments_folder, list_experiments

    found = list_experiments()
    if not found:
        note(f"note: there are no experiments in {experiments_folder()}; run this in a checkout of virtsim")
    rows = [(each.name, each.card.claim) for each in found]
    show_table("experiments", ("name", "claim"), rows, fold=("claim",))


@experiments.command("run")
def run(
    name: Annotated[str, typer.Argument(metavar="NAME", help="NN-name, name, NN, or a folder.")],
    quick: Quick = False,
    seed: Annotated[int, typer.Option("--seed", help="Root seed.", min=0)] = 7,
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Where results go; out/NN-name if absent.")] = None,
    workers: Annotated[int, typer.Option(help="Processes for its cases; -1 is one for each CPU.")] = -1,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Make all cases anew, whatever earlier runs have kept.")
    ] = False,
) -> None:
    """Run an experiment and check what it claims; exit code 1 if it does not hold.

    One that was interrupted goes on when it is started again with the same code, inputs and seed; one that came to its
    end takes its cases from there.
    """
    from virtsim.experiment.folder import find_experiment, run_experiment
    from virtsim.experiment.progress import watched

    experiment = find_experiment(name)
    lacking = _lacking(experiment.card.needs)
    if lacking:
        raise BackendUnavailable(lacking[0].name, lacking[0].how_to_fix)
    say(f"{experiment.name}: {experiment.card.claim}")
    show: Show = True if watched() else "lines"
    try:
        outcome = run_experiment(
            experiment.path, quick=quick, seed=seed, out=out, workers=workers, progress=show, fresh=fresh
        )
    except (KeyboardInterrupt, SystemExit):
        _say_how_to_go_on(experiment.path, out)
        raise
    if outcome.kept and outcome.kept == outcome.cases:
        say(
            f"it was finished: its {outcome.cases} cases are those of an earlier run of the same code and inputs; "
            "--fresh makes them anew"
        )
    elif outcome.kept:
        say(f"{outcome.kept} of {outcome.cases} cases are those of an earlier run of the same code and inputs")
    show_outcome(outcome)
    if not outcome.passed:
        raise typer.Exit(1)


def _say_how_to_go_on(experiment: Path, out: Path | None) -> None:
    from virtsim.experiment.folder import finished_cases

    folder, count = finished_cases(experiment, out)
    if count:
        note(f"{count} finished cases are kept in {folder}; the same command goes on from there")


def _lacking(needs: list[str]) -> list[Capability]:
    if not needs:
        return []
    from virtsim.backends import doctor

    return [found for found in doctor() if found.name in needs and not found.present]


def show_outcome(outcome: Outcome) -> None:
    """Print the checks of an experiment."""
    rows = [
        (
            check.name,
            "missing" if check.result is None else f"{check.result:.6g}",
            f"{check.low:.6g} to {check.high:.6g}",
            show_verdict("PASSED" if check.passed else "FAILED"),
        )
        for check in outcome.checks
    ]
    show_table(outcome.name, ("result", "is", "expected", "verdict"), rows, right=("is", "expected"))
    say(f"results and figures are in {outcome.folder}")
