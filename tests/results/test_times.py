"""Where tasks' and groups' time goes, in the records of a run of the model."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import virtsim as vs
from tests.scheduling.conftest import add, hog
from virtsim.scheduling.heart import Heart

QUOTAS = st.sampled_from([None, "5ms/50ms", "30ms/100ms", "3ms/10ms"])


@st.composite
def scenarios(draw):
    cpus = draw(st.sampled_from(["0", "0-1"]))
    groups = [vs.Group("outer", cpu_max=draw(QUOTAS)), vs.Group("inner", parent="outer", cpu_max=draw(QUOTAS))]
    makers = [
        lambda: vs.workloads.spin(tasks=2),
        lambda: vs.workloads.request_server(rate="300/s", service="1ms"),
        lambda: vs.workloads.periodic(period="7ms", work="2ms"),
    ]
    guests = [
        vs.Guest(
            f"g{i}",
            stack="container",
            workload=draw(st.sampled_from(makers))(),
            cpu_max=draw(QUOTAS),
            group=draw(st.sampled_from([None, "outer", "inner"])),
        )
        for i in range(draw(st.integers(1, 4)))
    ]
    return vs.Scenario(host="epyc-guest-linux-6.18", guests=guests, groups=groups, duration="150ms", cpus=cpus)


@settings(max_examples=60)
@given(scenarios(), st.integers(0, 1000))
def test_times_add_up_to_lives_and_groups_to_their_tasks(scenario, seed):
    run = vs.simulate(scenario, seed=seed, timeline=True)
    for task in run.tasks:
        life_ns = (run.duration_ns if task.end_ns is None else task.end_ns) - task.start_ns
        assert task.run_time_ns + task.wait_time_ns + task.throttled_time_ns + task.sleep_time_ns == life_ns
        assert task.wait_time_ns + task.throttled_time_ns == task.run_delay_ns
        mine = [piece for piece in run.slices if (piece.guest, piece.task) == (task.guest, task.task)]
        assert task.run_time_ns == sum(piece.end_ns - piece.start_ns for piece in mine)
        held = [t.end_ns - t.start_ns for t in run.task_throttles if (t.guest, t.task) == (task.guest, task.task)]
        assert task.throttled_time_ns == sum(held)
        guest = next(one for one in scenario.guests if one.name == task.guest)
        if not scenario.has_quota(guest):
            assert task.throttled_time_ns == 0
    inside = {"outer": {"outer", "inner"}, "inner": {"inner"}}
    for record in run.guests:
        groups = inside.get(record.guest, set())
        names = {one.name for one in scenario.guests if one.name == record.guest or one.group in groups}
        tasks = [task for task in run.tasks if task.guest in names]
        assert record.cpu_time_ns == sum(task.cpu_time_ns for task in tasks)
        assert record.run_time_ns == sum(task.run_time_ns for task in tasks)
        assert record.wait_time_ns == sum(task.wait_time_ns for task in tasks)
        assert record.sleep_time_ns == sum(task.sleep_time_ns for task in tasks)
        if record.throttled_time_ns is not None:
            spans = [t.end_ns - t.start_ns for t in run.throttles if t.guest == record.guest]
            assert record.throttled_time_ns == sum(spans)


def test_the_times_are_metrics_of_tasks_and_of_groups():
    scenario = vs.Scenario(
        host="epyc-guest-linux-6.18",
        guests=[vs.Guest("a", stack="container", cpu_max="10ms/50ms", workload=vs.workloads.spin())],
        duration="100ms",
        cpus="0",
    )
    run = vs.simulate(scenario)
    times = {name: run.value("a/spin", name) for name in ("run_time", "wait_time", "throttled_time", "sleep_time")}
    assert sum(times.values()) == 100e6
    assert times["throttled_time"] == pytest.approx(80e6, rel=0.2)
    assert run.value("a", "run_time") == times["run_time"]


@settings(max_examples=40)
@given(scenarios(), st.integers(0, 1000))
def test_the_stream_of_events_tells_the_same_as_the_times(scenario, seed):
    """Where there is no quota, what the stream says of each task's waiting is what was counted, but for both ends."""
    run = vs.simulate(scenario, seed=seed, timeline=True)
    events = run.events()
    assert [event.time_ns for event in events] == sorted(event.time_ns for event in events)
    assert sum(event.event == "sched_wakeup" for event in events) == len(run.wakeups)
    on_cpu = {}
    for event in events:
        if event.event == "sched_switch":
            assert on_cpu.get(event.cpu, "") == event.previous
            on_cpu[event.cpu] = event.next
    histograms = {(r.guest, r.task): r.histogram for r in run.latencies if r.kind == "scheduling_latency"}
    for task in run.tasks:
        mine = [piece for piece in run.slices if (piece.guest, piece.task) == (task.guest, task.task)]
        first_ns = mine[0].start_ns - task.start_ns if mine else run.duration_ns - task.start_ns
        counted_ns = first_ns + (
            histograms[task.guest, task.task].sum_ns if (task.guest, task.task) in histograms else 0
        )
        assert counted_ns <= task.run_delay_ns
        if mine and mine[-1].end_ns == run.duration_ns:
            assert counted_ns == task.run_delay_ns


def test_without_a_timeline_a_long_run_keeps_no_more_than_a_short_one():
    """Times and histograms are counted as they happen; requests are kept one by one only up to a limit."""
    from virtsim.core.spec import encode_json

    guests = [vs.Guest("g", stack="container", workload=vs.workloads.periodic(period="1ms", work="100us"))]
    scenario = vs.Scenario(host="epyc-guest-linux-6.18", guests=guests, duration="1s", cpus="0")
    sizes = [len(encode_json(vs.simulate(scenario.replace(duration=span)))) for span in ("1s", "8s")]
    assert sizes[1] < 1.5 * sizes[0]


def test_requests_beyond_the_limit_are_counted_but_not_kept():
    from virtsim.scheduling.request import MAX_REQUESTS, RequestQueue

    heart = Heart(1)
    task = add(heart, "a/server", hog())
    queue = RequestQueue("q", iter(()))
    for number in range(MAX_REQUESTS + 10):
        queue.record(task, number, number + 1, number + 5)
    assert len(queue.served) == MAX_REQUESTS
    histogram = queue.tallies[task].histogram()
    assert (histogram.count, histogram.min_ns, histogram.max_ns) == (MAX_REQUESTS + 10, 5, 5)
