"""Mixtures of everything that shares CPUs, against what the kernel's rules give in the long run."""

from __future__ import annotations

import pytest

import virtsim as vs
from virtsim.platform.host import load_host
from virtsim.scheduling.weight import IDLE_WEIGHT, WEIGHT_OF_NICE
from virtsim.workload.operations import Compute, Repeat

HOST = load_host("epyc-guest-linux-6.18")
MS = 1_000_000
TICK_NS = 4 * MS
#: What a queue may hold of a quota at a time, beyond which it runs at most to the next tick.
SLICE_NS = 5 * MS


def task(name, **options):
    return vs.Task(name=name, program=[Repeat(body=[Compute(work="10ms")])], **options)


def used_ns(guests, duration, cpus="0", groups=()):
    """CPU time of each guest and each task; together all that there is, since somebody always can run."""
    scenario = vs.Scenario(guests=guests, groups=list(groups), duration=duration, cpus=cpus)
    run = vs.simulate(scenario, host=HOST, seed=5)
    for one in run.tasks:
        assert one.run_time_ns + one.wait_time_ns + one.throttled_time_ns + one.sleep_time_ns == run.duration_ns
    return {one.guest: one.cpu_time_ns for one in run.guests} | {one.task: one.cpu_time_ns for one in run.tasks}


def test_weights_quotas_bursts_and_cpusets_at_three_levels():
    """CPU 0 is divided 3:1. Of the quarter, one guest of two thirds of the weight has a quota of 10 %."""
    groups = [
        vs.Group("top", cpu_max="100ms/100ms", cpu_burst="50ms"),
        vs.Group("left", parent="top", cpu_weight=300, cpus="0"),
        vs.Group("right", parent="top", cpus="0", cpu_max="50%"),
    ]
    guests = [
        vs.Guest("a", group="left", workload=vs.workloads.spin()),
        vs.Guest("b", group="right", cpu_weight=50, workload=vs.workloads.spin(tasks=2)),
        vs.Guest("c", group="right", cpu_max="10ms/100ms", workload=vs.workloads.spin()),
    ]
    used = used_ns(guests, "10s", "0-1", groups)
    assert used["top"] == used["left"] + used["right"] == 10_000 * MS
    assert abs(used["a"] - 7_500 * MS) <= TICK_NS
    assert abs(used["c"] - 1_000 * MS) <= SLICE_NS + TICK_NS
    assert abs(used["b"] - 1_500 * MS) <= SLICE_NS + 2 * TICK_NS


def test_deadlines_come_before_priorities_and_these_before_the_fair_class_but_for_its_twentieth():
    promised = task("dl", policy="deadline", runtime="3ms", deadline="8ms", period="10ms")
    tasks = [
        promised,
        task("fifo", policy="fifo", priority=10),
        task("rr", policy="rr", priority=5),
        task("fair", count=2),
    ]
    used = used_ns([vs.Guest("g", workload=vs.Workload(tasks=tasks))], "10s")
    assert used["g"] == 10_000 * MS
    assert abs(used["dl"] - 3_000 * MS) <= TICK_NS
    assert abs(used["fair.0"] + used["fair.1"] - 500 * MS) <= TICK_NS
    assert used["rr"] == 0


def test_nice_values_batch_and_idle_tasks_share_by_the_kernels_weights():
    tasks = [task(f"n{nice}", nice=nice) for nice in (0, 5, 10, 19)]
    tasks += [task("batch", policy="batch"), task("idle", policy="idle")]
    weights = {one.name: IDLE_WEIGHT if one.policy == "idle" else WEIGHT_OF_NICE[one.nice + 20] for one in tasks}
    used = used_ns([vs.Guest("g", workload=vs.Workload(tasks=tasks))], "60s")
    for name, weight in weights.items():
        assert abs(used[name] - 60_000 * MS * weight // sum(weights.values())) <= TICK_NS, name


@pytest.mark.parametrize("cpus", ["0", "0-1"])
@pytest.mark.parametrize("percent", [20, 50, 150])
@pytest.mark.parametrize("period_ms", [5, 200])
def test_four_tasks_get_their_quota_whatever_its_period(period_ms, percent, cpus):
    quota_us = period_ms * percent * 10
    count = len(cpus) // 2 + 1
    guest = vs.Guest("g", cpu_max=f"{quota_us}us/{period_ms}ms", workload=vs.workloads.spin(tasks=4))
    used = used_ns([guest], "20s", cpus)
    wanted_ns = min(20_000 * MS * percent // 100, 20_000 * MS * count)
    assert abs(used["g"] - wanted_ns) <= count * (SLICE_NS + TICK_NS)
