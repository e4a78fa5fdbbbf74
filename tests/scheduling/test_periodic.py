"""What the policies for periodic tasks count: jobs, and deadlines missed, late jobs too."""

from __future__ import annotations

import pytest

from tests.scheduling.conftest import MS, add
from virtsim.scheduling.heart import Heart
from virtsim.scheduling.policies.periodic import EarliestDeadlineFirst, Job, RateMonotonic
from virtsim.scheduling.program import Code, Program


def released_at_once(run_ns: int, period_ns: int) -> Program:
    """Jobs from time 0 on; one that is late is followed by the next at once."""
    program = Program()
    counter, due = program.slot(), program.slot()
    program.emit(Code.PERIODIC_BEGIN, 1, due)
    program.emit(Code.LOOP_BEGIN, 0, counter)
    top = program.emit(Code.CPU, run_ns)
    program.emit(Code.PERIODIC_WAIT, period_ns, due)
    program.emit(Code.LOOP_END, top, counter)
    return program


def counted(policy, tasks: list[tuple[int, int]], span_ms: int) -> list[tuple[int, int]]:
    heart = Heart(1)
    heart.add_policy(policy)
    for number, (run_ms, period_ms) in enumerate(tasks):
        task = add(heart, f"t{number}", released_at_once(run_ms * MS, period_ms * MS), slack_ns=0)
        task.policy, task.policy_data = policy, Job(period_ms * MS)
    heart.advance(span_ms * MS)
    return [(task.policy_data.done, task.policy_data.missed) for task in heart.tasks]


@pytest.mark.parametrize("make", [EarliestDeadlineFirst, RateMonotonic])
def test_a_job_of_the_whole_period_meets_its_deadline_and_one_of_more_never_does(make):
    """Of 10 ms jobs every 10 ms ten end in 100 ms; of 12 ms jobs eight, the first 2 ms late, the next 4 ms, ..."""
    assert counted(make(), [(10, 10)], 100) == [(10, 0)]
    assert counted(make(), [(12, 10)], 100) == [(8, 8)]


def test_under_overload_edf_lets_all_miss_and_rate_monotonic_protects_the_shorter_period():
    """3 of 5 ms and 5 of 10 ms, 110 % of the CPU.

    EDF by hand: t0 0-3, t1 3-8 (until 10; t0's second job is due at 10 too, came later), t0 8-11 (1 late), t0 11-14,
    t1 14-19 (due at 20, as t0's), t0 19-22 (2 late), t0 22-25, t1 25-30, t0 30-33 (3 late), ...
    """
    assert counted(EarliestDeadlineFirst(), [(3, 5), (5, 10)], 33) == [(6, 3), (3, 0)]
    done, missed = zip(*counted(RateMonotonic(), [(3, 5), (5, 10)], 100), strict=True)
    assert done[0] == 20
    assert missed[0] == 0
    assert missed[1] == done[1] == 8


def test_the_late_job_of_a_task_stands_back_for_a_more_urgent_one(switches):
    """t0's job of 12 ms ends at 12 with the next due at 20; t1's, due at 15, goes first though t0 would go on."""
    heart = Heart(1)
    seen = switches(heart)
    policy = heart.add_policy(EarliestDeadlineFirst())
    for name, run_ms, period_ms, start_ms in (("t0", 12, 10, 0), ("t1", 2, 15, 0)):
        task = add(heart, name, released_at_once(run_ms * MS, period_ms * MS), slack_ns=0, start=start_ms * MS)
        task.policy, task.policy_data = policy, Job(period_ms * MS)
    heart.advance(14 * MS)
    assert [(time // MS, name) for time, _, name in seen] == [(0, "t0"), (12, "t1"), (14, "t0")]
