"""CFS: exact timelines on one CPU, worked out by hand from the kernel's rules, and what a guest's kernel did."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.scheduling.conftest import MS, add, hog, job
from tests.scheduling.test_features import kernel
from tests.scheduling.test_timelines import turns
from virtsim.scheduling.bandwidth import Bandwidth
from virtsim.scheduling.cfs import CfsQueue
from virtsim.scheduling.fair import Entity
from virtsim.scheduling.heart import Heart
from virtsim.scheduling.settings import SchedulingCosts
from virtsim.scheduling.task import RUNNABLE, Task
from virtsim.scheduling.weight import NICE_0_LOAD, group_load, nice_load, part_of

ONE_CPU = {"latency_ns": 6 * MS, "min_granularity_ns": 750_000, "wakeup_granularity_ns": 1 * MS}
EIGHT_CPUS = {"latency_ns": 24 * MS, "min_granularity_ns": 3 * MS, "wakeup_granularity_ns": 4 * MS}


def hogs(switches, cfs, count, until_ns, loads=None, costs=None):
    heart = Heart(1, cfs, costs)
    seen = switches(heart)
    for i in range(count):
        add(heart, "abcdefghijklmnopqrst"[i], hog(), load=loads[i] if loads else NICE_0_LOAD)
    heart.advance(until_ns)
    return [(time / MS, name) for time, _, name in seen]


@pytest.mark.parametrize(
    ("cfs", "turn_ms"),
    [
        (kernel((6, 1), **ONE_CPU), 4),
        (kernel((6, 1), **EIGHT_CPUS), 12),
        (kernel((6, 1), tick_ns=MS, **ONE_CPU), 3),
        (kernel((6, 1), tick_ns=10 * MS, **ONE_CPU), 10),
    ],
    ids=["3 ms at 250 Hz: 4", "12 ms at 250 Hz", "3 ms at 1000 Hz", "3 ms at 100 Hz: 10"],
)
def test_two_hogs_take_turns_of_the_first_tick_behind_half_the_latency(switches, cfs, turn_ms):
    expected = [(turn_ms * i, "ab"[i % 2]) for i in range(11)]
    assert hogs(switches, cfs, 2, 10 * turn_ms * MS) == expected


def test_a_turn_begins_when_the_switch_is_done_so_that_whole_ticks_are_not_enough(switches):
    """A slice of 12 ms is three ticks less a switch too short at the third tick, and over at the fourth."""
    seen = hogs(switches, kernel((6, 1), **EIGHT_CPUS), 2, 200 * MS, costs=SchedulingCosts(switch_ns=2000))
    assert {b[0] - a[0] for a, b in pairwise(seen[2:])} == {16.0}


def test_three_hogs_get_a_third_of_the_latency_each(switches):
    """2 ms, at 1000 Hz; they begin in the order of their start debits: 6, 3 and 2 ms; ties go to who waits."""
    seen = hogs(switches, kernel((6, 1), tick_ns=MS, **ONE_CPU), 3, 600 * MS)
    lengths = {round(b[0] - a[0], 6) for a, b in pairwise(seen[3:])}
    assert lengths == {2.0}
    assert len({name for _, name in seen[3:6]}) == 3


@pytest.mark.parametrize(("version", "turn_ms"), [((5, 4), 0.75), ((6, 1), 1.0)])
def test_ten_hogs_get_the_minimum_granularity(switches, version, turn_ms):
    """More than eight: the period grows to 10 * 0.75 ms. A tenth is 749,999 ns, over at the third tick of 0.25 ms;
    since 5.13 it is not less than the granularity, which the third tick does not exceed."""
    seen = hogs(switches, kernel(version, tick_ns=250_000, **ONE_CPU), 10, 150 * MS)
    assert {round(b[0] - a[0], 6) for a, b in pairwise(seen[20:])} == {turn_ms}


def test_weights_2_to_1_share_the_latency_4_ms_to_2(switches):
    """At 1000 Hz: 6 ms as 3,999,999 and 1,999,999 ns, each over at the next tick."""
    seen = hogs(switches, kernel((6, 1), tick_ns=MS, **ONE_CPU), 2, 300 * MS, loads=[2 * NICE_0_LOAD, NICE_0_LOAD])
    late = seen[4:]
    lengths = {(name, round(b - a, 6)) for (a, name), (b, _) in pairwise(late)}
    assert lengths == {("a", 4.0), ("b", 2.0)}


@pytest.mark.parametrize(
    ("value", "weight", "load", "expected"),
    [
        (6 * MS, 1024, 2 * NICE_0_LOAD, 2_999_998),
        (6 * MS, 2048, 3 * NICE_0_LOAD, 3_999_999),
        (24 * MS, 1024, 2 * NICE_0_LOAD, 11_999_994),
    ],
)
def test_slices_are_rounded_as_the_kernel_does(value, weight, load, expected):
    """(value * weight * (0xffffffff // sum)) >> 32, worked out by hand."""
    assert part_of(value, weight, load) == expected == (value * weight * (0xFFFFFFFF // (load >> 10))) >> 32


def test_slices_are_shared_out_level_by_level():
    """A group of half the CPU with two tasks: each gets half of the group's half of the latency, rounded twice."""
    heart = Heart(1, kernel((6, 1), **EIGHT_CPUS))
    group = heart.add_group("g", heart.root, group_load(100), heart.root.cpus)
    inside = [add(heart, name, hog(), group=group) for name in "ab"]
    alone = add(heart, "c", hog())
    heart.advance(30 * MS)
    assert [task.queue.slice_of(task) for task in (*inside, alone)] == [5_999_994, 5_999_994, 11_999_994]


def test_a_woken_task_is_placed_half_a_latency_before_the_minimum():
    """It slept long, and its virtual run time is far behind: it gets 3 ms of the latency of 6."""
    heart = Heart(1, kernel((6, 1), tick_ns=MS, **ONE_CPU))
    sleeper = add(heart, "s", job(1 * MS, 40 * MS), slack_ns=0)
    runs = add(heart, "h", hog())
    heart.advance(40 * MS - 1)
    assert sleeper.queue.current is runs
    heart.advance(40 * MS)
    assert sleeper.queue.current is sleeper, "3 ms behind is more than the granularity of 1 ms"
    assert sleeper.vruntime == sleeper.queue.min_vruntime - 3 * MS
    assert runs.vruntime == sleeper.queue.min_vruntime


def test_a_task_that_moves_keeps_its_distance_to_the_minimum():
    """A CPU that goes idle when its job sleeps pulls the task that waits on the other."""
    heart = Heart(2, kernel((6, 1)))
    add(heart, "a", hog(), cpus={0})
    add(heart, "b", job(30 * MS, 100 * MS), cpus={1}, load=nice_load(5), slack_ns=0)
    free = add(heart, "f", hog(), cpus={0, 1}, start=1 * MS)
    pulled = 0
    for step in range(1, 4000):
        heart.advance(step * MS // 4 - 1)
        source, waited = heart.root.queues[free.cpu], free.state == RUNNABLE
        source.follow_minimum()
        distance = free.vruntime - source.min_vruntime
        heart.advance(step * MS // 4)
        target = heart.root.queues[free.cpu]
        if target is not source and waited:
            pulled += 1
            assert abs(target.min_vruntime - source.min_vruntime) > MS
            assert abs(free.vruntime - target.min_vruntime - distance) <= 2, "of the last nanosecond before"
    assert pulled


def test_virtual_time_never_goes_back():
    heart = Heart(1, kernel((6, 1)))
    for i, nice in enumerate((-5, 0, 7)):
        add(heart, f"j{i}", job((1 + i) * MS, (7 + 5 * i) * MS), load=nice_load(nice))
    add(heart, "h", hog())
    least = 0
    for step in range(1, 400):
        heart.advance(step * MS)
        queue = heart.root.queues[0]
        queue.follow_minimum()
        assert queue.min_vruntime >= least
        least = queue.min_vruntime


def test_the_kernel_chooses_the_queue():
    assert isinstance(Heart(1, kernel((6, 1))).root.queues[0], CfsQueue)
    assert not isinstance(Heart(1).root.queues[0], CfsQueue)
    assert issubclass(Task, Entity)


# -- what guests with a 6.1 kernel did: an emulated machine with two CPUs (250 Hz), User-Mode Linux (one CPU, 100 Hz) --

GUEST = kernel((6, 1), latency_ns=12 * MS, min_granularity_ns=1500 * 1000, wakeup_granularity_ns=2 * MS)
USER_MODE = kernel((6, 1), tick_ns=10 * MS, **ONE_CPU)
#: A context switch takes some microseconds there; only that it takes any matters.
COSTS = SchedulingCosts(switch_ns=5000)
KERNELS = pytest.mark.parametrize("guest", [GUEST, USER_MODE], ids=["250 Hz", "100 Hz"])


def weighted(guest, weights, until_ns, switches=None):
    heart = Heart(1, guest, COSTS)
    seen = switches(heart) if switches else None
    for i, weight in enumerate(weights):
        group = heart.add_group(f"g{i}", heart.root, group_load(weight), heart.root.cpus)
        add(heart, f"t{i}", hog(), group=group)
    heart.advance(until_ns)
    return heart, seen


@KERNELS
def test_observed_weights_100_to_50_gave_two_thirds(guest):
    """Observed in 8 s: 5.333 : 2.669 s (three runs 0.6665 to 0.6668), and 5.33 : 2.67 s."""
    heart, _ = weighted(guest, (100, 50), 8_000 * MS)
    assert heart.tasks[0].cpu_time_ns / (8_000 * MS) == pytest.approx(0.6667, abs=0.003)


def test_observed_gaps_of_4_and_12_ms(switches):
    """Observed: the heavier is off the CPU for 4.4 ms, the lighter for 12.2 ms (medians, with the probe's own 0.3)."""
    _, seen = weighted(GUEST, (100, 50), 8_000 * MS, switches)
    light = turns(seen, "t1")
    assert {round(length) for length in light} == {4, 8}, "the median is the one or the other"
    assert sum(round(length) == 4 for length in light) / len(light) == pytest.approx(0.5, abs=0.02)
    assert _median(turns(seen, "t0")) == pytest.approx(12, abs=0.1)


def test_observed_gaps_of_10_and_20_ms_at_100_hz(switches):
    """Observed: 10.1 and 20.1 ms."""
    _, seen = weighted(USER_MODE, (100, 50), 8_000 * MS, switches)
    assert _median(turns(seen, "t1")) == pytest.approx(10, abs=0.1)
    assert _median(turns(seen, "t0")) == pytest.approx(20, abs=0.1)


def _median(lengths):
    return sorted(lengths)[len(lengths) // 2]


@KERNELS
def test_observed_nice_0_to_5(guest):
    """Observed in 6 s: 4.516 : 1.483 s (0.753), and 4.53 : 1.48 s (0.754)."""
    heart = Heart(1, guest, COSTS)
    normal, nice = add(heart, "n", hog()), add(heart, "p", hog(), load=nice_load(5))
    heart.advance(6_000 * MS)
    assert normal.cpu_time_ns / (normal.cpu_time_ns + nice.cpu_time_ns) == pytest.approx(0.7535, abs=0.004)


def limited(guest, quota_ms, period_ms, span_ms):
    heart = Heart(1, guest, COSTS)
    bandwidth = Bandwidth(quota_ms * MS, period_ms * MS, 0, 5 * MS, 0)
    group = heart.add_group("q", heart.root, group_load(100), heart.root.cpus, bandwidth)
    task = add(heart, "t", hog(), group=group)
    heart.advance(span_ms * MS)
    return task.cpu_time_ns / MS / span_ms, bandwidth


@KERNELS
def test_observed_quota_of_30_in_100_ms(guest):
    """Observed in 5 s (and what the shell took): 0.301 to 0.305; 52 periods, 51 throttled, 3.53 s."""
    share, bandwidth = limited(guest, 30, 100, 5_200)
    assert share == pytest.approx(0.302, abs=0.006)
    assert bandwidth.periods == pytest.approx(52, abs=1)
    assert bandwidth.throttled_periods == pytest.approx(51, abs=1)
    assert bandwidth.throttled_time_ns / MS == pytest.approx(3_530, rel=0.04)


def test_observed_quota_of_5_in_10_ms():
    """Observed in 3 s: 0.492 to 0.501; 304 to 306 periods, 288 to 293 throttled, 1.39 to 1.44 s."""
    share, bandwidth = limited(GUEST, 5, 10, 3_050)
    assert share == pytest.approx(0.497, abs=0.01)
    assert bandwidth.periods == pytest.approx(305, abs=2)


def test_observed_quota_below_a_tick_runs_in_every_second_period():
    """Observed at 100 Hz in 3 s: 0.500; 306 periods, 151 throttled, 1.51 s."""
    share, bandwidth = limited(USER_MODE, 5, 10, 3_060)
    assert share == pytest.approx(0.5, abs=0.005)
    assert bandwidth.periods == pytest.approx(306, abs=1)
    assert bandwidth.throttled_periods == pytest.approx(151, abs=3)
    assert bandwidth.throttled_time_ns / MS == pytest.approx(1_510, rel=0.03)


@KERNELS
@pytest.mark.parametrize("phase_ms", [0, 1, 3])
def test_observed_wakeups_beside_a_hog_never_wait_for_a_tick(guest, phase_ms):
    """Observed for 1 ms in 10 ms: p50 0.29 and 0.127 ms, p99 0.51 to 0.73 and 0.40 ms: no mode at 3.5 ms."""
    heart = Heart(1, guest, COSTS, tick_phase_ns=phase_ms * MS)
    task = add(heart, "p", job(1 * MS, 10 * MS), slack_ns=50_000)
    add(heart, "h", hog())
    heart.advance(10_000 * MS)
    histogram = task.histograms[0]
    assert histogram.count >= 990
    assert histogram.percentile_ns(50) <= 200_000
    assert histogram.percentile_ns(99) <= 400_000
