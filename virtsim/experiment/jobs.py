"""One run as a job: data that crosses process borders; the model is built on the other side."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from virtsim.core.errors import SpecError, VirtsimError
from virtsim.core.spec import decode_json, encode_json
from virtsim.experiment.code import code_digest, text_digest
from virtsim.results.run import Run
from virtsim.results.store import load_runs, save_runs
from virtsim.scenario.scenario import Scenario

#: Runs a scenario: ``simulate(scenario, *, seed, replication, timeline)``.
Simulate = Callable[..., Run]


@dataclass(frozen=True)
class Job:
    """A scenario, as bytes, with its seed and replication; and where its run is kept.

    Attributes
    ----------
    scenario : bytes
        Canonical JSON.
    label : str
        What errors call it.
    simulate : callable or None
        None is :func:`virtsim.machine.simulate`, imported in the process that runs the job.
    file : Path or None
        Where the finished run is written, or found.
    """

    scenario: bytes
    label: str
    seed: int
    replication: int
    timeline: bool
    simulate: Simulate | None
    file: Path | None

    def run(self) -> bytes:
        """The run, as canonical JSON; written to the job's file before anyone is told."""
        scenario = decode_json(self.scenario, Scenario)
        simulate = self.simulate or default_simulate()
        try:
            run = simulate(scenario, seed=self.seed, replication=self.replication, timeline=self.timeline)
        except VirtsimError as problem:
            problem.add_note(f"in replication {self.replication} of {self.label}")
            raise
        if self.file is not None:
            save_runs(self.file, [run])
        return encode_json(run)

    def finished(self) -> Run | None:
        """The run that an earlier, perhaps broken, call has left; a damaged one does not count."""
        if self.file is None or not self.file.exists():
            return None
        try:
            runs = list(load_runs(self.file))
        except SpecError:
            return None
        return runs[0] if len(runs) == 1 else None


def default_simulate() -> Simulate:
    """The machine's ``simulate``; imported when it is first needed."""
    from virtsim.machine import simulate

    return simulate


def check_policy(choice: Any) -> None:
    """Refuse what ``simulate`` would refuse as its ``policy``, before anything is run."""
    if choice is not None:
        from virtsim.machine.chosen_policy import ChosenPolicy

        ChosenPolicy(choice)


def job_key(scenario: Scenario, seed: int, replication: int, timeline: bool, simulate: Simulate | None) -> str:
    """Name of a finished run's file: another scenario, seed, card, code or simulator has another name."""
    parts = [scenario.digest, str(seed), str(replication), str(timeline), code_digest(), _described(simulate)]
    if simulate is None or getattr(simulate, "func", simulate) is default_simulate():
        parts.append(_cards(scenario))
    return text_digest(parts)


def _described(simulate: Simulate | None) -> str:
    """A simulator by its name, and by the arguments that are bound to it."""
    if isinstance(simulate, partial):
        bound = [("", value) for value in simulate.args] + list(simulate.keywords.items())
        return f"{_described(simulate.func)} {[(name, _written(value)) for name, value in bound]}"
    return f"{getattr(simulate, '__module__', '')}.{getattr(simulate, '__qualname__', simulate)}"


def _written(value: Any) -> str:
    try:
        return encode_json(value).decode()
    except (TypeError, ValueError):
        return repr(value)


def _cards(scenario: Scenario) -> str:
    """Content of the cards that the model reads, so that a new calibration makes new runs."""
    from virtsim.platform.host import load_host
    from virtsim.platform.stack import stack_for

    with warnings.catch_warnings():
        # That this machine is not calibrated, the simulation itself will say.
        warnings.simplefilter("ignore", UserWarning)
        host = load_host(scenario.host)
    stacks = [stack_for(guest).card for guest in scenario.guests]
    return text_digest(encode_json(card).decode() for card in (host, *stacks))
