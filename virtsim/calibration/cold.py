"""What a woken task finds cold: its CPU time after absences of several lengths, against the model's without that.

With somebody else on the CPU meanwhile: the tail of a pipe whose head computes for long. With nobody: a
periodic task alone.
"""

from __future__ import annotations

import datetime
from itertools import accumulate
from statistics import median

from virtsim.backends import observe
from virtsim.calibration.plan import PREFIX
from virtsim.core.spec import Duration
from virtsim.machine import simulate
from virtsim.platform.host import HostCard
from virtsim.platform.timing import ColdWakeup
from virtsim.results.run import Run
from virtsim.scenario.guest import Guest
from virtsim.scenario.scenario import Scenario
from virtsim.workload.builders import periodic
from virtsim.workload.workload import Workload

#: Lengths of the absences, ns.
AWAY_NS = (20_000, 60_000, 200_000, 1_000_000, 5_000_000, 20_000_000)
#: CPU time of the task that is watched, about, ns of work.
WORK_NS = 20_000
#: Absences in one run: as many as fit into the time, but some at least.
RUN_NS, LEAST = 60_000_000, 10


def measure_cold(card: HostCard, rounds: int) -> ColdWakeup:
    """Measure all absences ``rounds`` times in turn; ``card`` has the fitted prices already."""
    warm = card.replace(timing=card.timing.replace(cold=None))
    scenarios = [(make(away), away) for make in (_beside, _alone) for away in AWAY_NS]
    runs: list[list[Run]] = [[] for _ in scenarios]
    for _ in range(rounds):
        for (scenario, _away), collected in zip(scenarios, runs):
            collected.append(observe(scenario, repeats_if_disturbed=0))
    extra = [_extra_ns(scenario, real, warm, _absences(away)) for (scenario, away), real in zip(scenarios, runs)]
    busy, idle = extra[: len(AWAY_NS)], extra[len(AWAY_NS) :]
    return ColdWakeup(
        away=[Duration(away) for away in AWAY_NS],
        busy=list(accumulate(busy, max)),
        idle=list(accumulate(idle, max)),
        source="measured: CPU time of a woken task after each absence, less the model's; ascending by running maxima",
        date=datetime.date.today().isoformat(),
    )


def _absences(away_ns: int) -> int:
    return max(LEAST, min(1000, RUN_NS // away_ns))


def _beside(away_ns: int) -> Scenario:
    """The tail of a pipe, whose head computes for the absence before it sends."""
    turns = _absences(away_ns)
    head = [{"op": "compute", "work": f"{away_ns}ns"}, {"op": "send", "channel": "c"}]
    tail = [{"op": "receive", "channel": "c"}, {"op": "compute", "work": f"{WORK_NS // 10}ns"}]
    tasks = [
        {"name": name, "program": [{"op": "repeat", "count": turns, "body": body}]}
        for name, body in (("head", head), ("watched", tail))
    ]
    workload = Workload.from_builtins({"tasks": tasks})
    return Scenario(
        name=f"{PREFIX}cold-beside-{away_ns // 1000}us",
        guests=[Guest(name="g", workload=workload)],
        duration="10s",  # type: ignore[arg-type]
        cpus="0",  # type: ignore[arg-type]
    )


def _alone(away_ns: int) -> Scenario:
    """A periodic task that sleeps for the absence in every period."""
    period_ns = away_ns + 2 * WORK_NS
    watched = periodic(f"{WORK_NS}ns", period_ns)
    return Scenario(
        name=f"{PREFIX}cold-alone-{away_ns // 1000}us",
        guests=[Guest(name="g", workload=watched)],
        duration=Duration(_absences(away_ns) * period_ns),
        cpus="0",  # type: ignore[arg-type]
    )


def _extra_ns(scenario: Scenario, real: list[Run], warm: HostCard, absences: int) -> int:
    """What the watched task used on top of the model's for each absence, ns."""
    expected_ns = _watched_ns(simulate(scenario, host=warm))
    extra_ns = median(_watched_ns(run) - expected_ns for run in real) / absences
    return max(0, round(extra_ns))


def _watched_ns(run: Run) -> int:
    return run.tasks[-1].cpu_time_ns
