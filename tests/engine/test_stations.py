"""First come first served and priorities: exact timelines, and the properties every timeline has."""

from heapq import heappop, heappush

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtsim.core.errors import ModelError
from virtsim.engine.environment import Environment
from virtsim.engine.probes import StationProbe
from virtsim.engine.stations import FifoStation, PriorityStation

JOBS = st.lists(st.tuples(st.integers(0, 100), st.integers(0, 40)), min_size=1, max_size=40)


def test_two_servers_first_come_first_served(feed):
    env = Environment()
    station = FifoStation(env, servers=2)
    plan = [(0, 10), (0, 4), (1, 5), (2, 1)]
    jobs = feed(env, plan, lambda i: station.serve(plan[i][1]))
    env.run()
    assert [(job.arrival_ns, job.start_ns, job.end_ns) for job in jobs] == [
        (0, 0, 10),
        (0, 0, 4),
        (1, 4, 9),
        (2, 9, 10),
    ]
    assert jobs[2].sojourn_ns == 8
    assert (station.waiting, station.in_service) == (0, 0)


@given(JOBS, st.integers(1, 4))
def test_fifo_is_the_kiefer_wolfowitz_recursion(feed, plan, servers):
    """J. Kiefer, J. Wolfowitz 1955: each job starts when it has arrived and the first server is free."""
    plan = sorted(plan, key=lambda job: job[0])
    env = Environment()
    station = FifoStation(env, servers)
    jobs = feed(env, plan, lambda i: station.serve(plan[i][1]))
    env.run()
    free = [0] * servers
    for (arrival, work), job in zip(plan, jobs, strict=True):
        start = max(arrival, heappop(free))
        heappush(free, start + work)
        assert (job.start_ns, job.end_ns) == (start, start + work)


@given(JOBS, st.integers(1, 3), st.lists(st.tuples(st.integers(0, 120), st.integers(0, 39)), max_size=10))
def test_withdrawn_jobs_leave_and_the_others_end(feed, plan, servers, withdrawals):
    env = Environment()
    station = FifoStation(env, servers, StationProbe(env))
    jobs = feed(env, plan, lambda i: station.serve(plan[i][1]))
    gone = set()

    def withdraw(i):
        if i < len(jobs) and jobs[i] is not None and jobs[i].place is not None:
            station.withdraw(jobs[i])
            gone.add(i)

    for time, i in withdrawals:
        env.delay(time).callbacks.append(lambda _, i=i: withdraw(i))
    env.run()
    for i, job in enumerate(jobs):
        assert (job.end_ns is None) == (i in gone)
    assert (station.waiting, station.in_service, station.probe.in_system.level, station.probe.busy.level) == (0,) * 4


def test_a_withdrawn_job_frees_its_server_at_once():
    env = Environment()
    station = FifoStation(env)
    first, second, third = (station.serve(10) for _ in range(3))
    env.run(until=3)
    station.withdraw(second)
    station.withdraw(first)
    env.run()
    assert (third.start_ns, third.end_ns) == (3, 13)
    for job in (first, third):
        with pytest.raises(ModelError, match="not at this station"):
            station.withdraw(job)


def test_the_urgent_are_served_first_and_equals_in_order():
    env = Environment()
    station = PriorityStation(env)
    order = []
    for name, priority in (("running", 5), ("low", 3), ("high", 1), ("low too", 3), ("high too", 1)):
        station.serve(10, priority).callbacks.append(lambda _, name=name: order.append((env.now, name)))
    env.run()
    assert order == [(10, "running"), (20, "high"), (30, "high too"), (40, "low"), (50, "low too")]


def test_preempted_work_resumes_where_it_was(feed):
    env = Environment()
    station = PriorityStation(env, preemptive=True)
    plan = [(0, 10, 2), (3, 4, 1), (4, 2, 0), (5, 1, 2)]
    jobs = feed(env, plan, lambda i: station.serve(plan[i][1], plan[i][2]))
    env.run()
    assert [(job.start_ns, job.end_ns) for job in jobs] == [(0, 16), (3, 9), (4, 6), (16, 17)]


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(1, 40), st.integers(0, 3)), min_size=1, max_size=30))
def test_preemptive_priority_is_what_a_nanosecond_by_nanosecond_server_does(feed, plan):
    env = Environment()
    station = PriorityStation(env, preemptive=True)
    jobs = feed(env, plan, lambda i: station.serve(plan[i][1], plan[i][2]))
    env.run()
    left = {i: work for i, (_, work, _) in enumerate(plan)}
    arrival_order = sorted(range(len(plan)), key=lambda i: (plan[i][0], i))
    rank = {i: position for position, i in enumerate(arrival_order)}
    now, ends = 0, {}
    while left:
        here = [i for i in left if plan[i][0] <= now]
        if here:
            best = min(here, key=lambda i: (plan[i][2], rank[i]))
            left[best] -= 1
            if not left[best]:
                ends[best] = now + 1
                del left[best]
        now += 1
    assert [job.end_ns for job in jobs] == [ends[i] for i in range(len(plan))]


@given(
    st.lists(st.tuples(st.integers(0, 100), st.integers(0, 40), st.integers(0, 3)), min_size=1, max_size=30),
    st.integers(1, 3),
    st.booleans(),
)
def test_the_most_urgent_class_does_not_see_the_others(feed, plan, servers, preemptive):
    """With preemption, jobs of priority 0 end as if they were alone; without, work is conserved all the same."""
    env = Environment()
    station = PriorityStation(env, servers, StationProbe(env), preemptive=preemptive)
    jobs = feed(env, plan, lambda i: station.serve(plan[i][1], plan[i][2]))
    env.run()
    assert station.probe.busy.integral == sum(job.work_ns for job in jobs)
    assert station.probe.in_system.integral == sum(job.sojourn_ns for job in jobs), "Little's law, exactly"
    if preemptive:
        alone = Environment()
        reference = FifoStation(alone, servers)
        urgent = [job for job in plan if job[2] == 0]
        expected = feed(alone, urgent, lambda i: reference.serve(urgent[i][1]))
        alone.run()
        got = [job for job, (_, _, priority) in zip(jobs, plan, strict=True) if priority == 0]
        assert [job.end_ns for job in got] == [job.end_ns for job in expected]


def test_ended_jobs_do_not_pile_up_beside_a_long_one():
    env = Environment()
    station = PriorityStation(env, servers=2, preemptive=True)
    station.serve(10**9, priority=9)

    def source():
        for _ in range(2000):
            yield station.serve(10, priority=1)

    env.process(source())
    env.run()
    assert len(station._victims) < 100


@pytest.mark.parametrize("work", [-1, 1.5, "1"])
def test_bad_work_is_refused(work):
    with pytest.raises(ModelError, match="work_ns"):
        FifoStation(Environment()).serve(work)


def test_no_servers_are_refused():
    with pytest.raises(ModelError, match="servers"):
        FifoStation(Environment(), servers=0)


def test_ten_thousand_waiters_are_served_in_order():
    """SimPy's PriorityResource is quadratic in its waiters; a heap is not."""
    env = Environment()
    station = PriorityStation(env)
    jobs = [station.serve(1, priority=i % 7) for i in range(10_000)]
    assert len(env._queue) == 1, "one pending event, however many jobs"
    env.run()
    assert env.now == 10_000
    by_end = sorted(range(10_000), key=lambda i: jobs[i].end_ns)
    assert by_end == [0, *sorted(range(1, 10_000), key=lambda i: (i % 7, i))]
