"""Processor sharing against an exact rational model, and exact conservation of work."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtsim.core.errors import ModelError
from virtsim.engine.environment import Environment
from virtsim.engine.probes import StationProbe
from virtsim.engine.sharing import SharingStation
from virtsim.engine.stations import FifoStation

PLAN = st.lists(
    st.tuples(st.integers(0, 2000), st.integers(0, 1000), st.sampled_from([1, 1, 2, 3, 100])), min_size=1, max_size=25
)


def fluid_ends(plan, servers):
    """Ends of the jobs in real-valued time, by exact rational arithmetic."""
    left = {i: Fraction(work) for i, (_, work, _) in enumerate(plan)}
    now, ends = Fraction(0), {}
    while left:
        here = [i for i in left if plan[i][0] <= now]
        arrivals = [plan[i][0] for i in left if plan[i][0] > now]
        weight = sum(plan[i][2] for i in here)
        speed = {i: min(Fraction(1), Fraction(servers * plan[i][2], weight)) for i in here}
        steps = [left[i] / speed[i] for i in here] + [time - now for time in arrivals]
        step = min(steps)
        for i in here:
            left[i] -= speed[i] * step
        now += step
        for i in [i for i in here if left[i] == 0]:
            ends[i] = now
            del left[i]
    return [ends[i] for i in range(len(plan))]


def test_two_equal_jobs_share_equally(feed):
    env = Environment()
    station = SharingStation(env)
    jobs = feed(env, [(0, 100), (50, 100), (60, 10)], lambda i: station.serve((100, 100, 10)[i]))
    env.run()
    # 50 alone, 10 at 1/2, then thirds until the last has had 10 (30 ns), then halves.
    assert [job.end_ns for job in jobs] == [160, 210, 90]


def test_weights_divide_the_speed():
    env = Environment()
    station = SharingStation(env)
    heavy, light = station.serve(300, weight=3), station.serve(300, weight=1)
    env.run(until=200)
    assert (station.attained_ns(heavy), station.attained_ns(light)) == (150.0, 50.0)
    env.run()
    assert (heavy.end_ns, light.end_ns) == (400, 600)
    assert station.attained_ns(heavy) == 300


@given(PLAN)
def test_one_server_follows_the_fluid_model(feed, plan):
    """Within the roundings to whole nanoseconds: one for the job's own end and one for each before it."""
    env = Environment()
    station = SharingStation(env)
    jobs = feed(env, plan, lambda i: station.serve(plan[i][1], plan[i][2]))
    env.run()
    for job, end in zip(jobs, fluid_ends(plan, 1), strict=True):
        assert -len(plan) <= job.end_ns - end <= len(plan)


@given(PLAN, st.integers(2, 5))
def test_several_servers_follow_the_fluid_model(feed, plan, servers):
    plan = [(arrival, work, 1) for arrival, work, _ in plan]
    env = Environment()
    station = SharingStation(env, servers)
    jobs = feed(env, plan, lambda i: station.serve(plan[i][1]))
    env.run()
    for job, end in zip(jobs, fluid_ends(plan, servers), strict=True):
        assert -len(plan) <= job.end_ns - end <= len(plan)
        assert job.sojourn_ns >= job.work_ns, "a job runs on one server at a time"


@given(PLAN)
def test_busy_periods_end_at_the_same_nanosecond_as_first_come_first_served(plan):
    """Work is neither lost nor invented: exact, for any weights and any number of ends in between."""
    env = Environment()
    sharing, fifo = SharingStation(env, probe=StationProbe(env)), FifoStation(env, probe=StationProbe(env))
    idle_at = {sharing: [], fifo: []}

    def ends(station):
        if station.probe.in_system.level == 0:
            idle_at[station].append(env.now)

    for station, serve in ((sharing, sharing.serve), (fifo, lambda work, _: fifo.serve(work))):
        for arrival, work, weight in plan:

            def arrive(_, station=station, serve=serve, work=work, weight=weight):
                serve(work, weight).callbacks.append(lambda _: ends(station))

            env.delay(arrival).callbacks.append(arrive)
    env.run()
    assert sorted(set(idle_at[sharing])) == sorted(set(idle_at[fifo]))
    assert sharing.probe.busy.integral == fifo.probe.busy.integral == sum(work for _, work, _ in plan)


@given(PLAN, st.integers(0, 24), st.integers(0, 3000))
def test_withdrawing_a_job_leaves_the_others_its_speed(feed, plan, victim, time):
    env = Environment()
    station = SharingStation(env)
    jobs = feed(env, plan, lambda i: station.serve(plan[i][1], plan[i][2]))

    def withdraw(_):
        job = jobs[victim] if victim < len(jobs) else None
        if job is not None and job.place is not None:
            station.withdraw(job)

    env.delay(time).callbacks.append(withdraw)
    env.run()
    assert station.in_service == 0
    for i, job in enumerate(jobs):
        if job.end_ns is None:
            assert i == victim
            with pytest.raises(ModelError, match="withdrawn"):
                station.attained_ns(job)
            with pytest.raises(ModelError, match="not at this station"):
                station.withdraw(job)
        else:
            assert job.sojourn_ns >= job.work_ns


def test_a_large_crowd_costs_one_event_each():
    env = Environment()
    station = SharingStation(env)
    for i in range(5000):
        station.serve(1000 + i)
    assert len(env._queue) <= 130, "one pending event and at most its cancelled predecessors"
    env.run()
    assert env.now == sum(1000 + i for i in range(5000))


def test_bad_weights_are_refused():
    with pytest.raises(ModelError, match="weight"):
        SharingStation(Environment()).serve(1, weight=0)
    with pytest.raises(ModelError, match="several servers"):
        SharingStation(Environment(), servers=2).serve(1, weight=2)
    with pytest.raises(ModelError, match="servers"):
        SharingStation(Environment(), servers=0)
