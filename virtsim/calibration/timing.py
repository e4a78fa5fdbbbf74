"""Delays that no CPU time explains: how late timers are, and how long an idle CPU takes to answer.

Timers are measured beside a task that computes and where nothing else runs; what they are later there is
what an idle CPU takes to come back. The answer of an idle CPU to a wake-up from another one is the one number
that makes the model's ping-pong across two CPUs last as long as the measured one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from virtsim.backends import observe
from virtsim.calibration.plan import PREFIX, Micro
from virtsim.machine import simulate
from virtsim.platform.host import HostCard
from virtsim.results.histogram import Histogram
from virtsim.results.run import Run
from virtsim.scenario.guest import Guest
from virtsim.scenario.scenario import Scenario
from virtsim.workload.builders import periodic, spin

#: Number of quantiles that stand for the distribution of timer latencies.
QUANTILES = 40
#: A wake-up later than this waited for somebody else to stop, not for its timer, ns.
AT_ONCE_NS = 500_000


@dataclass(frozen=True)
class TimerLatency:
    """How late timers are on a busy CPU, beyond the slack and the CPU time of waking.

    Attributes
    ----------
    quantiles_ns : tuple of int, ns
        Evenly spaced quantiles, ascending.
    runs_ns : tuple of float, ns
        Median of each run.
    idle_ns : tuple of int, ns
        Quantiles of what an idle CPU adds.
    """

    quantiles_ns: tuple[int, ...]
    runs_ns: tuple[float, ...]
    idle_ns: tuple[int, ...]


def timer_scenarios() -> tuple[Scenario, Scenario]:
    """A periodic task alone, and one beside a task that computes; both on CPU 0."""
    short = Guest(name="timer", workload=periodic("20us", "3ms"))
    beside = Guest(name="timer", workload=periodic("200us", "7ms"))
    hog = Guest(name="hog", workload=spin())
    alone = Scenario(name=f"{PREFIX}timer-alone", guests=[short], duration="1s", cpus="0")  # type: ignore[arg-type]
    busy = Scenario(name=f"{PREFIX}timer-beside", guests=[beside, hog], duration="1s", cpus="0")  # type: ignore[arg-type]
    return alone, busy


def measure_timers(card: HostCard, rounds: int, progress: Callable[[], None]) -> TimerLatency:
    """Measure both scenarios ``rounds`` times in turn; ``card`` has the fitted prices already."""
    alone, busy = timer_scenarios()
    runs: list[tuple[Histogram, Histogram]] = []
    for _ in range(rounds):
        quiet, beside = (_wakeups(observe(scenario, repeats_if_disturbed=0)) for scenario in (alone, busy))
        runs.append((quiet, beside))
        progress()
    quiet_all, beside_all = Histogram(), Histogram()
    for quiet, beside in runs:
        quiet_all.merge(quiet)
        beside_all.merge(beside)
    path_ns = _model_path_ns(card, busy)
    late = [value - path_ns for value in _at_once_quantiles(beside_all)]
    typical = max(0.0, late[QUANTILES // 2])
    idle_path_ns = _model_path_ns(card, alone) + typical
    return TimerLatency(
        tuple(max(0, round(value)) for value in late),
        tuple(max(0.0, _at_once_quantiles(beside)[QUANTILES // 2] - path_ns) for _, beside in runs),
        tuple(max(0, round(value - idle_path_ns)) for value in _at_once_quantiles(quiet_all)),
    )


def _at_once_quantiles(wakeups: Histogram) -> list[float]:
    """Evenly spaced quantiles of the wake-ups that did not wait for another task to stop, ns."""
    share = wakeups.share_below(AT_ONCE_NS)
    return [wakeups.percentile_ns(100 * share * (i + 0.5) / QUANTILES) for i in range(QUANTILES)]


def _wakeups(run: Run) -> Histogram:
    return next(record.histogram for record in run.latencies if record.kind == "wakeup_latency")


def _model_path_ns(card: HostCard, scenario: Scenario) -> float:
    """What the model itself says a wake-up takes when timers are not late at all: slack and CPU time."""
    timing = card.timing.replace(
        timer_latency=card.timing.timer_latency.at(0.0),
        idle_exit=card.timing.idle_exit.at(0.0),
        timer_latency_quantiles=[],
        idle_exit_quantiles=[],
    )
    wakeups = _wakeups(simulate(scenario, host=card.replace(timing=timing)))
    return _at_once_quantiles(wakeups)[QUANTILES // 2]


def idle_answer_ns(card: HostCard, micro: Micro, wall_ns: Sequence[float]) -> list[float]:
    """The answer time of an idle CPU that explains each measured round trip across two CPUs, ns.

    A round trip crosses twice, so the model's wall time grows by twice the answer time; 0 where even
    an immediate answer takes longer than measured.
    """
    timing = card.timing.replace(wakeup_idle_cpu=card.timing.wakeup_idle_cpu.at(0.0))
    run = simulate(micro.scenario, host=card.replace(timing=timing))
    without_ns = max(task.end_ns or 0 for task in run.tasks) / micro.repetitions
    return [max(0.0, (wall - without_ns) / 2) for wall in wall_ns]
