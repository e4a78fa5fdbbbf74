"""Where a woken task goes and what a CPU that goes idle fetches, in kernels that do not always look."""

from __future__ import annotations

import pytest

from tests.scheduling.conftest import MS, add, hog
from tests.scheduling.test_domains import work
from virtsim.scheduling.bandwidth import Bandwidth
from virtsim.scheduling.features import features
from virtsim.scheduling.heart import Heart
from virtsim.scheduling.settings import Kernel
from virtsim.scheduling.states import BUSY
from virtsim.scheduling.task import RUNNABLE
from virtsim.scheduling.weight import group_load, nice_load


def kernel(**changes: bool) -> Kernel:
    return Kernel(version=(6, 18), features=features("eevdf", (6, 18), changes))


@pytest.mark.parametrize(
    ("random", "ratio", "expected"),
    [
        (False, 0, [(1_500_000, "b")]),  # at once
        (True, 1023, [(1_500_000, "b")]),  # at once: it always helped lately
        (True, 0, [(1_500_000, None), (4_000_000, "b")]),  # never: the busy CPU's tick has the idle one balance
    ],
)
def test_a_cpu_that_goes_idle_looks_as_often_as_that_has_helped(switches, random, ratio, expected):
    heart = Heart(2, kernel(NI_RANDOM=random))
    seen = switches(heart)
    domain = heart.cpus[1].domains[0]
    # So many successes in the last 512 of 1024 times.
    for _ in range(511):
        domain.count_newidle(0)
    domain.count_newidle(ratio)
    assert domain.newidle_ratio == ratio
    add(heart, "c", work(1_500_000), cpus={1})
    for name in "ab":
        add(heart, name, hog())
    heart.advance(6 * MS)
    assert [(time, name) for time, cpu, name in seen if cpu == 1] == [(0, "c"), *expected]


def test_one_success_stands_for_all_the_times_that_were_left_out():
    """Ratio 99: one look in about ten is 1024 / 100 = 10 successes; 512 calls later half of all is forgotten."""
    heart = Heart(2, kernel())
    domain = heart.cpus[0].domains[0]
    assert (domain.newidle_calls, domain.newidle_successes, domain.newidle_ratio) == (512, 0, 0)
    for _ in range(502):
        domain.count_newidle(0)
    for _ in range(10):
        domain.count_newidle(10)
    assert (domain.newidle_calls, domain.newidle_successes, domain.newidle_ratio) == (512, 50, 100)
    for _ in range(512):
        domain.count_newidle(0)
    assert (domain.newidle_calls, domain.newidle_successes, domain.newidle_ratio) == (512, 25, 50)


def test_who_was_crowded_is_remembered_until_all_cpus_are_balanced():
    """Two tasks share CPU 0 early on; CPU 1 goes idle at 6 ms, finds nobody waiting, and that is known from then on."""
    heart = Heart(2, kernel(NI_RANDOM=False))
    add(heart, "long", hog(), cpus={0})
    add(heart, "short", work(MS), cpus={0}, start=100_000)
    add(heart, "other", work(6 * MS), cpus={1})
    add(heart, "anywhere", work(MS, 20 * MS))
    heart.advance(5 * MS)
    assert [cpu.crowded for cpu in heart.cpus] == [True, False]
    heart.advance(7 * MS)
    assert [cpu.crowded for cpu in heart.cpus] == [False, False]


@pytest.mark.parametrize(("packs", "places"), [(False, [1]), (True, [0])])
def test_a_kernel_that_packs_vcpus_leaves_a_woken_task_where_it_was(packs, places):
    """CPU 1 is idle, but the sleeper's own CPU is busy when it wakes at 2 ms."""
    heart = Heart(2, kernel(VCPU_PACK=packs))
    add(heart, "s", work(MS, 2 * MS), slack_ns=0)
    add(heart, "h", hog(), cpus={0}, start=MS)
    seen = []
    heart.on_wakeup = lambda _time, cpu, task: seen.append(cpu)
    heart.advance(2 * MS)
    assert seen == places


def test_a_kernel_that_packs_vcpus_wakes_on_an_idle_cpu_of_its_own():
    heart = Heart(2, kernel(VCPU_PACK=True))
    add(heart, "h", hog(), cpus={0})
    sleeper = add(heart, "s", work(MS, 2 * MS), slack_ns=0)
    heart.advance(10 * MS)
    assert (sleeper.cpu, sleeper.end_ns) == (1, 3 * MS)


@pytest.mark.parametrize(("throttled", "moved_ns"), [(False, 4 * MS), (True, None)])
def test_no_task_is_moved_to_where_its_group_is_throttled(throttled, moved_ns):
    """CPU 1 is idle from 1.5 ms on; at its tick CPU 0, where two tasks of a group are, has it balance."""
    heart = Heart(2, kernel())
    group = heart.add_group(
        "g", heart.root, group_load(100), heart.root.cpus, Bandwidth(1_000 * MS, 1_000 * MS, 0, 5 * MS, 0)
    )
    add(heart, "c", work(1_500_000), cpus={1})
    tasks = [add(heart, name, hog(), group=group) for name in "ab"]
    group.queues[1].throttled = throttled
    moves = []
    heart.on_switch = lambda time, cpu, _, task: cpu == 1 and task in tasks and moves.append(time)
    heart.advance(20 * MS)
    assert moves[:1] == ([moved_ns] if moved_ns else [])


@pytest.mark.parametrize(("version", "failed", "moving"), [((6, 12), 0, ["b"]), ((6, 18), 0, []), ((6, 18), 1, ["b"])])
def test_who_owes_service_is_moved_only_after_balancing_has_failed(version, failed, moving):
    """a and b (nice 1) take turns on CPU 0, d (nice 19) is alone on CPU 1. At 8.75 ms b has just had its turn: of
    4 ms, where 4 * 820 / 922 were its part."""
    heart = Heart(2, Kernel(version=version))
    add(heart, "c", work(2 * MS), cpus={1})
    add(heart, "d", hog(), cpus={1}, load=nice_load(19))
    add(heart, "a", hog())
    b = add(heart, "b", hog(), load=nice_load(1))
    for cpu in heart.cpus:
        cpu.balance_due_ns = 1_000 * MS
    heart.advance(8_750_000)
    assert (b.cpu, b.cpu_time_ns, b.state) == (0, 4 * MS, RUNNABLE)
    domain = heart.cpus[1].domains[0]
    domain.failed = failed
    moves = heart.balancer.moves(heart.cpus[1], domain, BUSY, heart.now_ns)
    assert [(task.name, cpu.number) for task, cpu in moves] == [(name, 1) for name in moving]
