"""Exact timelines on one CPU, in integers, without costs."""

from __future__ import annotations

import itertools

import pytest

from tests.scheduling.conftest import MS, add, hog, job
from virtsim.core.errors import ModelError
from virtsim.scheduling.bandwidth import Bandwidth
from virtsim.scheduling.cold import Cold
from virtsim.scheduling.heart import Heart
from virtsim.scheduling.program import Code, Program
from virtsim.scheduling.settings import Kernel, SchedulingCosts
from virtsim.scheduling.weight import NICE_0_LOAD, group_load, nice_load


def turns(seen, name):
    """Lengths of a task's turns, ms, the first and the last left out."""
    lengths = [(b[0] - a[0]) / MS for a, b in itertools.pairwise(seen) if a[2] == name]
    return lengths[1:-1]


def test_equal_hogs_take_turns_of_one_tick(switches):
    heart = Heart(1)
    seen = switches(heart)
    for name in "ab":
        add(heart, name, hog())
    heart.advance(40 * MS)
    assert [(time // MS, name) for time, _, name in seen] == [(4 * i, "ab"[i % 2]) for i in range(11)]


@pytest.mark.parametrize(
    ("weights", "expected"),
    [((200, 100), {8.0, 4.0}), ((400, 100), {16.0, 4.0}), ((100, 100, 100), {4.0})],
    ids=["2:1 is 8 ms / 4 ms", "4:1 is 16 ms / 4 ms", "three equal: one tick each"],
)
def test_turns_are_whole_ticks_in_the_ratio_of_the_weights(switches, weights, expected):
    heart = Heart(1)
    seen = switches(heart)
    for i, weight in enumerate(weights):
        group = heart.add_group(f"g{i}", heart.root, group_load(weight), heart.root.cpus)
        add(heart, f"t{i}", hog(), group=group)
    heart.advance(2_000 * MS)
    lengths = [length for i in range(len(weights)) for length in turns(seen, f"t{i}")]
    assert {round(length, 3) for length in lengths} <= expected | {length * 0.5 for length in expected} | {4.0}
    assert max(lengths) == max(expected)


def test_nice_5_gets_335_of_1359(switches):
    heart = Heart(1)
    normal, nice = add(heart, "n", hog(), load=nice_load(0)), add(heart, "p", hog(), load=nice_load(5))
    heart.advance(10_000 * MS)
    assert normal.cpu_time_ns + nice.cpu_time_ns == 10_000 * MS
    assert normal.cpu_time_ns / nice.cpu_time_ns == pytest.approx(1024 / 335, rel=0.005)


def test_a_quota_of_3_in_10_ms_runs_4_and_owes_1(switches):
    """Ticks are 4 ms: the hog overruns its 3 ms, and the debt is paid from the next refill."""
    heart = Heart(1)
    seen = switches(heart)
    bandwidth = Bandwidth(3 * MS, 10 * MS, 0, 5 * MS, phase_ns=0)
    group = heart.add_group("q", heart.root, group_load(100), heart.root.cpus, bandwidth)
    task = add(heart, "t", hog(), group=group)
    heart.advance(1_000 * MS)
    lengths = {round(length) for length in turns(seen, "t")}
    assert lengths <= {2, 4}, "whole ticks, or from the refill to the tick"
    assert abs(task.cpu_time_ns - 300 * MS) <= 4 * MS
    assert bandwidth.periods == 100
    assert bandwidth.throttled_periods >= 98


def test_a_refill_finds_an_idle_cpu_as_late_as_any_timer_does(switches):
    """The group is throttled up to the refill, not up to its task's first instruction; that runs up to a tick."""
    heart = Heart(1, costs=SchedulingCosts(timer_idle_ns=(30_000,)), tick_phase_ns=3 * MS)
    seen = switches(heart)
    bandwidth = Bandwidth(3 * MS, 10 * MS, 0, heart.kernel.bandwidth_slice_ns, 0)
    group = heart.add_group("g", heart.root, group_load(100), heart.root.cpus, bandwidth)
    add(heart, "hog", hog(), group=group)
    heart.advance(30 * MS)
    began = [time for time, _, name in seen if name]
    ended = [time for time, _, name in seen if not name]
    assert began == [0, 10 * MS + 30_000, 20 * MS + 30_000]
    assert ended == [3 * MS, 15 * MS, 23 * MS]
    assert bandwidth.throttled_time_ns == (7 + 5 + 7) * MS


def test_a_sleeper_preempts_a_hog_at_once_or_at_the_tick(switches):
    """A wake-up finds the hog protected for its first 1.4 ms; whether that happens depends on the phase alone."""
    early, late = (_wakeup_latencies(phase) for phase in (0, 1 * MS))
    assert early == {0}
    assert late == {0, 3 * MS}


def _wakeup_latencies(phase_ns):
    heart = Heart(1, tick_phase_ns=phase_ns + 50_000)
    task = add(heart, "p", job(1 * MS, 10 * MS))
    add(heart, "h", hog())
    heart.advance(1_000 * MS)
    histogram = task.histograms[0]
    assert histogram.count == 99
    low, high = histogram.min_ns - 50_000, histogram.max_ns - 50_000
    return {low, high}


def test_a_context_switch_is_paid_by_the_task_that_comes(switches):
    heart = Heart(1, costs=SchedulingCosts(switch_ns=1000))
    program = Program()
    program.emit(Code.CPU, 5_000)
    program.emit(Code.EXIT)
    task = add(heart, "t", program)
    heart.advance(MS)
    assert (task.end_ns, task.cpu_time_ns) == (6_000, 6_000)


def test_a_pipe_full_of_messages_blocks_its_writer():
    heart = Heart(1)
    space, data = heart.add_semaphore(4, wake_at=2), heart.add_semaphore()
    writer, reader = Program(), Program()
    for code, target in ((Code.WAIT, space), (Code.POST, data)) * 8:
        writer.emit(code, target)
    writer.emit(Code.EXIT)
    for code, target in ((Code.WAIT, data), (Code.CPU, 1000), (Code.POST, space)) * 8:
        reader.emit(code, target)
    reader.emit(Code.EXIT)
    first, second = add(heart, "w", writer), add(heart, "r", reader)
    heart.advance(MS)
    assert (first.voluntary, second.end_ns) == (1, 8_000)


def test_a_contended_lock_passes_in_order():
    heart = Heart(1)
    lock = heart.add_lock()
    program = Program()
    for _ in range(3):
        program.emit(Code.LOCK, lock)
        program.emit(Code.CPU, 6 * MS)
        program.emit(Code.UNLOCK, lock)
    program.emit(Code.EXIT)
    tasks = [add(heart, name, program) for name in "abc"]
    heart.advance(200 * MS)
    assert sum(task.cpu_time_ns for task in tasks) == 54 * MS
    assert max(task.end_ns for task in tasks) == 54 * MS


def test_a_forked_child_runs_where_it_is_idle():
    heart = Heart(2)
    program = Program()
    child = Program()
    child.emit(Code.CPU, 1000)
    child.emit(Code.EXIT)
    program.children.append(child)
    program.emit(Code.FORK_WAIT, 0)
    program.emit(Code.EXIT)
    task = add(heart, "p", program)
    heart.advance(MS)
    assert (task.end_ns, task.children_ns, task.cpu_time_ns) == (1000, 1000, 0)


def test_a_task_that_sleeps_with_debt_stays_queued_until_it_is_eligible():
    heart = Heart(1)
    program = Program()
    program.emit(Code.CPU, 3 * MS)
    program.emit(Code.SLEEP, 100 * MS)
    program.emit(Code.EXIT)
    debtor = add(heart, "d", program, slack_ns=1)
    add(heart, "h", hog())
    heart.advance(3 * MS + 1)
    assert debtor.delayed
    assert debtor.on_queue
    heart.advance(12 * MS)
    assert not debtor.on_queue
    assert debtor.vlag <= 0


def test_idle_time_and_running_time_fill_every_cpu():
    heart = Heart(2)
    add(heart, "p", job(2 * MS, 10 * MS), cpus={0}, load=NICE_0_LOAD)
    add(heart, "h", hog(), cpus={1}, start=30 * MS)
    heart.advance(1_000 * MS)
    busy = [0, 0]
    for task in heart.tasks:
        busy[task.cpu] += task.cpu_time_ns
    for cpu in heart.cpus:
        idle = cpu.idle_ns + (heart.now_ns - cpu.idle_since_ns if cpu.current is None else 0)
        assert busy[cpu.number] + idle == heart.now_ns


def test_stolen_time_stands_still_and_is_charged_to_nobody():
    heart = Heart(1)
    task = add(heart, "t", job(2 * MS, 10 * MS, count=1), slack_ns=1)
    heart.call_at(11 * MS, lambda: heart.steal(heart.cpus[0], 3 * MS))
    heart.advance(100 * MS)
    assert task.cpu_time_ns == 2 * MS
    assert task.end_ns == 15 * MS + 1
    assert heart.cpus[0].stolen_ns == 3 * MS


def test_neither_a_refill_nor_a_theft_makes_a_running_group_ask_its_pool():
    """A pool of 3 ms is refilled at 1, 6, 11 ms; a hog has 3 ms at first and is charged at the ticks, at 4 and 8 ms.

    At 4 ms it owes 1, draws 3 and has 2 left. Nothing happens to that at 6 ms, nor at 6.5 ms, when a millisecond
    is stolen. At 8 ms it owes 2, with the theft 1, and draws 3 more.
    """
    seen = {}
    for theft_ns in (0, 1 * MS):
        heart = Heart(1)
        bandwidth = Bandwidth(3 * MS, 5 * MS, 0, 5 * MS, 1 * MS)
        limited = heart.add_group("q", heart.root, group_load(100), heart.root.cpus, bandwidth)
        add(heart, "t", hog(), group=limited)
        seen[theft_ns] = drawn = []

        def look(queue=limited.queues[0], pool=bandwidth, drawn=drawn):
            drawn.append((pool.runtime_ns // MS, queue.remaining_ns // MS))

        heart.call_at(6 * MS + MS // 2, lambda heart=heart, theft=theft_ns: heart.steal(heart.cpus[0], theft))
        for at_ns in (5 * MS, 7 * MS, 9 * MS):
            heart.call_at(at_ns, look)
        heart.advance(10 * MS)
    assert seen == {0: [(0, 2), (3, 2), (0, 1)], 1 * MS: [(0, 2), (3, 2), (0, 2)]}


def test_thefts_take_their_share():
    """H0: the stolen share is 2 %. 6000 exponential thefts: sd of the share 0.02 * sqrt(2 / 6000) = 3.7e-4;
    |z| < 4.9 fails a right model once in a million times."""
    heart = Heart(1, costs=SchedulingCosts(stolen_share=0.02), seed=5)
    task = add(heart, "t", hog())
    heart.advance(60_000 * MS)
    share = 1 - task.cpu_time_ns / heart.now_ns
    z = (share - 0.02) / (0.02 * (2 / 6000) ** 0.5)
    print(f"stolen share {share:.5f}, z = {z:.2f}")
    assert abs(z) < 4.9


def test_a_program_that_uses_no_time_is_refused():
    heart = Heart(1)
    program = Program()
    program.emit(Code.COUNT, 0, 1)
    program.emit(Code.JUMP, 0)
    add(heart, "t", program)
    with pytest.raises(ModelError, match="t goes round more than 1000000 times without using any time"):
        heart.advance(MS)


def test_a_pool_begins_full_with_its_burst():
    """25 ms are used at once out of 15 ms of quota and 15 ms of burst; without a burst, at most a tick beyond 15 ms."""
    used = {}
    for burst in (0, 15 * MS):
        heart = Heart(1)
        group = heart.add_group(
            "q", heart.root, group_load(100), heart.root.cpus, Bandwidth(15 * MS, 100 * MS, burst, 5 * MS, 0)
        )
        task = add(heart, "t", hog(), group=group)
        heart.advance(99 * MS)
        used[burst] = task.cpu_time_ns // MS
    assert used == {0: 16, 15 * MS: 32}


def test_what_is_cold_costs_by_the_logarithm_of_the_absence():
    cold = Cold([(1 * MS, 100, 2_000), (16 * MS, 700, 8_000)])
    assert [cold.cost_ns(away, True) for away in (0, 1 << 19, 1 << 30, 1 << 40)] == [0, 1_048, 8_000, 8_000]
    assert cold.cost_ns(4 * MS, True) == pytest.approx(5_000, rel=0.02), "half way from 1 to 16 ms"
    assert cold.cost_ns(4 * MS, False) == pytest.approx(400, rel=0.02)
    assert Cold().cost_ns(4 * MS, True) == 0


def test_a_woken_task_pays_for_what_is_cold():
    """Alone on its CPU it is away for the rest of each period; a hog beside it makes it the cheaper kind."""
    used = {}
    for others in (0, 1):
        heart = Heart(1, costs=SchedulingCosts(cold=((1, 1_000, 30_000), (2, 1_000, 30_000))))
        task = add(heart, "p", job(1 * MS, 10 * MS))
        for i in range(others):
            add(heart, f"h{i}", hog())
        heart.advance(95 * MS)
        used[others] = task.cpu_time_ns - task.histograms[0].count * MS
    assert used == {0: 9 * 30_000, 1: 9 * 1_000}


@pytest.mark.parametrize("by_task", [True, False], ids=["since 6.18", "before"])
def test_a_used_up_quota_costs_time_only_where_a_task_would_have_run(by_task):
    """A job of a quarter of the weight is dry when its turn of a tick ends, and is throttled.

    It would not run again before the period ends (1 ms after a tick). Since 6.18 that is no throttled time at
    all; before, the group was off the queue from then on.
    """
    heart = Heart(1, kernel=Kernel(version=(6, 18 if by_task else 17)))
    bandwidth = Bandwidth(3 * MS, 12 * MS, 0, 5 * MS, 1 * MS)
    limited = heart.add_group("q", heart.root, group_load(25), heart.root.cpus, bandwidth)
    task = add(heart, "t", hog(), group=limited)
    other = heart.add_group("o", heart.root, group_load(100), heart.root.cpus)
    add(heart, "h", hog(), group=other)
    heart.advance(480 * MS)
    assert bandwidth.throttled_periods > 5
    assert (bandwidth.throttled_time_ns == 0) == by_task
    assert 60 * MS < task.cpu_time_ns <= 96 * MS + 4 * MS, "at most a fifth by weight, and a tick"


def test_a_task_of_a_dry_group_comes_to_its_cpu_to_park_there():
    """Two hogs share a pool of 3 ms; a switch takes 10 us, which who comes pays.

    The first is charged at the tick at 4 ms. Then it is the second's turn, which parks 10 us later, and the first's
    again, which does the same; the CPU is idle until the refill at 11 ms.
    """
    heart = Heart(1, kernel=Kernel(version=(6, 18)), costs=SchedulingCosts(switch_ns=10_000))
    limited = heart.add_group(
        "q", heart.root, group_load(100), heart.root.cpus, Bandwidth(3 * MS, 11 * MS, 0, 5 * MS, 0)
    )
    tasks = [add(heart, name, hog(), group=limited) for name in ("a", "b")]
    turns: list[tuple[int, str]] = []
    heart.on_switch = lambda time_ns, _, previous, chosen: turns.append(
        (time_ns // 1000, chosen.name if chosen else "-")
    )
    heart.advance(11 * MS)
    assert turns[:4] == [(0, "a"), (4_000, "b"), (4_010, "a"), (4_020, "-")]
    assert turns[4][0] == 11_000
    assert [task.cpu_time_ns for task in tasks] == [4 * MS + 10_000, 10_000]


def test_who_joins_one_level_has_no_other_levels_accounts_brought_up_to_now():
    """A hog's group draws 3 ms when it runs dry; it is looked at at its ticks, not when a job starts elsewhere.

    The pool of 3 ms is refilled at 2.5 ms, 7.5 ms and so on. The hog is charged 3 of its first 3 ms at the tick
    at 3 ms and draws 3 more; the job's start at 4 ms leaves that as it is, until the tick at 7 ms.
    """
    heart = Heart(1, tick_phase_ns=3 * MS)
    bandwidth = Bandwidth(3 * MS, 5 * MS, 0, 5 * MS, 5 * MS // 2)
    limited = heart.add_group("q", heart.root, group_load(10_000), heart.root.cpus, bandwidth)
    add(heart, "hog", hog(), group=limited)
    other = heart.add_group("o", heart.root, group_load(1), heart.root.cpus)
    add(heart, "job", job(MS // 10, 40 * MS), group=other, start=4 * MS)
    seen = []
    for at_us in (2_900, 3_100, 4_200, 6_900):
        heart.call_at(
            at_us * 1000, lambda: seen.append((limited.queues[0].remaining_ns, heart.root.queues[0].current.vruntime))
        )
    heart.advance(8 * MS)
    assert [remaining for remaining, _ in seen] == [3 * MS, 3 * MS, 3 * MS, 3 * MS]
    assert seen[0][1] < seen[1][1] < seen[2][1] == seen[3][1], "the root's own account follows ticks and wake-ups"


@pytest.mark.parametrize(
    ("weights", "order"),
    [({"a": 200, "b": 100}, "aaaaaa"), ({"b": 100, "a": 200}, "bababa")],
    ids=["the heavier is older", "the heavier is newer"],
)
def test_groups_that_are_released_together_come_back_the_newest_first(switches, weights, order):
    """The first on an empty queue loses its lag. Each refill of 1 ms is good for one turn, of a tick.

    Who is picked when the quota is used up parks first, with what it is owed; the one that ran parks last,
    alone on the queue, and so owes nothing any more. If the one that is owed comes back first, that is forgotten,
    and the heavier runs again.
    """
    heart = Heart(1, tick_phase_ns=4 * MS)
    seen = switches(heart)
    outer = heart.add_group("o", heart.root, group_load(100), heart.root.cpus, Bandwidth(1 * MS, 20 * MS, 0, 5 * MS, 0))
    for name, weight in weights.items():
        add(heart, name, hog(), group=heart.add_group(name, outer, group_load(weight), heart.root.cpus))
    heart.advance(480 * MS)
    ran = [name for (time, _, name), (after, _, _) in itertools.pairwise(seen) if name and after - time >= 4 * MS]
    assert "".join(ran) == order
