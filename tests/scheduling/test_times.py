"""Where a task's time goes: on a CPU, waiting for one, throttled, asleep; together its life, to the nanosecond."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.scheduling.conftest import MS, add, hog, job
from tests.scheduling.streams import ALL_PAIRS, COSTS
from tests.scheduling.test_laws import KERNELS, SPAN_NS, Plan, build, plans
from virtsim.scheduling.bandwidth import Bandwidth
from virtsim.scheduling.heart import Heart
from virtsim.scheduling.settings import Kernel, SchedulingCosts
from virtsim.scheduling.task import ENDED, NEW
from virtsim.scheduling.weight import group_load

#: As ``COSTS``, with nobody who steals CPUs: then who is on one is charged for it.
HONEST = replace(COSTS, stolen_share=0.0)
BY_GROUP = Kernel(version=(6, 12))


def life_ns(heart, task):
    if task.state == NEW:
        return 0
    return (task.end_ns if task.state == ENDED else heart.now_ns) - task.start_ns


@settings(max_examples=150)
@given(
    chosen=plans(3),
    pairs=st.lists(st.tuples(st.sampled_from(sorted(ALL_PAIRS)), st.integers(50_000, 3 * MS)), max_size=3),
    quota=st.booleans(),
    inner_ms=st.integers(1, 24),
    kernel=st.sampled_from((*KERNELS, BY_GROUP)),
    costs=st.sampled_from([SchedulingCosts(), HONEST, COSTS]),
)
# A task wakes in a throttled group below one that is empty, but whose dequeue is delayed.
@example(
    chosen=[
        Plan(kind="job", group=0, run_us=1622, period_us=2808, nice=-5, cpus=frozenset({0, 1})),
        Plan(kind="sleeper", group=3, run_us=1442, period_us=30449, nice=5, cpus=frozenset({0, 1, 2})),
    ],
    pairs=[("lock", 2_670_773), ("ring", 373_081)],
    quota=False,
    inner_ms=15,
    kernel=BY_GROUP,
    costs=COSTS,
)
def test_a_tasks_times_add_up_to_its_life_and_its_slices_to_its_time_on_cpus(
    chosen, pairs, quota, inner_ms, kernel, costs
):
    heart = build(3, chosen, quota, costs, kernel)
    inner = Bandwidth(inner_ms * MS // 2, 12 * MS, MS, 5 * MS, 2 * MS)
    nested = heart.add_group("nested", heart.groups[1], group_load(100), heart.root.cpus, inner)
    programs = [program for kind, run_ns in pairs for program in ALL_PAIRS[kind](heart, run_ns)]
    for i, program in enumerate(programs):
        add(heart, f"p{i}", program, group=nested)
    on_cpu, running = {}, {}

    def switched(time_ns, cpu, _old, new):
        since_ns, task = running.pop(cpu, (time_ns, None))
        on_cpu[task] = on_cpu.get(task, 0) + time_ns - since_ns
        running[cpu] = time_ns, new

    heart.on_switch = switched
    for step in range(1, 6):
        heart.advance(step * SPAN_NS // 5)
        for cpu in list(running):
            switched(heart.now_ns, cpu, None, running[cpu][1])
        for task in heart.tasks:
            times = task.times_ns(heart.now_ns)
            assert min(times) >= 0
            assert sum(times) == life_ns(heart, task)
            assert times[0] == on_cpu.get(task, 0)
            if costs.stolen_share == 0:
                assert times[0] == task.cpu_time_ns


@settings(max_examples=60)
@given(st.integers(1, 19), st.integers(1, 4), st.sampled_from([Kernel(), BY_GROUP, KERNELS[2]]))
@example(5, 2, BY_GROUP)
def test_hogs_alone_in_a_limited_group_wait_only_for_each_other(quota_ms, hogs, kernel):
    """On one CPU with nobody else there is always one of them running, or the group is throttled."""
    heart = Heart(1, kernel, SchedulingCosts())
    bandwidth = Bandwidth(quota_ms * MS, 20 * MS, 0, 5 * MS, 0)
    group = heart.add_group("g", heart.root, group_load(100), heart.root.cpus, bandwidth)
    tasks = [add(heart, f"t{i}", hog(), group=group) for i in range(hogs)]
    heart.advance(200 * MS)
    queue = group.queues[0]
    open_ns = heart.now_ns - queue.throttled_at_ns if queue.throttled and queue.throttled_at_ns >= 0 else 0
    throttled_ns = bandwidth.throttled_time_ns + open_ns
    assert throttled_ns == 200 * MS - group.cpu_time_ns > 0
    times = [task.times_ns(heart.now_ns) for task in tasks]
    assert sum(run for run, *_ in times) == group.cpu_time_ns
    assert [sleep for *_, sleep in times] == [0] * hogs
    assert [throttled for _, _, throttled, _ in times] == [throttled_ns] * hogs


def test_who_wakes_in_a_throttled_group_is_throttled_from_then_on():
    heart = Heart(1, BY_GROUP, SchedulingCosts())
    group = heart.add_group(
        "g", heart.root, group_load(100), heart.root.cpus, Bandwidth(10 * MS, 50 * MS, 0, 5 * MS, 0)
    )
    late = add(heart, "late", job(MS, 30 * MS), group=group)
    spinner = add(heart, "hog", hog(), group=group)
    heart.advance(49 * MS)
    woke_ns = 30 * MS + late.slack_ns
    assert late.times_ns(heart.now_ns) == (0, 0, 49 * MS - woke_ns, woke_ns)
    ran_ns = group.cpu_time_ns
    assert spinner.times_ns(heart.now_ns) == (ran_ns, 0, 49 * MS - ran_ns, 0)
