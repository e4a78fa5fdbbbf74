"""What a timeline tells of virtual CPUs, and of tasks that a quota holds back: against the accounts, and by hand."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scheduling.conftest import add, hog
from virtsim.core.streams import Streams
from virtsim.machine import simulate
from virtsim.machine.builder import MachineBuilder
from virtsim.machine.recorder import Recorder
from virtsim.machine.watch import Watch
from virtsim.platform.host import load_host
from virtsim.results.run import Slice, TaskThrottle
from virtsim.results.spans import inside, outside, pieces_of
from virtsim.results.store import load_runs
from virtsim.scenario.guest import Guest
from virtsim.scenario.scenario import Scenario
from virtsim.scheduling.bandwidth import Bandwidth
from virtsim.scheduling.features import default_features
from virtsim.scheduling.heart import Heart
from virtsim.scheduling.settings import Kernel
from virtsim.scheduling.weight import NICE_0_LOAD
from virtsim.workload.builders import periodic, request_server, spin

HOST = load_host("epyc-guest-linux-6.18")
MS = 1_000_000
# All virtual machines of a host have one scheduler.
STACKS = [["xen-pv"], ["kvm", "hosted-bt", "kvm-nested", "container-in-kvm", "kvm-on-kvm-nested"]]
WORKLOADS = st.sampled_from([spin(2), periodic(period="7ms", work="2ms"), request_server(rate="300/s", service="1ms")])


@st.composite
def machines(draw):
    stacks = st.sampled_from(draw(st.sampled_from(STACKS)))
    guests = [
        Guest(
            name=f"g{i}",
            stack=draw(stacks),
            vcpus=draw(st.integers(1, 2)),
            cpu_max=draw(st.sampled_from([None, "20ms/50ms"])),
            workload=draw(WORKLOADS),
        )
        for i in range(draw(st.integers(1, 3)))
    ]
    return Scenario(guests=guests, duration="120ms", cpus=draw(st.sampled_from(["0", "0-1"])))


def length(spans):
    return sum(end - start for start, end in spans)


@settings(max_examples=40)
@given(machines(), st.integers(0, 1000))
def test_timelines_of_guests_agree_with_all_accounts(scenario, seed):
    run = simulate(scenario, host=HOST, seed=seed, timeline=True)
    last = {}
    for timeline, pieces in zip(run.guest_timelines, pieces_of(run), strict=True):
        last[timeline.guest] = timeline
        for number in range(len(timeline.vcpus)):
            mine = [piece for piece in timeline.slices if piece.cpu == number]
            assert all(one.end_ns <= two.start_ns for one, two in pairwise(mine)), "one task at a time"
        assert [piece for piece, _ in pieces] == timeline.slices
    for task in run.tasks:
        mine = [s.end_ns - s.start_ns for s in last[task.guest].slices if s.task == task.task]
        assert task.run_time_ns == sum(mine)
    held = {}
    for one in run.task_throttles:
        held[one.guest, one.task] = held.get((one.guest, one.task), 0) + one.end_ns - one.start_ns
    for guest in run.guests:
        timeline, pieces = next(
            (t, p) for t, p in zip(run.guest_timelines, pieces_of(run), strict=True) if t.guest == guest.guest
        )
        assert timeline.vcpus == [vcpu.vcpu for vcpu in guest.vcpus]
        for number, vcpu in enumerate(guest.vcpus):
            host_ns = sum(s.end_ns - s.start_ns for s in run.slices if (s.guest, s.task) == (guest.guest, vcpu.vcpu))
            assert host_ns == vcpu.busy_time_ns + vcpu.overhead_time_ns
            had_ns = sum(length(had) for piece, had in pieces if piece.cpu == number)
            assert vcpu.busy_time_ns <= had_ns <= host_ns
            gone = [outside((s.start_ns, s.end_ns), had) for s, had in pieces if s.cpu == number]
            assert sum(map(length, gone)) <= vcpu.steal_time_ns
            assert held.get((guest.guest, vcpu.vcpu), 0) <= vcpu.steal_time_ns


def test_a_guests_slice_goes_on_while_its_vcpu_waits():
    """Two machines of one vCPU and one task share a CPU by ticks: each guest sees its task run all the time."""
    guests = [Guest(name=name, stack="kvm", vcpus=1, workload=spin()) for name in "ab"]
    run = simulate(Scenario(guests=guests, duration="400ms", cpus="0"), host=HOST, seed=2, timeline=True)
    for timeline, pieces in zip(run.guest_timelines, pieces_of(run), strict=True):
        assert len(timeline.slices) == 1, "no switch inside"
        ((piece, had),) = pieces
        host = [(s.start_ns, s.end_ns) for s in run.slices if s.guest == timeline.guest]
        assert had == inside((piece.start_ns, piece.end_ns), host)
        assert len(had) > 20
        (vcpu,) = next(guest.vcpus for guest in run.guests if guest.guest == timeline.guest)
        before_ns = vcpu.steal_time_ns - length(outside((piece.start_ns, piece.end_ns), had))
        assert 0 <= before_ns <= host[0][0], "what it waited before its guest first ran"


def test_guest_tasks_have_latencies_turns_and_events_of_their_own_kernel():
    guest = Guest(name="g", stack="kvm", vcpus=1, workload=spin(2))
    run = simulate(Scenario(guests=[guest], duration="400ms", cpus="0"), host=HOST, seed=2, timeline=True)
    (timeline,) = run.guest_timelines
    lengths = [piece.end_ns - piece.start_ns for piece in timeline.slices if piece.task == "spin.0"]
    assert run.value("g/spin.0", "mean_turn") == sum(lengths) / len(lengths)
    assert run.value("g/spin.0", "scheduling_latency_p50") > 3 * MS
    switches = [event for event in timeline.events() if event.event == "sched_switch"]
    assert {event.next for event in switches[:-1]} == {"g/spin.0", "g/spin.1"}
    assert all(one.next == two.previous for one, two in pairwise(switches))


def test_without_a_timeline_nobody_watches():
    scenario = Scenario(guests=[Guest(name="g", stack="kvm", vcpus=2, workload=spin(2))], duration="40ms")
    builder = MachineBuilder(scenario.checked(), HOST, Streams(0, 0))
    recorder = Recorder(scenario, builder, timeline=False)
    builder.advance(40 * MS)
    assert len(builder.hearts) == 2
    for heart in builder.hearts:
        assert (heart.on_switch, heart.on_wakeup, heart.on_throttle, heart.on_task_throttle) == (None,) * 4
    run = recorder.run(0, {})
    assert [run.slices, run.wakeups, run.throttles, run.task_throttles, run.guest_timelines] == [[]] * 5


def test_they_are_kept_on_disk(tmp_path):
    guest = Guest(name="g", stack="kvm", vcpus=1, cpu_max="5ms/20ms", workload=spin(2))
    run = simulate(Scenario(guests=[guest], duration="80ms", cpus="0"), host=HOST, timeline=True)
    assert run.guest_timelines
    assert run.task_throttles
    run.save(tmp_path / "run.jsonl")
    (again,) = load_runs(tmp_path / "run.jsonl")
    assert again.guest_timelines == run.guest_timelines
    assert again.task_throttles == run.task_throttles
    assert again.digest == run.digest


# -- tasks that a quota holds back --------------------------------------------------------------------------------


def spans_of(watch, task):
    return [(one.start_ns / MS, one.end_ns / MS) for one in watch.task_throttles if one.task == task]


def test_a_quota_of_3_in_10_ms_holds_its_task_back_after_4_and_6_ms():
    """4 ms are used up to the first tick and 1 is owed: 2 ms in the next period, then 4 again."""
    heart = Heart(1, Kernel(version=(6, 18)))
    limited = heart.add_group("g", heart.root, NICE_0_LOAD, heart.root.cpus, Bandwidth(3 * MS, 10 * MS, 0, 5 * MS, 0))
    watch = Watch(heart)
    task = add(heart, "g/a", hog(), group=limited)
    heart.advance(36 * MS)
    watch.close()
    assert spans_of(watch, "a") == [(4, 10), (12, 20), (24, 30), (32, 36)]
    assert task.times_ns(heart.now_ns)[2] == 24 * MS
    assert watch.task_throttles[0] == TaskThrottle(0, 4 * MS, 10 * MS, "g", "a")


@pytest.mark.parametrize(("version", "since_ms"), [((6, 12), 4), ((6, 18), 8)])
def test_tasks_are_held_back_with_their_group_or_one_by_one(version, since_ms):
    """Hogs "a" and "b" with 3 ms in 10 ms beside a hog "c" of a 90th of the weight.

    The quota is used up at the first tick, at 4 ms. Until 6.17 the group leaves then, with both. Since then it stays,
    owing service: "c" runs up to the tick at 8 ms, and only then do both come to a CPU, one after the other, to park.
    """
    heart = Heart(1, Kernel(version=version, features=default_features("eevdf", version)))
    quota = Bandwidth(3 * MS, 10 * MS, 0, 5 * MS, 0)
    limited = heart.add_group("g", heart.root, 90 * NICE_0_LOAD, heart.root.cpus, quota)
    watch = Watch(heart)
    for name in "ab":
        add(heart, f"g/{name}", hog(), group=limited)
    add(heart, "o/c", hog())
    heart.advance(11 * MS)
    watch.close()
    assert watch.slices == [Slice(0, 0, 4 * MS, "g", "a", "R"), Slice(0, 4 * MS, 11 * MS, "o", "c")]
    assert [(one.start_ns, one.end_ns) for one in watch.throttles] == [(since_ms * MS, 10 * MS)]
    assert spans_of(watch, "a") == spans_of(watch, "b") == [(since_ms, 10)]


def test_the_trace_shows_a_task_in_one_state_at_a_time(tmp_path):
    guests = [
        Guest(name="vm", stack="kvm", vcpus=1, cpu_max="10ms/30ms", workload=spin(2)),
        Guest(name="box", stack="container", cpu_max="5ms/20ms", workload=spin(2)),
    ]
    run = simulate(Scenario(guests=guests, duration="200ms", cpus="0"), host=HOST, timeline=True)
    run.save_trace(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    tracks = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    spans = {}
    for event in events:
        if event["ph"] == "X":
            start_ns = round(event["ts"] * 1000)
            span = (start_ns, start_ns + round(event["dur"] * 1000))
            spans.setdefault(tracks[event["tid"]], []).append((span, event["name"]))
    order = list(tracks.values())
    assert order.index("CPU 0") < order.index("CPU vm/vcpu0") < order.index("vm/spin.0")
    for name in ("vm/spin.0", "vm/spin.1", "vm/vcpu0", "box/spin.0", "box/spin.1"):
        assert all(one[1] <= two[0] for (one, _), (two, _) in pairwise(sorted(spans[name])))
    times = {name: {} for name in spans}
    for name, mine in spans.items():
        for (start_ns, end_ns), state in mine:
            times[name][state] = times[name].get(state, 0) + end_ns - start_ns
    for task in run.tasks:
        found = times[f"{task.guest}/{task.task}"]
        assert found["running"] + found.get("stolen", 0) == task.run_time_ns
        assert found.get("throttled", 0) == task.throttled_time_ns
    assert times["box/spin.0"]["throttled"] > 50 * MS
    held_ns = sum(one.end_ns - one.start_ns for one in run.task_throttles if one.task == "vcpu0")
    assert times["vm/vcpu0"]["throttled"] == held_ns > 50 * MS
    cpu = spans["CPU vm/vcpu0"]
    slices = [span for span, name in cpu if name != "stolen"]
    assert slices == [(s.start_ns, s.end_ns) for s in run.guest_timelines[0].slices]
    for span in (span for span, name in cpu if name == "stolen"):
        assert any(start_ns <= span[0] and span[1] <= end_ns for start_ns, end_ns in slices), "inside a slice"


@given(st.lists(st.integers(0, 60), unique=True, max_size=12), st.integers(0, 60), st.integers(0, 60))
def test_inside_and_outside_divide_a_time(edges, one, two):
    edges = sorted(edges)
    spans = list(zip(edges[::2], edges[1::2], strict=False))
    whole = (min(one, two), max(one, two))
    parts = inside(whole, spans)
    covered = {t for start, end in spans for t in range(start, end)}
    assert {t for start, end in parts for t in range(start, end)} == covered & set(range(*whole))
    left = outside(whole, parts)
    assert {t for start, end in left for t in range(start, end)} == set(range(*whole)) - covered
