"""Policies beside the fair class: laws that all keep, shares, priorities, deadlines, and exact timelines."""

from __future__ import annotations

from itertools import pairwise
from math import sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import virtsim.scheduling.policies  # noqa: F401 (registers them)
from tests.scheduling.conftest import MS, add, hog, job
from tests.scheduling.test_laws import Plan, plans
from tests.scheduling.test_laws import build as build_plans
from virtsim.core.errors import ModelError
from virtsim.scheduling.heart import Heart
from virtsim.scheduling.policies.bvt import BorrowedVirtualTime, Borrower
from virtsim.scheduling.policies.credit import Credit, Domain, Vcpu
from virtsim.scheduling.policies.credit2 import Credit2, Domain2, Vcpu2
from virtsim.scheduling.policies.deadline import Deadline, Server
from virtsim.scheduling.policies.fifo import Fifo
from virtsim.scheduling.policies.gang import Gang, GangScheduling
from virtsim.scheduling.policies.lottery import Lottery
from virtsim.scheduling.policies.periodic import EarliestDeadlineFirst, Job, RateMonotonic
from virtsim.scheduling.policies.realtime import Priority, RealTime
from virtsim.scheduling.policies.round_robin import RoundRobin
from virtsim.scheduling.policies.stride import Stride, Tickets
from virtsim.scheduling.policy import POLICIES
from virtsim.scheduling.program import Code, Program
from virtsim.scheduling.settings import Frequencies, Kernel
from virtsim.scheduling.task import RUNNABLE, Task

SPAN_NS = 400 * MS

#: What makes a policy, and what each of its tasks needs; those of a hypervisor have a domain for each task.
MADE = {
    "fifo": (Fifo, lambda i: None),
    "round-robin": (RoundRobin, lambda i: None),
    "lottery": (Lottery, lambda i: 1 + i),
    "stride": (Stride, lambda i: Tickets(1 + i)),
    "credit": (Credit, lambda i: Vcpu(Domain(256 * (1 + i)))),
    "credit2": (Credit2, lambda i: Vcpu2(Domain2(256 * (1 + i)))),
    "bvt": (BorrowedVirtualTime, lambda i: Borrower(1 + i)),
    "realtime": (RealTime, lambda i: Priority(1 + i % 3, round_robin=i % 2 == 0)),
    "edf": (EarliestDeadlineFirst, lambda i: Job((3 + i) * MS)),
    "rate-monotonic": (RateMonotonic, lambda i: Job((3 + i) * MS)),
    "deadline": (Deadline, lambda i: Server((1 + i % 3) * MS, (20 + i) * MS, (20 + 2 * i) * MS)),
}
#: Those that never leave a CPU idle beside a task that could run.
CONSERVING = sorted(set(MADE) - {"deadline"})
names = pytest.mark.parametrize("name", MADE)


def under(name: str, cpus: int, chosen: list[Plan], fair_every: int = 0) -> Heart:
    """A heart whose tasks have a policy; every so-manieth is of the fair class."""
    heart = build_plans(cpus, chosen, quota=False)
    make, data = MADE[name]
    policy = heart.add_policy(make())
    for i, task in enumerate(heart.tasks):
        if not fair_every or i % fair_every:
            task.policy, task.policy_data = policy, data(i)
    return heart


def test_every_policy_is_tried_here():
    """Gangs, which have CPUs of their own whatever their tasks may use, below."""
    assert {*MADE, "gang"} == set(POLICIES)


@names
@settings(max_examples=12)
@given(chosen=plans(3), fair_every=st.sampled_from([0, 3]))
def test_every_nanosecond_is_accounted_for_and_no_task_is_twice_at_once(name, chosen, fair_every):
    heart = under(name, 3, chosen, fair_every)

    running: dict[int, str] = {}

    def switched(time, cpu, old, new):
        running.pop(cpu, None)
        if new is not None:
            assert new.name not in running.values(), "runs twice at once"
            assert cpu in new.cpus
            running[cpu] = new.name

    heart.on_switch = switched
    heart.advance(SPAN_NS)
    idle = sum(cpu.idle_ns + (heart.now_ns - cpu.idle_since_ns if cpu.current is None else 0) for cpu in heart.cpus)
    assert sum(task.cpu_time_ns for task in heart.tasks) + idle == 3 * SPAN_NS
    assert heart.root.cpu_time_ns == sum(task.cpu_time_ns for task in heart.tasks)


@pytest.mark.parametrize("name", CONSERVING)
@settings(max_examples=8)
@given(chosen=plans(1))
def test_the_cpu_is_never_idle_while_a_task_waits(name, chosen):
    """One CPU: all but the throttled real-time and capped hypervisor policies are work conserving, and so are those."""
    heart = under(name, 1, chosen)
    for step in range(1, 101):
        heart.advance(step * SPAN_NS // 100)
        cpu = heart.cpus[0]
        if cpu.current is None and not cpu.resched_pending:
            assert not [task.name for task in heart.tasks if task.state == RUNNABLE]


@pytest.mark.parametrize(
    ("name", "data", "span_ns", "tolerance"),
    [
        ("stride", [Tickets(1), Tickets(3), Tickets(4)], 2_000 * MS, 10 * MS),
        ("bvt", [Borrower(1), Borrower(3), Borrower(4)], 2_000 * MS, 25 * MS),
        ("credit", [Vcpu(Domain(256 * w)) for w in (1, 3, 4)], 8_000 * MS, 120 * MS),
        ("credit2", [Vcpu2(Domain2(256 * w)) for w in (1, 3, 4)], 8_000 * MS, 30 * MS),
    ],
    ids=["stride", "bvt", "credit", "credit2"],
)
def test_hogs_get_their_weights_parts(name, data, span_ns, tolerance):
    heart = Heart(1)
    policy = heart.add_policy(POLICIES.get(name)())
    tasks = [add(heart, f"t{i}", hog()) for i in range(3)]
    for task, each in zip(tasks, data, strict=True):
        task.policy, task.policy_data = policy, each
    heart.advance(span_ns)
    for task, weight in zip(tasks, (1, 3, 4), strict=True):
        assert abs(task.cpu_time_ns - span_ns * weight // 8) <= tolerance, (task.name, task.cpu_time_ns)


def test_lottery_draws_by_tickets():
    """H0: each of n = 2,000 draws is won by the task with 3 of 4 tickets with probability 3/4; alpha = 0.001."""
    heart = Heart(1)
    policy = heart.add_policy(Lottery(quantum=MS, seed=11))
    tasks = [add(heart, f"t{i}", hog()) for i in range(2)]
    for task, tickets in zip(tasks, (1, 3), strict=True):
        task.policy, task.policy_data = policy, tickets
    heart.advance(2_000 * MS)
    z = (tasks[1].cpu_time_ns / MS - 1_500) / sqrt(2_000 * 0.75 * 0.25)
    print(f"z = {z:+.2f}")
    assert abs(z) < 3.29


def test_round_robin_in_turns_of_a_quantum(switches):
    heart = Heart(1)
    seen = switches(heart)
    policy = heart.add_policy(RoundRobin(quantum=3 * MS))
    for name in "abc":
        add(heart, name, hog()).policy = policy
    heart.advance(30 * MS)
    assert [(time // MS, name) for time, _, name in seen] == [(3 * i, "abc"[i % 3]) for i in range(11)]


def test_fifo_runs_to_completion(switches):
    heart = Heart(1)
    seen = switches(heart)
    policy = heart.add_policy(Fifo())
    for name in "ab":
        add(heart, name, hog()).policy = policy
    heart.advance(50 * MS)
    assert [name for _, _, name in seen] == ["a"]


# -- Linux's real-time classes ------------------------------------------------------------------------------------


def realtime(heart: Heart, name: str, program, priority: int, policy: RealTime, round_robin: bool = False):
    task = add(heart, name, program)
    task.policy, task.policy_data = policy, Priority(priority, round_robin)
    return task


def test_a_higher_priority_preempts_at_once_and_the_preempted_comes_first_again(switches):
    heart = Heart(1)
    seen = switches(heart)
    policy = heart.add_policy(RealTime())
    realtime(heart, "low", hog(), 10, policy)
    realtime(heart, "equal", hog(), 10, policy)
    realtime(heart, "high", job(2 * MS, 10 * MS - 50_000), 20, policy)
    heart.advance(41 * MS)
    assert {name for _, _, name in seen} == {"low", "high"}
    high = [time for time, _, name in seen if name == "high"]
    assert [b - a for a, b in pairwise(high[1:])] == [10 * MS - 50_000] * 3


def test_round_robin_tasks_of_a_priority_take_turns_of_100_ms(switches):
    heart = Heart(1)
    seen = switches(heart)
    policy = heart.add_policy(RealTime())
    for name in "ab":
        realtime(heart, name, hog(), 5, policy, round_robin=True)
    heart.advance(600 * MS)
    assert [(time // MS, name) for time, _, name in seen] == [(100 * i, "ab"[i % 2]) for i in range(7)]


def test_turns_are_counted_in_ticks(switches):
    """Begun at 1 ms, 25 ticks of 4 ms are over at 100 ms (``task_tick_rt``)."""
    heart = Heart(1)
    seen = switches(heart)
    policy = heart.add_policy(RealTime())
    for name in "ab":
        task = add(heart, name, hog(), start=MS)
        task.policy, task.policy_data = policy, Priority(5, round_robin=True)
    heart.advance(350 * MS)
    assert [(time // MS, name) for time, _, name in seen] == [(1, "a"), (100, "b"), (200, "a"), (300, "b")]


def alternating(*times_ms):
    return [(time, ("rt", "fair")[i % 2]) for i, time in enumerate(times_ms)]


def test_the_fair_server_waits_for_zero_laxity_once_and_then_serves_at_the_begin_of_its_periods(switches):
    """By hand, with ticks of 4 ms. A second after 1 ms its first period ends: with 50 ms to go fair tasks run until the
    tick at 1004 ms, 3 ms too long. That is in the next period, whose 47 ms are over at the tick at 1052 ms. Then it has
    49 ms from 2001 ms on, until the tick at 2052, and 48 from 3001 ms on."""
    heart = Heart(1)
    seen = switches(heart)
    policy = heart.add_policy(RealTime())
    add(heart, "fair", hog())
    task = add(heart, "rt", hog(), start=MS)
    task.policy, task.policy_data = policy, Priority(50)
    heart.advance(4_000 * MS)
    assert [(time // MS, name) for time, _, name in seen[1:]] == alternating(1, 951, 1052, 2001, 2052, 3001, 3052)


def test_what_fair_tasks_get_anyway_is_their_servers():
    """A real-time task of 98 % leaves 20 ms a second, and the server gives 30 more."""
    heart = Heart(1)
    policy = heart.add_policy(RealTime())
    realtime(heart, "rt", job(98 * MS, 100 * MS), 50, policy).slack_ns = 0
    fair = add(heart, "fair", hog())
    heart.advance(1_000 * MS)
    before = fair.cpu_time_ns
    heart.advance(11_000 * MS)
    assert abs(fair.cpu_time_ns - before - 500 * MS) <= 10 * 4 * MS


def test_a_throttled_class_takes_what_was_too_much_into_its_next_period(switches):
    """By hand, with ticks of 4 ms: more than 950 ms are used at the tick at 952 ms. 2 ms of that count in the next
    period, in which 950 ms, not more, are used at 1948; so 4 ms in the one after that."""
    heart = Heart(1)
    seen = switches(heart)
    policy = heart.add_policy(RealTime(fair_server=False))
    realtime(heart, "rt", hog(), 50, policy)
    add(heart, "fair", hog())
    heart.advance(3_990 * MS)
    assert [(time // MS, name) for time, _, name in seen] == alternating(0, 952, 1000, 1952, 2000, 2948, 3000, 3952)


def test_periods_of_throttling_begin_with_the_first_real_time_task(switches):
    heart = Heart(1)
    seen = switches(heart)
    policy = heart.add_policy(RealTime(fair_server=False))
    add(heart, "fair", hog())
    task = add(heart, "rt", hog(), start=500 * MS)
    task.policy, task.policy_data = policy, Priority(50)
    heart.advance(1_600 * MS)
    assert [(time // MS, name) for time, _, name in seen[1:]] == alternating(500, 1452, 1500)


@pytest.mark.parametrize("fair_server", [True, False], ids=["server since 6.12", "throttling before"])
def test_a_fair_task_gets_a_twentieth_beside_a_real_time_hog(fair_server):
    heart = Heart(1)
    policy = heart.add_policy(RealTime(fair_server=fair_server))
    urgent = realtime(heart, "rt", hog(), 50, policy)
    fair = add(heart, "fair", hog())
    heart.advance(10_000 * MS)
    assert abs(fair.cpu_time_ns - 500 * MS) <= 10 * 4 * MS, "50 ms a second, give or take a tick each"
    assert urgent.cpu_time_ns + fair.cpu_time_ns == 10_000 * MS


@pytest.mark.parametrize(("fair_server", "idle_ms"), [(True, 0), (False, 500)])
def test_alone_a_real_time_hog_is_throttled_only_before_6_12(fair_server, idle_ms):
    heart = Heart(1)
    task = realtime(heart, "rt", hog(), 50, heart.add_policy(RealTime(fair_server=fair_server)))
    heart.advance(10_000 * MS)
    assert abs(10_000 * MS - task.cpu_time_ns - idle_ms * MS) <= 40 * MS


def sharing(version, cpus=2):
    """A heart whose real-time tasks are throttled, and that policy."""
    heart = Heart(cpus, Kernel(scheduler="cfs", version=version))
    return heart, heart.add_policy(RealTime(fair_server=False))


def pinned(heart, policy, cpu, program):
    """A real-time task and a fair hog of one CPU, both for ever there."""
    task = add(heart, f"rt{cpu}", program, cpus={cpu}, slack_ns=0)
    task.policy, task.policy_data = policy, Priority(50)
    add(heart, f"fair{cpu}", hog(), cpus={cpu})


def on(seen, cpu):
    return [(time // MS, (name or "idle").rstrip("01")) for time, number, name in seen if number == cpu]


@pytest.mark.parametrize("version", [(5, 9), (5, 10)])
def test_before_5_10_a_real_time_hog_borrows_from_an_idle_cpu_and_never_stops(version, switches):
    """By hand: at the tick at 952 ms it may take half of the other's 950 ms, and needs 50 for a whole period."""
    heart, policy = sharing(version)
    seen = switches(heart)
    pinned(heart, policy, 0, hog())
    heart.advance(1_990 * MS)
    runtimes = [ration.runtime_ns // MS for ration in policy.rations[""]]
    if version < (5, 10):
        assert on(seen, 0) == [(0, "rt")]
        assert runtimes == [1_000, 900]
    else:
        assert on(seen, 0) == alternating(0, 952, 1_000, 1_952)
        assert runtimes == [950, 950]


def test_two_real_time_hogs_have_nothing_to_lend_but_at_a_periods_end(switches):
    """By hand, ticks of 4 ms, CPU 0 first: both stop at 952 ms in each period; without lending, at 948 in the third.

    At 952 ms CPU 1 has 2 ms left as of its last tick: CPU 0 takes 1 and has used 952 of 951 ms; CPU 1 has used 952 of
    949. At 1000 ms CPU 1 takes 51 of the 950 that CPU 0 then has, and owes nothing, CPU 0 one. At 1900 ms CPU 0 has
    used 901 of 900 ms, and half of the 104 that CPU 1 had at its last tick make 952, which hold up to 1952 ms, where
    CPU 1 has used 952 of 948: the same again in each period.
    """
    heart, policy = sharing((5, 9))
    seen = switches(heart)
    for cpu in (0, 1):
        pinned(heart, policy, cpu, hog())
    heart.advance(999 * MS)
    assert [ration.runtime_ns // MS for ration in policy.rations[""]] == [951, 949]
    heart.advance(1_800 * MS)
    assert [ration.runtime_ns // MS for ration in policy.rations[""]] == [900, 1_000]
    heart.advance(3_990 * MS)
    for cpu in (0, 1):
        assert on(seen, cpu) == alternating(0, 952, 1_000, 1_952, 2_000, 2_952, 3_000, 3_952)


def test_what_another_cpu_has_left_is_lent_until_there_is_none(switches):
    """By hand: CPU 1 works for 9.4 ms every 10 ms, from 10 ms on, so it has used 883.6 ms up to 952 ms.

    CPU 0 takes half of the 66.4 ms that are left, which makes 983.2. At 984 ms it takes half of 5 ms, 911.8 being used:
    985.7. Then CPU 1 has used 915.8 of 914.3 ms, half of the 1.7 that CPU 0 has left make 915.15, and it stops. At 988
    ms CPU 0 stops. At 1000 ms it owes 3.15, and CPU 1 takes what it needs for a whole period of the rest.
    """
    heart, policy = sharing((5, 9))
    seen = switches(heart)
    pinned(heart, policy, 0, hog())
    pinned(heart, policy, 1, job(9_400_000, 10 * MS))
    found = []
    for at_ms in (951, 953, 985, 999, 1_001):  # without stopping there, which would bring all accounts up to then
        heart.call_at(at_ms * MS, lambda: found.append([ration.runtime_ns // 1_000 for ration in policy.rations[""]]))
    heart.advance(1_500 * MS)
    assert [first_us for first_us, _ in found] == [950_000, 983_200, 984_850, 984_850, 900_000]
    assert [second_us for _, second_us in found] == [950_000, 916_800, 915_150, 915_150, 1_000_000]
    assert on(seen, 0) == alternating(0, 988, 1_000)
    assert [turn for turn in on(seen, 1) if turn[0] >= 980][:3] == [(980, "rt"), (984, "fair"), (1_000, "rt")]


@settings(max_examples=30)
@given(
    loads=st.lists(st.tuples(st.integers(1, 40), st.integers(10, 40)), min_size=2, max_size=4),
    version=st.sampled_from([(4, 19), (5, 10)]),
)
def test_real_time_runtime_is_lent_but_not_made(loads, version):
    heart, policy = sharing(version, len(loads))
    for cpu, (run_ms, period_ms) in enumerate(loads):
        pinned(heart, policy, cpu, job(run_ms * MS, period_ms * MS))
    for until_ms in range(500, 5_000, 700):
        heart.advance(until_ms * MS)
        rations = policy.rations[""]
        assert sum(ration.runtime_ns for ration in rations) == 950 * MS * len(loads)
        assert all(0 < ration.runtime_ns <= 1_000 * MS for ration in rations)
        if version >= (5, 10):
            assert {ration.runtime_ns for ration in rations} == {950 * MS}


# -- deadlines -----------------------------------------------------------------------------------------------------


def deadline_task(heart: Heart, name: str, program, policy: Deadline, runtime_ms: int, period_ms: int):
    task = add(heart, name, program)
    task.policy, task.policy_data = policy, Server(runtime_ms * MS, period_ms * MS, period_ms * MS)
    return task


def test_a_constant_bandwidth_server_gives_its_runtime_in_every_period_and_no_more():
    heart = Heart(1)
    policy = heart.add_policy(Deadline(precise=True))
    limited = deadline_task(heart, "dl", hog(), policy, 3, 10)
    add(heart, "fair", hog())
    used = []
    for period in range(1, 51):
        before = limited.cpu_time_ns
        heart.advance(period * 10 * MS)
        used.append(limited.cpu_time_ns - before)
    assert used == [3 * MS] * 50


def test_without_a_timer_the_tick_ends_a_runtime_and_the_overrun_is_paid_back():
    heart = Heart(1)
    policy = heart.add_policy(Deadline())
    limited = deadline_task(heart, "dl", hog(), policy, 3, 10)
    add(heart, "fair", hog())
    heart.advance(1_000 * MS)
    assert abs(limited.cpu_time_ns - 300 * MS) <= 4 * MS


def once(first_ns: int, sleep_ns: int) -> Program:
    """Run, sleep, and compute from then on."""
    program = Program()
    program.emit(Code.CPU, first_ns)
    program.emit(Code.SLEEP, sleep_ns)
    program.emit(Code.CPU, 100 * MS)
    program.emit(Code.EXIT)
    return program


def constrained(program: Program, until_ms: int, switches) -> list[tuple[float, str | None]]:
    """A task with 2 ms before 4 ms of each 10 ms."""
    heart = Heart(1)
    seen = switches(heart)
    policy = heart.add_policy(Deadline(precise=True))
    task = add(heart, "dl", program, slack_ns=0)
    task.policy, task.policy_data = policy, Server(2 * MS, 4 * MS, 10 * MS)
    heart.advance(until_ms * MS)
    return [(time / MS, name) for time, _, name in seen]


def test_after_its_deadline_a_constrained_task_waits_for_its_next_period(switches):
    """It wakes at 6 ms: after its deadline at 4, before its period ends (``dl_check_constrained_dl``)."""
    assert constrained(once(MS, 5 * MS), 15, switches) == [(0, "dl"), (1, None), (10, "dl"), (12, None)]


def test_before_its_deadline_a_constrained_task_has_no_more_than_its_density_leaves(switches):
    """It wakes at 3 ms with 1.5 ms of runtime: 2 ms in 4 ms allow half of the one that is left until its deadline."""
    seen = constrained(once(MS // 2, 5 * MS // 2), 15, switches)
    assert seen == [(0, "dl"), (0.5, None), (3, "dl"), (3.5, None), (10, "dl"), (12, None)]


def test_an_overrun_is_paid_back_by_one_that_sleeps():
    """3.9 of 3 ms are used when it sleeps, before the tick at 4 ms: 2.1 ms are left for the next period."""
    heart = Heart(1)
    policy = heart.add_policy(Deadline())
    task = deadline_task(heart, "dl", job(3_900_000, 10 * MS), policy, 3, 10)
    task.slack_ns = 0
    heart.advance(25 * MS)
    assert task.policy_data.until_ns == 30 * MS
    assert task.policy_data.left_ns == 2_100_000 - 3_900_000


def test_runtime_lasts_longer_at_a_lower_frequency():
    """At half of the highest frequency 3 ms of runtime are 6 ms (``dl_scaled_delta_exec``)."""
    heart = Heart(1)
    heart.govern(Frequencies(10**9, 2 * 10**9, 2 * 10**9, governor="powersave"))
    task = deadline_task(heart, "dl", hog(), heart.add_policy(Deadline()), 3, 10)
    heart.advance(1_000 * MS)
    assert abs(task.cpu_time_ns - 600 * MS) <= 8 * MS


def test_more_bandwidth_than_there_is_is_refused():
    heart = Heart(1)
    policy = heart.add_policy(Deadline())
    with pytest.raises(ModelError, match="95 %"):
        policy.admit([(Server(run_ms * MS, 10 * MS, 10 * MS), frozenset({0})) for run_ms in (6, 4)])


@pytest.mark.parametrize(("others", "refused"), [({0}, "1.20 of 1 CPUs .0.;"), ({1}, ""), ({0, 1}, "")])
def test_bandwidth_is_counted_on_the_cpus_that_tasks_are_confined_to(others, refused):
    policy = Heart(2).add_policy(Deadline())
    asking = [(Server(6 * MS, 10 * MS, 10 * MS), frozenset(cpus)) for cpus in ({0}, others)]
    if refused:
        with pytest.raises(ModelError, match=refused):
            policy.admit(asking)
    else:
        policy.admit(asking)


@st.composite
def task_sets(draw, most: float):
    """Periods of 2 to 40 ms, and run times that add up to at most ``most`` of the CPU."""
    periods = draw(st.lists(st.integers(2, 40), min_size=1, max_size=6))
    parts = [draw(st.integers(1, 100)) for _ in periods]
    total = sum(parts)
    return [(int(period * MS * most * part / total), period * MS) for period, part in zip(periods, parts, strict=True)]


def periodic(policy, chosen) -> list:
    """Jobs from time 0 on, with timers that are exact."""
    heart = Heart(1)
    heart.add_policy(policy)
    tasks = []
    for i, (run_ns, period_ns) in enumerate(chosen):
        task = add(heart, f"t{i}", job(max(run_ns, 1), period_ns), slack_ns=0)
        task.policy, task.policy_data = policy, Job(period_ns)
        tasks.append((task, period_ns))
    heart.advance(800 * MS)
    return tasks


@settings(max_examples=60)
@given(task_sets(1.0))
def test_edf_meets_all_deadlines_up_to_full_utilisation(chosen):
    for task, period_ns in periodic(EarliestDeadlineFirst(), chosen):
        if 1 in task.histograms:
            assert task.histograms[1].max_ns <= period_ns


@settings(max_examples=60)
@given(task_sets(0.69))
def test_rate_monotonic_meets_all_deadlines_up_to_the_bound(chosen):
    """ln 2 = 0.693 is the bound for any number of tasks."""
    for task, period_ns in periodic(RateMonotonic(), chosen):
        if 1 in task.histograms:
            assert task.histograms[1].max_ns <= period_ns


def test_edf_meets_what_rate_monotonic_misses():
    """2.5 of 5 and 3.5 of 7 ms: fully used, which EDF can do and fixed priorities cannot."""
    chosen = [(2_500_000, 5 * MS), (3_500_000, 7 * MS)]
    met = {
        make: all(task.histograms[1].max_ns <= period for task, period in periodic(make(), chosen))
        for make in (EarliestDeadlineFirst, RateMonotonic)
    }
    assert met == {EarliestDeadlineFirst: True, RateMonotonic: False}


# -- Xen -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("warp_ms", "limit_ms", "expected"),
    [
        (0, 0, [(25, "late"), (33, "hog"), (43, "late")]),
        (100, 0, [(22, "late")]),
        (100, 3, [(22, "late"), (25, "hog"), (33, "late"), (43, "hog")]),
    ],
)
def test_who_warps_runs_at_once_for_as_long_as_it_may(switches, warp_ms, limit_ms, expected):
    """It comes at 22 ms, at the hog's virtual time. Without a warp it waits until the hog's allowance is over, and then
    each gets 5 ms ahead of the other. With one of 100 ms it runs at once, and on; with a limit until 25 ms, when it is
    3 ms ahead: the hog goes on until it is 5 ms ahead in turn, at 33 ms."""
    heart = Heart(1)
    seen = switches(heart)
    policy = heart.add_policy(BorrowedVirtualTime())
    hog_, late = add(heart, "hog", hog()), add(heart, "late", hog(), start=22 * MS)
    hog_.policy, hog_.policy_data = policy, Borrower()
    late.policy, late.policy_data = policy, Borrower(warp_ns=warp_ms * MS, warp_limit_ns=limit_ms * MS)
    heart.advance(50 * MS)
    assert [(time / MS, name) for time, _, name in seen if time] == expected


def test_after_its_limit_one_must_not_warp_for_a_while():
    data = Borrower(warp_ns=100 * MS, warp_limit_ns=3 * MS, unwarp_ns=50 * MS)
    seen = []
    for now_ms in (10, 13, 40, 62, 63):
        data.unwarp_in_time(now_ms * MS)
        if now_ms != 13:
            data.warp(now_ms * MS)
        seen.append(data.warped)
    assert seen == [True, False, False, False, True]


def test_credit_runs_slices_of_30_ms(switches):
    heart = Heart(1)
    seen = switches(heart)
    policy = heart.add_policy(Credit())
    for name in "ab":
        task = add(heart, name, hog())
        task.policy, task.policy_data = policy, Vcpu(Domain())
    heart.advance(3_000 * MS)
    lengths = [(b[0] - a[0]) / MS for a, b in pairwise(seen[1:])]
    assert set(lengths) <= {10.0, 20.0, 30.0, 60.0}
    assert sorted(lengths)[len(lengths) // 2] == 30.0


@pytest.mark.parametrize(("policy", "data"), [(Credit, (Vcpu, Domain)), (Credit2, (Vcpu2, Domain2))])
def test_a_cap_holds_though_the_cpu_is_idle(policy, data):
    heart = Heart(1)
    made = heart.add_policy(policy())
    task = add(heart, "t", hog())
    task.policy, task.policy_data = made, data[0](data[1](cap=40))
    heart.advance(6_000 * MS)
    assert task.cpu_time_ns / (6_000 * MS) == pytest.approx(0.40, abs=0.03)


def test_a_vcpu_that_wakes_with_credit_is_boosted():
    """One that needs 1 ms in 20 runs at once beside a hog, but for the rate limit of 1 ms."""
    heart = Heart(1)
    policy = heart.add_policy(Credit())
    for name, program in (("io", job(MS, 20 * MS)), ("hog", hog())):
        task = add(heart, name, program)
        task.policy, task.policy_data = policy, Vcpu(Domain())
    heart.advance(4_000 * MS)
    latency = heart.tasks[0].histograms[0]
    assert latency.percentile_ns(90) <= 1_100_000


def test_idle_cpus_steal(switches):
    """Four hogs of four domains on two CPUs: each gets half a CPU, wherever it began."""
    heart = Heart(2)
    policy = heart.add_policy(Credit())
    for i in range(4):
        task = add(heart, f"t{i}", hog(), cpus=frozenset([0, 1]))
        task.policy, task.policy_data = policy, Vcpu(Domain())
    heart.advance(6_000 * MS)
    for task in heart.tasks:
        assert task.cpu_time_ns / (6_000 * MS) == pytest.approx(0.5, abs=0.05)


def test_credit_that_a_domain_cannot_use_goes_to_the_others_by_their_weights():
    """Weights 8:2:1 on two CPUs: the first domain can use one CPU only; the others share the second as 2:1."""
    heart = Heart(2)
    policy = heart.add_policy(Credit())
    for weight in (8, 2, 1):
        task = add(heart, f"w{weight}", hog(), cpus=frozenset([0, 1]))
        task.policy, task.policy_data = policy, Vcpu(Domain(256 * weight))
    heart.advance(20_000 * MS)
    used = [task.cpu_time_ns / (20_000 * MS) for task in heart.tasks]
    assert used == pytest.approx([1, 2 / 3, 1 / 3], abs=0.04)


def gang_of(heart: Heart, policy: GangScheduling, name: str, programs: list, size: int | None = None) -> list[Task]:
    """Tasks that are a gang of ``policy``."""
    gang = Gang(size or len(programs))
    tasks = [add(heart, f"{name}{i}", program) for i, program in enumerate(programs)]
    for task in tasks:
        task.policy, task.policy_data = policy, gang
    return tasks


def test_gangs_run_all_or_none():
    """Two pairs of hogs on two CPUs, rows of 10 ms: both that run are always of one gang, half of the time each."""
    heart = Heart(2)
    policy = heart.add_policy(GangScheduling())
    pairs = [gang_of(heart, policy, name, [hog(), hog()]) for name in "ab"]
    together = []

    def look() -> None:
        together.append({cpu.current.name[0] for cpu in heart.cpus})

    for at_ms in range(5, 200, 10):
        heart.call_at(at_ms * MS, look)
    heart.advance(200 * MS)
    assert together == [{"a"}, {"b"}] * 10
    assert [task.cpu_time_ns for pair in pairs for task in pair] == [100 * MS] * 4


@pytest.mark.parametrize("fill_in", [True, False])
def test_what_a_gang_leaves_idle_others_may_fill(fill_in):
    """A gang of two, of which the second always sleeps, beside a gang of two that computes, on two CPUs.

    The second CPU is empty in every other row, unless the other gang's task fills in.
    """
    heart = Heart(2)
    policy = heart.add_policy(GangScheduling(fill_in=fill_in))
    first = gang_of(heart, policy, "a", [hog(), job(1, 1000 * MS)])
    second = gang_of(heart, policy, "b", [hog(), hog()])
    heart.advance(200 * MS)
    assert [task.cpu_time_ns // MS for task in (first[0], *second)] == [100, 100, 200 if fill_in else 100]


def test_a_gang_larger_than_the_machine_is_refused():
    heart = Heart(2)
    policy = heart.add_policy(GangScheduling())
    gang_of(heart, policy, "a", [hog()] * 3)
    with pytest.raises(ModelError, match="a gang of 3 cannot run at the same time on 2 CPUs"):
        heart.advance(MS)
