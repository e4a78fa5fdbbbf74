"""Replications and sweeps: the same scenario many times, or many of its variants."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from virtsim.core.errors import SpecError
from virtsim.core.spec import decode_json, encode_json
from virtsim.experiment.change import change
from virtsim.experiment.design import DESIGNS, Levels, Point
from virtsim.experiment.engines import engine_for, worker_count
from virtsim.experiment.jobs import Job, Simulate, check_policy, default_simulate, job_key
from virtsim.experiment.progress import track
from virtsim.results.manifest import make_manifest
from virtsim.results.run import Run
from virtsim.results.runset import Entry, RunSet
from virtsim.results.statistics import replications_needed
from virtsim.scenario.scenario import Scenario

#: The factor that is no field of the scenario, but an argument of ``simulate``.
POLICY = "policy"


class How(NamedTuple):
    """How the runs of a set are made; the keyword arguments that :func:`replicate` and :func:`sweep` share."""

    seed: int
    workers: int
    engine: str | None
    folder: Path | None
    timeline: bool
    progress: bool | None
    simulate: Simulate | None


def replicate(
    scenario: Scenario,
    n: int = 20,
    *,
    seed: int = 0,
    workers: int = 1,
    engine: str | None = None,
    folder: Path | str | None = None,
    timeline: bool = False,
    progress: bool | None = None,
    simulate: Simulate | None = None,
) -> RunSet:
    """Run a scenario ``n`` times with independent random numbers.

    Parameters
    ----------
    scenario : Scenario
        What to run.
    n : int
        Number of replications; replication i draws from the streams of (``seed``, i), whoever runs it.
    seed : int
        Root seed.
    workers : int
        Processes; -1 is one for each CPU. The runs do not depend on it.
    engine : str, optional
        ``serial``, ``processes`` or ``dask``; the first for one worker and else the second, if absent.
    folder : path, optional
        Finished runs are kept in ``folder/finished``, and are not made again by a later call that wants them:
        a broken one continues. The whole set is saved in ``folder``, see :meth:`RunSet.load`.
    timeline : bool
        Whether runs record who ran when.
    progress : bool, optional
        Whether to show a bar; if absent, where somebody watches.
    simulate : callable, optional
        ``simulate(scenario, *, seed, replication, timeline) -> Run``; the machine's if absent. It crosses to
        other processes by name, so for those it is a function of a module.

    Raises
    ------
    SpecError
        If an argument is not acceptable; nothing was run then.

    Returns
    -------
    RunSet
        ``n`` runs, in the order of their replications.
    """
    how = _how(seed, workers, engine, folder, timeline, progress, simulate)
    return _run_all(_itself(scenario), range(_count(n)), how, {"scenario": scenario.digest})


def replicate_to_precision(
    scenario: Scenario,
    precision: float,
    *,
    entity: str,
    metric: str,
    confidence: float = 0.95,
    n_min: int = 10,
    n_max: int = 1000,
    seed: int = 0,
    workers: int = 1,
    engine: str | None = None,
    folder: Path | str | None = None,
    timeline: bool = False,
    progress: bool | None = None,
    simulate: Simulate | None = None,
) -> RunSet:
    """Run a scenario until a metric's mean is known to ``precision``, or ``n_max`` times.

    Parameters
    ----------
    precision : float
        Wanted half-width of the metric's interval, relative to its mean.
    entity, metric : str
        As for :meth:`Run.value`.
    n_min, n_max : int
        Fewest and most replications.

    Returns
    -------
    RunSet
        Its manifest says in ``precision_reached`` whether it was; see
        :func:`virtsim.results.statistics.replications_needed` for the rule.
    """
    how = _how(seed, workers, engine, folder, timeline, progress, simulate)
    if not 2 <= n_min <= n_max:
        raise SpecError("n_min", f"{n_min} must lie between 2 and n_max, {n_max}")
    points, about = _itself(scenario), {"scenario": scenario.digest, "precision": precision}
    runs, reached = RunSet([]), False
    while not reached and len(runs) < n_max:
        wanted = n_min if not len(runs) else min(n_max, len(runs) + max(how.workers, 5))
        runs = runs + _run_all(points, range(len(runs), wanted), how._replace(folder=None), about, how.folder)
        values = runs.values(entity, metric)
        if len(values) < len(runs):
            raise SpecError("metric", f"{len(runs) - len(values)} of {len(runs)} runs have no {metric} of {entity!r}")
        reached = replications_needed(values, precision, confidence, n_min) is not None
    runs.manifest = {**runs.manifest, "replications": len(runs), "precision_reached": reached}
    if how.folder is not None:
        runs.save(how.folder)
    return runs


def sweep(
    scenario: Scenario,
    factors: Mapping[str, Levels],
    n: int = 10,
    *,
    design: str = "full",
    seed: int = 0,
    workers: int = 1,
    engine: str | None = None,
    folder: Path | str | None = None,
    timeline: bool = False,
    progress: bool | None = None,
    simulate: Simulate | None = None,
) -> RunSet:
    """Run variants of a scenario, ``n`` times each, with common random numbers.

    Replication i of every variant draws from the same streams, so differences between variants are paired:
    :meth:`RunSet.compare`.

    Parameters
    ----------
    scenario : Scenario
        What the variants are made from.
    factors : mapping of str to levels
        Path of a field and the values it takes: ``{"guests.web.stack": ["native", "container"]}``; for values
        that are tables or workloads a mapping of label to value. Paths: :mod:`virtsim.experiment.change`. The path
        ``policy`` is that argument of :func:`~virtsim.machine.simulate.simulate`.
    n : int
        Replications of each variant.
    design : str
        ``full`` (every combination) or ``one-at-a-time``.
    seed, workers, engine, folder, timeline, progress, simulate
        As for :func:`replicate`.

    Raises
    ------
    SpecError
        If a path leads nowhere, or a variant is not acceptable; nothing was run then.
    """
    how = _how(seed, workers, engine, folder, timeline, progress, simulate)
    if design not in DESIGNS:
        raise SpecError("design", f"{design!r} is not a design; known: {', '.join(DESIGNS)}")
    points = [(point, change(scenario, _fields(point))) for point in DESIGNS[design](factors)]
    for point, _ in points:
        check_policy(point.changes.get(POLICY))
    about = {"scenario": scenario.digest, "design": design, "factors": list(factors)}
    return _run_all(points, range(_count(n)), how, about)


def _fields(point: Point) -> dict[str, Any]:
    """What a point changes in the scenario."""
    return {path: value for path, value in point.changes.items() if path != POLICY}


def _how(
    seed: int,
    workers: int,
    engine: str | None,
    folder: Path | str | None,
    timeline: bool,
    progress: bool | None,
    simulate: Simulate | None,
) -> How:
    if type(seed) is not int or not 0 <= seed < 2**63:
        raise SpecError("seed", f"{seed!r} is not a whole number from 0 to 2**63-1")
    workers = worker_count(workers)
    engine_for(engine, workers)
    return How(seed, workers, engine, None if folder is None else Path(folder), timeline, progress, simulate)


def _itself(scenario: Scenario) -> list[tuple[Point, Scenario]]:
    """The one point of a set without factors."""
    return [(Point({}, {}), scenario.checked())]


def _count(n: int) -> int:
    if type(n) is not int or not 1 <= n <= 10**6:
        raise SpecError("n", f"{n!r} is not a number of replications; 1 to a million")
    return n


def _run_all(
    points: Sequence[tuple[Point, Scenario]],
    replications: Sequence[int],
    how: How,
    about: dict[str, Any],
    keep: Path | None = None,
) -> RunSet:
    """Every point with every replication; ``keep`` is where finished runs are kept if the set is not saved."""
    manifest = make_manifest(seed=how.seed, replications=len(replications), **about)
    started = time.monotonic()
    keep = keep or how.folder
    if keep is not None:
        (keep / "finished").mkdir(parents=True, exist_ok=True)
    plan = [(point, r, _job(point, scenario, r, how, keep)) for point, scenario in points for r in replications]
    runs = _make([job for _, _, job in plan], how)
    entries = [Entry(point.labels, r, run) for (point, r, _), run in zip(plan, runs, strict=True)]
    manifest["seconds"] = round(time.monotonic() - started, 3)
    result = RunSet(entries, manifest)
    if how.folder is not None:
        result.save(how.folder)
    return result


def _job(point: Point, scenario: Scenario, replication: int, how: How, keep: Path | None) -> Job:
    simulate = how.simulate
    if POLICY in point.changes:
        simulate = partial(simulate or default_simulate(), policy=point.changes[POLICY])
    file = None
    if keep is not None:
        key = job_key(scenario, how.seed, replication, how.timeline, simulate)
        file = keep.absolute() / "finished" / f"{key}.jsonl.gz"
    label = ", ".join(f"{path}={level!r}" for path, level in point.labels.items()) or scenario.name
    return Job(encode_json(scenario), label, how.seed, replication, how.timeline, simulate, file)


def _make(jobs: Sequence[Job], how: How) -> list[Run]:
    """The runs of all jobs, in their order; those that exist are read, the others made."""
    runs: list[Run | None] = [job.finished() for job in jobs]
    missing = [i for i, run in enumerate(runs) if run is None]
    engine = engine_for(how.engine, how.workers)
    done = engine([jobs[i] for i in missing], how.workers)
    for number, data in track(done, "runs", len(missing), how.progress):
        runs[missing[number]] = decode_json(data, Run)
    return [run for run in runs if run is not None]
