"""Laws of the heart, in exact integers, on workloads that Hypothesis makes."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scheduling.conftest import MS, add, hog, job
from virtsim.scheduling.bandwidth import Bandwidth
from virtsim.scheduling.features import features
from virtsim.scheduling.heart import Heart
from virtsim.scheduling.layout import Layout
from virtsim.scheduling.program import Code, Program
from virtsim.scheduling.settings import Frequencies, Kernel, SchedulingCosts
from virtsim.scheduling.task import RUNNABLE
from virtsim.scheduling.weight import group_load, nice_load, virtual

SPAN_NS = 400 * MS
#: EEVDF of now and of 6.6, CFS of now and before 5.13, and both with slices that end between ticks.
KERNELS = (
    Kernel(),
    Kernel(version=(6, 6)),
    Kernel(scheduler="cfs", version=(6, 1)),
    Kernel(scheduler="cfs", version=(4, 19), latency_ns=24 * MS, min_granularity_ns=3 * MS),
    Kernel(features=features("eevdf", (6, 18), {"HRTICK": True})),
    Kernel(scheduler="cfs", version=(6, 1), features=features("cfs", (6, 1), {"HRTICK": True, "NEXT_BUDDY": True})),
)


@dataclass(frozen=True)
class Plan:
    """One task: how it runs, its nice value, its group and its CPUs."""

    kind: str
    run_us: int
    period_us: int
    nice: int
    group: int
    cpus: frozenset[int]


def plans(cpus: int) -> st.SearchStrategy[list[Plan]]:
    everywhere = list(range(cpus))
    plan = st.builds(
        Plan,
        kind=st.sampled_from(["hog", "job", "sleeper"]),
        run_us=st.integers(50, 8_000),
        period_us=st.integers(1_000, 40_000),
        nice=st.integers(-5, 10),
        group=st.integers(0, 3),
        cpus=st.sets(st.sampled_from(everywhere), min_size=1).map(frozenset),
    )
    return st.lists(plan, min_size=1, max_size=8)


def build(
    cpus: int,
    chosen: list[Plan],
    quota: bool,
    costs: SchedulingCosts | None = None,
    kernel: Kernel | None = None,
    layout: Layout | None = None,
    frequencies: Frequencies | None = None,
) -> Heart:
    heart = Heart(cpus, kernel, costs, tick_phase_ns=1_234_567, layout=layout)
    if frequencies is not None:
        heart.govern(frequencies)
    populate(heart, chosen, quota)
    return heart


def populate(heart: Heart, chosen: list[Plan], quota: bool) -> None:
    """Groups and tasks as the plans say."""
    groups = [heart.root]
    bandwidth = Bandwidth(7 * MS, 20 * MS, 3 * MS, 5 * MS, 4 * MS) if quota else None
    groups.append(heart.add_group("a", heart.root, group_load(100), heart.root.cpus, bandwidth))
    groups.append(heart.add_group("b", heart.root, group_load(300), heart.root.cpus))
    groups.append(heart.add_group("c", groups[2], group_load(50), heart.root.cpus))
    for i, plan in enumerate(chosen):
        program = {"hog": hog, "job": _job, "sleeper": _sleeper}[plan.kind]
        made = program() if plan.kind == "hog" else program(plan)
        add(heart, f"t{i}", made, group=groups[plan.group], load=nice_load(plan.nice), cpus=plan.cpus)


def _job(plan: Plan) -> Program:
    return job(plan.run_us * 1000, plan.period_us * 1000)


def _sleeper(plan: Plan) -> Program:
    program = Program()
    counter = program.slot()
    program.emit(Code.LOOP_BEGIN, 0, counter)
    top = program.emit(Code.CPU, plan.run_us * 1000)
    program.emit(Code.SLEEP, plan.period_us * 500)
    program.emit(Code.LOOP_END, top, counter)
    return program


@settings(max_examples=60)
@given(plans(3), st.booleans(), st.sampled_from(KERNELS))
def test_every_nanosecond_of_every_cpu_is_accounted_for(chosen, quota, kernel):
    heart = build(3, chosen, quota, SchedulingCosts(switch_ns=1500, wake_ns=400, idle_exit_ns=9000), kernel)
    heart.advance(SPAN_NS)
    idle = sum(cpu.idle_ns + (heart.now_ns - cpu.idle_since_ns if cpu.current is None else 0) for cpu in heart.cpus)
    assert sum(task.cpu_time_ns for task in heart.tasks) + idle == 3 * SPAN_NS
    assert heart.root.cpu_time_ns == 3 * SPAN_NS - idle


@settings(max_examples=60)
@given(plans(2), st.booleans(), st.sampled_from(KERNELS))
def test_no_task_runs_twice_at_once_and_no_cpu_idles_beside_work_it_may_do(chosen, quota, kernel):
    heart = build(2, chosen, quota, kernel=kernel)
    running: dict[int, str | None] = {}

    def switched(_time, cpu, _previous, task):
        name = task.name if task else None
        assert name is None or name not in [other for number, other in running.items() if number != cpu]
        running[cpu] = name

    heart.on_switch = switched
    for step in range(1, 200):
        heart.advance(step * SPAN_NS // 200)
        for cpu in heart.cpus:
            if cpu.current is not None:
                continue
            waiting = [t for t in heart.tasks if t.state == RUNNABLE and t.cpu == cpu.number and _free(t)]
            assert not waiting or cpu.resched_pending


def _free(task) -> bool:
    queue = task.queue
    while queue is not None:
        if queue.throttled:
            return False
        queue = queue.entity.queue if queue.entity is not None else None
    return True


@settings(max_examples=60)
@given(plans(1))
def test_lag_stays_within_what_eevdf_promises(chosen):
    """|lag| <= one request plus one tick of service, and lags of a queue sum to less than rounding."""
    heart = build(1, chosen, quota=False)
    for step in range(1, 100):
        heart.advance(step * SPAN_NS // 100)
        for group in heart.groups:
            queue = group.queues[0]
            entities = queue.waiting() + ([queue.current] if queue.current else [])
            entities = [entity for entity in entities if entity.on_queue]
            mean = queue.mean()
            for entity in entities:
                lag_ns = (mean - entity.vruntime) * entity.weight // 1024
                longest = max(other.slice_ns for other in entities) + heart.kernel.tick_ns
                assert abs(lag_ns) <= 2 * longest + heart.kernel.tick_ns
            total = sum((mean - entity.vruntime) * entity.weight for entity in entities)
            assert abs(total) <= sum(entity.weight for entity in entities)


@settings(max_examples=40)
@given(st.integers(1, 40), st.integers(5, 100), st.integers(0, 40), st.integers(1, 3))
def test_usage_never_exceeds_the_quota_by_more_than_burst_and_a_tick_per_cpu(quota_ms, period_ms, burst_ms, tasks):
    quota_ns, burst_ns = quota_ms * MS, min(burst_ms, quota_ms) * MS
    bandwidth = Bandwidth(quota_ns, period_ms * MS, burst_ns, 5 * MS, 3 * MS)
    heart = Heart(2)
    group = heart.add_group("q", heart.root, group_load(100), heart.root.cpus, bandwidth)
    for i in range(tasks):
        add(heart, f"t{i}", hog(), group=group)
    used_before = 0
    for periods in range(1, 20):
        heart.advance(3 * MS + periods * period_ms * MS - 1)
        allowed = quota_ns * (periods + 1) + burst_ns + 2 * heart.kernel.tick_ns
        assert group.cpu_time_ns <= allowed
        window = group.cpu_time_ns - used_before
        assert window <= 2 * quota_ns + burst_ns + 2 * max(heart.kernel.tick_ns, 5 * MS)
        used_before = group.cpu_time_ns


@settings(max_examples=40)
@given(st.lists(st.integers(10, 1000), min_size=2, max_size=5), st.lists(st.integers(-5, 5), min_size=1, max_size=3))
def test_saturated_groups_share_in_the_ratio_of_their_weights_at_every_level(weights, nices):
    _check_shares(Heart(1), weights, nices, 2)


@settings(max_examples=40)
@given(st.lists(st.integers(10, 1000), min_size=2, max_size=5), st.lists(st.integers(-5, 5), min_size=1, max_size=3))
def test_saturated_groups_share_in_the_ratio_of_their_weights_under_cfs(weights, nices):
    """A turn is a slice of at most a latency (here two, for the start debits) and the tick that ends it."""
    _check_shares(Heart(1, Kernel(scheduler="cfs", version=(6, 1))), weights, nices, 8)


def _check_shares(heart, weights, nices, ticks):
    tasks: dict[int, list] = {}
    for i, weight in enumerate(weights):
        outer = heart.add_group(f"g{i}", heart.root, group_load(weight), heart.root.cpus)
        inner = heart.add_group(f"g{i}i", outer, group_load(77), heart.root.cpus)
        tasks[i] = [
            add(heart, f"t{i}.{nice}.{k}", hog(), group=inner, load=nice_load(nice)) for k, nice in enumerate(nices)
        ]
    loads = [heart.groups[1 + 2 * i].load >> 10 for i in range(len(weights))]
    rounds = sum(loads) // min(loads) + 1
    span_ns = 40 * rounds * heart.kernel.tick_ns
    heart.advance(span_ns)
    for i, load in enumerate(loads):
        used = sum(task.cpu_time_ns for task in tasks[i])
        fair = span_ns * load // sum(loads)
        # Lag is bounded by a request and a tick, and a turn is a whole number of ticks.
        assert abs(used - fair) <= ticks * heart.kernel.tick_ns + fair // 100


@settings(max_examples=30)
@given(st.integers(2, 6), st.permutations(range(6)), st.sampled_from(KERNELS))
def test_identical_tasks_may_be_renamed(count, order, kernel):
    def run(names):
        heart = Heart(2, kernel)
        made = [add(heart, name, hog()) for name in names]
        heart.advance(300 * MS)
        return [task.cpu_time_ns for task in made]

    names = [f"t{i}" for i in range(count)]
    assert run(names) == run([names[i] for i in order if i < count])


@settings(max_examples=200)
@given(st.integers(0, 10**10), st.integers(-20, 19))
def test_virtual_time_is_real_time_over_the_relative_weight(delta_ns, nice):
    load = nice_load(nice)
    exact = delta_ns * 1024 / (load >> 10)
    assert abs(virtual(delta_ns, load) - exact) <= 1 + exact * 3e-5
