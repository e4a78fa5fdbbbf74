"""Several CPUs over domains: the domains of a machine, placement, balancing, and threads that share a core."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scheduling.conftest import MS, add, hog
from tests.scheduling.test_laws import build, plans
from virtsim.core.errors import ModelError
from virtsim.scheduling.heart import Heart
from virtsim.scheduling.layout import Layout
from virtsim.scheduling.program import Code, Program
from virtsim.scheduling.settings import SchedulingCosts
from virtsim.scheduling.task import RUNNABLE

#: Two sockets of two cores of two threads: CPUs 0 1 | 2 3 and 4 5 | 6 7.
SOCKETS = Layout.regular(8, 2, 4, 2)


def work(run_ns: int, sleep_ns: int = 0) -> Program:
    """Sleep if asked to, run for a while, and end."""
    program = Program()
    if sleep_ns:
        program.emit(Code.SLEEP, sleep_ns)
    program.emit(Code.CPU, run_ns)
    program.emit(Code.EXIT)
    return program


def where(tasks) -> list[int]:
    return [task.cpu for task in tasks]


def test_the_domains_of_two_sockets():
    heart = Heart(8, layout=SOCKETS)
    seen = [
        (d.level, d.bits, [g.bits for g in d.groups], d.imbalance_percent, d.cache_nice_tries, d.min_interval_ns // MS)
        for d in heart.cpus[5].domains
    ]
    assert seen == [
        ("SMT", 0b110000, [0b100000, 0b010000], 110, 0, 2),
        ("MC", 0b11110000, [0b110000, 0b11000000], 117, 1, 4),
        ("NUMA", 0b11111111, [0b11110000, 0b1111], 117, 2, 8),
    ]
    assert [d.imbalance_allowed for d in heart.cpus[5].domains] == [0, 0, 2]
    assert [d.spreads for d in heart.cpus[5].domains] == [False, True, True]


def test_a_flat_machine_has_one_domain_and_one_cpu_none():
    assert [(d.level, len(d.groups)) for d in Heart(4).cpus[0].domains] == [("MC", 4)]
    assert Heart(1).cpus[0].domains == []


def test_nodes_farther_away_form_larger_domains():
    line = ((10, 20, 30, 40), (20, 10, 20, 30), (30, 20, 10, 20), (40, 30, 20, 10))
    heart = Heart(4, layout=Layout((0, 1, 2, 3), (0, 1, 2, 3), (0, 1, 2, 3), line))
    assert [(d.bits, d.near) for d in heart.cpus[0].domains] == [(0b0011, True), (0b0111, True), (0b1111, False)]
    # A CPU brings what it has one level below, of which there is less at the ends of the line.
    assert [group.bits for group in heart.cpus[1].domains[0].groups] == [0b0010, 0b0100, 0b0001]


def test_threads_may_be_numbered_apart():
    layout = Layout.regular(8, 2, 4, 2, siblings_apart=True)
    assert layout.cores == (0, 1, 2, 3, 0, 1, 2, 3)
    assert layout.nodes == (0, 0, 1, 1, 0, 0, 1, 1)


def test_a_layout_nests():
    with pytest.raises(ModelError, match="core share a cache"):
        Layout((0, 0), (0, 1), (0, 0))


def test_new_tasks_take_idle_cores_before_idle_threads():
    """By hand, each begun on CPU 0 after the one before runs. The node of CPU 0 may have two tasks although the
    other has more idle CPUs (``imb_numa_nr``); then nodes are filled evenly, and in a node cores before threads."""
    heart = Heart(8, layout=SOCKETS)
    tasks = [add(heart, f"t{i}", hog(), start=(i + 1) * 100_000) for i in range(8)]
    heart.advance(MS)
    cores = [cpu // 2 for cpu in where(tasks)]
    assert sorted(cores[:4]) == [0, 1, 2, 3]
    assert sorted(where(tasks)) == list(range(8))
    assert [cpu // 4 for cpu in where(tasks)[:2]] == [0, 0]


@pytest.mark.parametrize(
    ("busy", "expected"),
    [
        ({0}, 2),  # the other core of the cache is idle
        ({0, 2}, 1),  # no idle core in it: the idle sibling of the previous CPU
        ({0, 1, 2}, 3),  # an idle thread of the cache
        ({0, 1, 2, 3}, 0),  # none: it stays in its cache, although the other one is idle
    ],
)
def test_a_woken_task_looks_for_a_core_then_a_thread_in_its_cache(busy, expected):
    heart = Heart(8, layout=SOCKETS)
    sleeper = add(heart, "s", work(MS, 2 * MS), slack_ns=0)
    for number in busy:
        add(heart, f"h{number}", hog(), cpus={number}, start=MS)
    seen = []
    heart.on_wakeup = lambda _time, cpu, task: seen.append((task.name, cpu))
    # The search for an idle core that fails says so to later ones: two sleepers in turn see both rules.
    heart.advance(MS + 1)
    for cache in {id(cpu.cache): cpu.cache for cpu in heart.cpus}.values():
        cache.idle_core = any(
            all(sibling.current is None for sibling in cpu.siblings) for cpu in heart.cpus if cpu.cache is cache
        )
    heart.advance(2 * MS + 1)
    assert seen == [("s", expected)]
    assert sleeper.cpu == expected


def test_three_hogs_on_two_cores_of_two_threads_stay_on_three_threads():
    heart = Heart(4, layout=Layout.regular(4, 2))
    tasks = [add(heart, f"t{i}", hog()) for i in range(3)]
    heart.advance(1_000 * MS)
    assert [task.cpu_time_ns for task in tasks] == [1_000 * MS] * 3
    assert [task.migrations for task in tasks] == [0] * 3
    assert sorted(cpu // 2 for cpu in where(tasks)) in ([0, 0, 1], [0, 1, 1])


def test_a_running_task_is_moved_to_an_idle_core_after_four_failures():
    """Two hogs are held on the threads of core 0 by a task on core 1, which ends; nobody waits, so only active
    balancing can help: in the fifth idle balance of CPU 2 or 3, which comes every 4 ms."""
    heart = Heart(4, layout=Layout.regular(4, 2))
    tasks = [add(heart, f"t{i}", hog(), cpus={i, 2, 3}) for i in range(2)]
    blockers = [add(heart, f"b{i}", work(40 * MS), cpus={i}) for i in (2, 3)]
    for task, cpu in zip(tasks, (0, 1), strict=True):
        task.cpu = cpu
    heart.advance(20 * MS)
    assert {blocker.cpu for blocker in blockers} == {2, 3}
    heart.advance(39 * MS)
    before = sorted(cpu // 2 for cpu in where(tasks))
    heart.advance(120 * MS)
    assert before == [0, 0]
    assert sorted(cpu // 2 for cpu in where(tasks)) == [0, 1]
    assert sum(task.migrations for task in tasks) >= 1


def test_two_threads_of_a_core_slow_each_other_down():
    """At 0.5 each: 10 ms of work beside 4 ms: until 8 ms both at half speed, then 6 ms alone."""
    costs = SchedulingCosts(smt_speed=0.5)
    heart = Heart(2, costs=costs, layout=Layout.regular(2, 2))
    long, short = add(heart, "l", work(10 * MS), cpus={0}), add(heart, "s", work(4 * MS), cpus={1})
    heart.advance(100 * MS)
    assert (short.end_ns, long.end_ns) == (8 * MS, 14 * MS)
    assert (short.cpu_time_ns, long.cpu_time_ns) == (8 * MS, 14 * MS)


def test_a_speed_that_does_not_divide_is_exact_to_a_nanosecond_however_often_it_is_looked_at():
    def end(parts: int) -> int:
        heart = Heart(2, costs=SchedulingCosts(smt_speed=0.62), layout=Layout.regular(2, 2))
        task = add(heart, "t", work(7_654_321), cpus={0})
        add(heart, "h", hog(), cpus={1})
        for part in range(1, parts + 1):
            heart.advance(40 * MS * part // parts)
        return task.end_ns

    assert end(1) == end(7) == end(1000) == -(-7_654_321 * 1024 // 635)


@pytest.mark.parametrize(
    ("layout", "target", "cost"),
    [
        (Layout.regular(4, 2), 1, 0),
        (Layout.regular(4, 2), 2, 1_000),
        (Layout.regular(4, 2, 2), 2, 3_000),
        (Layout.regular(2, 1, 1, 2), 1, 5_000),
        (Layout.regular(2, 1, 1, 2, distances=((10, 32), (32, 10))), 1, 8_000),
    ],
    ids=["same core", "same cache", "same node", "next node", "farther node"],
)
def test_moving_costs_more_the_farther_it_goes(layout, target, cost):
    """The farther node is at distance 32: 5 us * 32 / 20."""
    costs = SchedulingCosts(migration_ns=1_000, migration_cache_ns=3_000, migration_node_ns=5_000)
    heart = Heart(len(layout.cores), costs=costs, layout=layout)
    task = add(heart, "t", work(300 * MS, 2 * MS), cpus={0, target}, slack_ns=0)
    add(heart, "h", hog(), cpus={0}, start=MS)
    heart.advance(1_000 * MS)
    assert (task.cpu, task.migrations) == (target, 1)
    assert task.cpu_time_ns == 300 * MS + cost


@settings(max_examples=40)
@given(plans(4), st.sampled_from([(1, 4, 1), (2, 4, 1), (1, 2, 2), (2, 2, 2)]))
def test_affinity_is_kept_and_nobody_waits_beside_an_idle_cpu_for_long(chosen, shape):
    """While a CPU has been idle for a second, no task that may run there has waited all that time."""
    threads, cache, nodes = shape
    heart = build(4, chosen, False, layout=Layout.regular(4, threads, cache, nodes))
    wrong = []
    heart.on_switch = lambda _time, cpu, _old, new: new is None or cpu in new.cpus or wrong.append((cpu, new.name))
    for step in range(1, 61):
        heart.advance(step * 25 * MS)
        for cpu in heart.cpus:
            if cpu.current is None and heart.now_ns - cpu.idle_since_ns > 500 * MS:
                late = [
                    task.name
                    for task in heart.tasks
                    if task.state == RUNNABLE and cpu.number in task.cpus and heart.now_ns - task.since_ns > 500 * MS
                ]
                assert not late
    assert not wrong


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 9, 12, 16])
def test_nodes_may_be_renamed(count):
    """Hogs that begin on the first CPU of either node get the same CPU times."""

    def run(first: int) -> list[int]:
        heart = Heart(8, layout=Layout.regular(8, 1, 4, 2))
        tasks = [add(heart, f"t{i:02}", hog(), start=i * 10_000) for i in range(count)]
        for task in tasks:
            task.cpu = first
        heart.advance(400 * MS)
        return sorted(task.cpu_time_ns for task in tasks)

    assert run(0) == run(4)
