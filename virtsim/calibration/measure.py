"""Measuring micro-workloads: interleaved rounds of separate runs, until they repeat."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median

from virtsim.backends import observe
from virtsim.calibration.plan import Micro
from virtsim.core.errors import CalibrationError
from virtsim.results.run import Run

#: A run that lost more than this share of its CPU to others had their data in its caches as well.
DISTURBED_SHARE = 0.03
#: So many runs are kept, however disturbed.
LEAST_RUNS = 3
#: Runs of a micro-workload whose first is slower than this ratio to the others' median are warm-ups.
WARM_UP_RATIO = 1.05


@dataclass
class Samples:
    """What the runs of one micro-workload gave.

    Attributes
    ----------
    cpu_ns, wall_ns : list of float, ns
        CPU time and elapsed time of one repetition, a value for each run; all tasks together, and of
        the task that ended last.
    lost : list of float
        Share of its CPU that each run lost to others; 0 where tasks wait for each other and it cannot be told.
    waits, switches : list of float
        How often tasks waited, and were switched from, in one repetition.
    round_ns : list of float, ns
        CPU time of a round of the reference loop around each run: how fast the machine was.
    disturbed : int
        Runs left out because they lost too much.
    """

    cpu_ns: list[float] = field(default_factory=list)
    wall_ns: list[float] = field(default_factory=list)
    lost: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    switches: list[float] = field(default_factory=list)
    round_ns: list[float] = field(default_factory=list)
    disturbed: int = 0

    @property
    def columns(self) -> tuple[list[float], ...]:
        """All lists, which have a value for each run."""
        return self.cpu_ns, self.wall_ns, self.lost, self.waits, self.switches, self.round_ns

    @property
    def median_ns(self) -> float:
        """Median CPU time of one repetition, ns."""
        return median(self.cpu_ns)

    def deviations(self) -> list[float]:
        """Each run's CPU time against the median, as a relative difference."""
        median_ns = self.median_ns
        return [value / median_ns - 1 for value in self.cpu_ns]

    @property
    def spread(self) -> float:
        """Half the distance of the quartiles over the median."""
        ordered = sorted(self.cpu_ns)
        quarter = max(1, len(ordered) // 4)
        return (ordered[-quarter] - ordered[quarter - 1]) / 2 / self.median_ns


def measure(
    plan: Sequence[Micro], rounds: int, progress: Callable[[Iterable[int], str], Iterable[int]] | None = None
) -> dict[str, Samples]:
    """Run every micro-workload once a round, for ``rounds`` rounds after a warm-up round.

    Parameters
    ----------
    plan : sequence of Micro
    rounds : int
        Each is a fresh process run of every micro-workload; interleaved, so that a change of the
        machine's speed touches all alike.
    progress : callable, optional
        Wraps the numbers of all runs, as tqdm does.

    Raises
    ------
    CalibrationError
        If a run did not finish its work.
    """
    samples = {micro.name: Samples() for micro in plan}
    total = range((rounds + 1) * len(plan))
    for number in progress(total, "measuring") if progress is not None else total:
        micro = plan[number % len(plan)]
        run = observe(micro.scenario, repeats_if_disturbed=0, operation_latency=True)
        _keep(samples[micro.name], micro, run)
    for collected in samples.values():
        _drop_warm_up(collected)
        _drop_disturbed(collected)
    return samples


def _keep(samples: Samples, micro: Micro, run: Run) -> None:
    if any(task.outcome != "finished" or task.end_ns is None for task in run.tasks):
        outcomes = ", ".join(f"{task.task}: {task.outcome}" for task in run.tasks)
        raise CalibrationError(f"{micro.name} did not finish its work ({outcomes}); is the machine overloaded?")
    cpu_ns = sum(task.cpu_time_ns for task in run.tasks) / micro.repetitions
    wall_ns = max(task.end_ns or 0 for task in run.tasks) / micro.repetitions
    samples.cpu_ns.append(cpu_ns)
    samples.wall_ns.append(wall_ns)
    samples.lost.append(max(0.0, 1 - cpu_ns / wall_ns) if micro.never_waits else 0.0)
    waits = sum(task.voluntary_switches for task in run.tasks)
    samples.waits.append(waits / micro.repetitions)
    samples.switches.append((waits + sum(task.involuntary_switches for task in run.tasks)) / micro.repetitions)
    samples.round_ns.append(fmean(run.manifest["runner"]["round_ns"]))


def _drop_warm_up(samples: Samples) -> None:
    """Drop the first run if it stands out; the others stay, whatever they are."""
    rest = samples.cpu_ns[1:]
    if rest and samples.cpu_ns[0] > WARM_UP_RATIO * median(rest):
        for values in samples.columns:
            del values[0]


def _drop_disturbed(samples: Samples) -> None:
    """Keep the runs that had the CPU to themselves; the best few if there are not enough of them."""
    limit = max(DISTURBED_SHARE, sorted(samples.lost)[min(LEAST_RUNS, len(samples.lost)) - 1])
    kept = [i for i, lost in enumerate(samples.lost) if lost <= limit]
    samples.disturbed += len(samples.lost) - len(kept)
    for values in samples.columns:
        values[:] = [values[i] for i in kept]
