"""Run a suite in both worlds and judge it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import Any

import msgspec

from virtsim.backends import capability, observe
from virtsim.calibration.plan import PREFIX
from virtsim.core.errors import BackendUnavailable, ModelError, SpecError
from virtsim.core.registry import Registry
from virtsim.core.spec import encode_json
from virtsim.machine import simulate
from virtsim.machine.circumstances import Circumstances
from virtsim.platform.host import HostCard, load_host
from virtsim.results.run import Run
from virtsim.results.store import save_runs
from virtsim.scenario.quotas import fit_quotas
from virtsim.scenario.scenario import Scenario
from virtsim.validation.compare import Comparison, Row, compare, quantile
from virtsim.validation.predict import predict
from virtsim.validation.verdict import Verdict
from virtsim.workload.operations import Compute, Operation, Repeat

Progress = Callable[[Iterable[int], str], Iterable[int]]

#: Suites by name: functions that make their scenarios for a number of CPUs.
SUITES: Registry[Callable[[int, int], list[Scenario]]] = Registry("suite")

#: Rounds of real runs and replications in the model.
ROUNDS, REPLICATIONS = 4, 25
QUICK_ROUNDS, QUICK_REPLICATIONS = 2, 10
#: With ``quick`` every this many-th scenario is taken.
QUICK_STEP = 5
#: Runs whose values are within this share of their median agree.
AGREEING = 0.02


@dataclass
class ValidationReport:
    """The rows of a suite, and what they come to.

    Attributes
    ----------
    suite : str
    rows : list of Row
    summary : dict
        Verdicts, error quantiles by metric, and the coverage of the intervals.
    manifest : dict
        How it was made.
    """

    suite: str
    rows: list[Row]
    manifest: dict[str, Any] = field(default_factory=dict)

    @property
    def comparison(self) -> Comparison:
        """The rows for reading."""
        return Comparison(self.rows)

    @property
    def summary(self) -> dict[str, Any]:
        """Verdicts, absolute errors by metric (median, 90th percentile, n), coverage of the 90 % intervals."""
        errors: dict[str, list[float]] = {}
        inside = total = 0
        for row in self.rows:
            if row.role != "prediction" or row.model is None or row.error is None:
                continue
            errors.setdefault(row.metric, []).append(abs(row.error))
            assert row.model_low is not None
            assert row.model_high is not None
            inside += sum(row.model_low <= value <= row.model_high for value in row.real_values)
            total += len(row.real_values)
        return {
            "verdicts": self.comparison.counts(),
            "errors": {
                metric: {"median": quantile(values, 0.5), "p90": quantile(values, 0.9), "n": len(values)}
                for metric, values in sorted(errors.items())
            },
            "coverage": inside / total if total else None,
        }

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return all(row.verdict != Verdict.FAILED for row in self.rows)

    def to_json(self) -> bytes:
        """``rows``, ``summary`` and ``manifest`` as JSON."""
        rows = [row._asdict() for row in self.rows]
        return encode_json({"rows": rows, "summary": self.summary, "manifest": self.manifest})

    def _repr_html_(self) -> str:
        return f"<b>{self.suite}</b>: {self.summary}{self.comparison._repr_html_()}"


def validate(
    suite: str = "smoke",
    *,
    quick: bool = False,
    seed: int = 1,
    host: HostCard | None = None,
    progress: Progress | None = None,
    record: Path | str | None = None,
    recorded: Sequence[Run] | None = None,
) -> ValidationReport:
    """Run the scenarios of a suite in the model and on this kernel, in turn and repeatedly, and compare.

    Parameters
    ----------
    suite : str
        ``smoke``, ``container``, ``scheduling`` or ``drawn``, whose scenarios depend on the seed.
    quick : bool
        A fifth of the scenarios, fewer rounds.
    seed : int
        Root seed of the programs.
    host : HostCard, optional
        The card calibrated on this machine if absent.
    progress : callable, optional
        Wraps an iterable with a label, as tqdm does.
    record : path, optional
        Where to keep the real runs, to judge them again elsewhere.
    recorded : sequence of Run, optional
        Real runs to judge instead of making new ones: needs no kernel.

    Raises
    ------
    SpecError
        If there is no such suite, or a scenario of it was used in calibration.
    """
    import virtsim.validation.suites  # noqa: F401 # registers the suites

    card = host if host is not None else load_host("this")
    scenarios = SUITES.get(suite, "suite")(card.topology.cpus, seed)
    if quick:
        scenarios = scenarios[::QUICK_STEP] if len(scenarios) > 2 * QUICK_STEP else scenarios
    check_disjoint(scenarios)
    begun = time.time()
    rounds = QUICK_ROUNDS if quick else ROUNDS
    if recorded is not None:
        real = _by_scenario(scenarios, recorded)
    else:
        missing = capability("container")
        if not missing.present:
            reason = f"{missing.name}: {missing.why}"
            return ValidationReport(suite, [_skipped(scenario, reason) for scenario in scenarios])
        real = _observe_all(scenarios, rounds, seed, progress)
    rows: list[Row] = []
    for number in _wrapped(progress, len(scenarios), "predicting"):
        rows += _judge(scenarios[number], real[number], card, QUICK_REPLICATIONS if quick else REPLICATIONS)
    if record is not None:
        save_runs(record, [run for runs in real for run in runs])
    return ValidationReport(suite, rows, _manifest(card, rounds, seed, begun, real))


def check_disjoint(scenarios: Sequence[Scenario]) -> None:
    """No scenario of a suite was used in calibration."""
    for scenario in scenarios:
        if scenario.name.startswith(PREFIX):
            raise SpecError(scenario.name, "a calibration scenario cannot validate what was fitted to it")


def _wrapped(progress: Progress | None, count: int, label: str) -> Iterable[int]:
    return progress(range(count), label) if progress is not None else range(count)


def _observe_all(scenarios: Sequence[Scenario], rounds: int, seed: int, progress: Progress | None) -> list[list[Run]]:
    """Each scenario once a round, so that a change of the machine's mood touches all alike."""
    real: list[list[Run]] = [[] for _ in scenarios]
    traces = capability("tracefs").present
    timelines = [traces and takes_turns(scenario) for scenario in scenarios]
    for number in _wrapped(progress, rounds * len(scenarios), "observing"):
        which = number % len(scenarios)
        phases = number // len(scenarios)
        run = observe(scenarios[which], seed=seed, phases=phases, repeats_if_disturbed=1, timeline=timelines[which])
        real[which].append(run)
    return real


def takes_turns(scenario: Scenario) -> bool:
    """Whether all that happens is that tasks compute in turn on one CPU: then the lengths of turns are compared."""
    tasks = [task for guest in scenario.guests for task in guest.workload.tasks]
    alone = scenario.cpus is not None and len(scenario.cpus) == 1
    return alone and len(tasks) > 1 and all(_only_computes(operation) for task in tasks for operation in task.program)


def _only_computes(operation: Operation) -> bool:
    if isinstance(operation, Repeat):
        return all(_only_computes(inner) for inner in operation.body)
    return isinstance(operation, Compute)


def _judge(scenario: Scenario, real: Sequence[Run], card: HostCard, replications: int) -> list[Row]:
    if not real:
        return [_skipped(scenario, "no recorded run")]
    judged = [run for run in real if not run.disturbed] or list(real)
    try:
        rows = compare_with_model(judged, host=card, replications=replications).rows
    except (ModelError, BackendUnavailable) as problem:
        return [_skipped(scenario, str(problem))]
    if not judged[0].disturbed:
        return rows
    return [_while_disturbed(row) for row in rows]


def _while_disturbed(row: Row) -> Row:
    """Runs that were all disturbed leave a row undecided, unless they agree: what it counts was not disturbed."""
    values = row.real_values
    if len(values) > 1 and max(values) - min(values) <= 2 * AGREEING * abs(quantile(values, 0.5)):
        return row._replace(reason="all runs were disturbed, but agree")
    return row._replace(verdict=Verdict.UNDECIDED.value, reason="all runs were disturbed")


def compare_with_model(
    real: Sequence[Run], *, host: HostCard | None = None, replications: int = REPLICATIONS
) -> Comparison:
    """Compare real runs of one scenario with what the model predicts for them.

    Parameters
    ----------
    real : sequence of Run
        At least one. Each is simulated with its own seed and phases; their median is what is compared.
    host : HostCard, optional
        The card that the scenario names if absent.
    replications : int
        Runs of the model with all that is uncertain drawn anew; their quantiles are the interval.
    """
    if not real:
        raise SpecError("real", "there is no run to compare")
    real = [_as_limited(run) for run in real]
    scenario = real[0].scenario
    card = host if host is not None else load_host(scenario.host)
    timeline = all(run.slices for run in real)
    model = [_same_circumstances(run, _at_its_speed(card, [run]), timeline) for run in real]
    interval = predict(scenario, n=replications, seed=real[0].seed, host=_at_its_speed(card, real))
    repeatability = card.repeatability.interval if card.repeatability is not None else (0.0, 0.0)
    return compare(model, real, interval=interval, repeatability=repeatability)


def _as_limited(run: Run) -> Run:
    """A real run under the quotas that its kernel took (see :func:`~virtsim.scenario.quotas.fit_quotas`)."""
    cut = run.manifest.get("cgroups", {}).get("clamped_quotas")
    return msgspec.structs.replace(run, scenario=fit_quotas(run.scenario)) if cut else run


def _same_circumstances(run: Run, card: HostCard, timeline: bool) -> Run:
    """The model's run with a real one's seed, begun at the phases of ticks and bandwidth periods that it had."""
    known = Circumstances.of(run, card.kernel.tick_ns)
    return simulate(
        run.scenario, seed=run.seed, phases=phases_of(run), circumstances=known, host=card, timeline=timeline
    )


def _at_its_speed(card: HostCard, runs: Sequence[Run]) -> HostCard:
    """The card at the speed that the machine had around real runs (the median of them), where they tell."""
    rounds_ns = [fmean(told) for run in runs if (told := run.manifest.get("runner", {}).get("round_ns"))]
    return card.at_speed(median(rounds_ns)) if rounds_ns else card


def phases_of(run: Run) -> int:
    """The number of the phases that a real run was begun at."""
    return int(run.manifest.get("phases", 0))


def _skipped(scenario: Scenario, reason: str) -> Row:
    return Row(
        scenario=scenario.name,
        entity="",
        metric="",
        unit="",
        role="prediction",
        model=None,
        model_low=None,
        model_high=None,
        real=None,
        real_spread=None,
        error=None,
        verdict=Verdict.SKIPPED.value,
        margin=0.0,
        reason=reason,
    )


def _by_scenario(scenarios: Sequence[Scenario], runs: Sequence[Run]) -> list[list[Run]]:
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run.scenario.digest, []).append(run)
    return [found.get(scenario.digest, []) for scenario in scenarios]


def _manifest(card: HostCard, rounds: int, seed: int, begun: float, real: list[list[Run]]) -> dict[str, Any]:
    from virtsim import __version__

    return {
        "virtsim": __version__,
        "host": {"card": card.name, "description": card.description, "kernel": card.kernel.version},
        "rounds": rounds,
        "seed": seed,
        "started": begun,
        "took_s": time.time() - begun,
        "disturbed_runs": sum(run.disturbed for runs in real for run in runs),
        "runs": sum(len(runs) for runs in real),
    }
