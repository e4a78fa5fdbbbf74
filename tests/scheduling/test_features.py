"""Feature switches: which kernel has which, and an exact timeline that differs for each of them."""

from __future__ import annotations

import pytest

from tests.scheduling.conftest import MS, add, hog
from virtsim.core.errors import SpecError
from virtsim.scheduling.features import default_features, features
from virtsim.scheduling.heart import Heart
from virtsim.scheduling.program import Code, Program
from virtsim.scheduling.settings import Kernel

US = 1000


def kernel(version, changes=None, scheduler=None, **tunables):
    scheduler = scheduler or ("eevdf" if version >= (6, 6) else "cfs")
    on = features(scheduler, version, changes or {})
    return Kernel(scheduler=scheduler, version=version, features=on, **tunables)


def sleeper(run_ns, sleep_ns):
    program = Program()
    counter = program.slot()
    program.emit(Code.LOOP_BEGIN, 0, counter)
    top = program.emit(Code.CPU, run_ns)
    program.emit(Code.SLEEP, sleep_ns)
    program.emit(Code.LOOP_END, top, counter)
    return program


def beside_a_hog(switches, kernel, program, start_ns, until_ns):
    """(time in us, who) at every switch of a hog "h" and a task "s" on one CPU, without costs or slack."""
    heart = Heart(1, kernel)
    seen = switches(heart)
    add(heart, "h", hog())
    add(heart, "s", program, slack_ns=0, start=start_ns)
    heart.advance(until_ns)
    return [(time // US, name) for time, _, name in seen]


def alternating(*times_us):
    return [(time, "hs"[i % 2]) for i, time in enumerate(times_us)]


def test_every_switch_came_when_the_releases_say():
    assert default_features("cfs", (5, 4)) == {
        "START_DEBIT",
        "GENTLE_FAIR_SLEEPERS",
        "WAKEUP_PREEMPTION",
        "LAST_BUDDY",
        "UTIL_EST",
        "RT_RUNTIME_SHARE",
    }
    assert default_features("cfs", (6, 1)) - default_features("cfs", (5, 4)) == {"ALT_PERIOD", "BASE_SLICE"}
    assert default_features("cfs", (5, 9)) - default_features("cfs", (5, 10)) == {"RT_RUNTIME_SHARE"}
    late = default_features("eevdf", (6, 12)) - default_features("eevdf", (6, 6))
    assert late == {"DELAY_DEQUEUE", "DELAY_ZERO", "PLACE_REL_DEADLINE", "PREEMPT_SHORT"}
    assert default_features("eevdf", (6, 18)) - default_features("eevdf", (6, 12)) == {"NI_RANDOM"}
    assert not Kernel(version=(6, 6)).custom_slices
    assert Kernel(version=(6, 12)).custom_slices


@pytest.mark.parametrize(
    ("scheduler", "version", "name", "message"),
    [
        (
            "eevdf",
            (6, 18),
            "GENTLE_FAIR_SLEEPERS",
            "is not a feature of 'eevdf' that is modelled; known: DELAY_DEQUEUE",
        ),
        ("cfs", (6, 1), "RUN_TO_PARITY", "is not a feature of 'cfs'"),
        ("eevdf", (6, 6), "DELAY_DEQUEUE", "came with Linux 6.12"),
    ],
)
def test_a_switch_that_is_not_there_is_refused(scheduler, version, name, message):
    with pytest.raises(SpecError, match=message):
        features(scheduler, version, {name: True})


def test_hrtick_ends_slices_to_the_nanosecond(switches):
    """1.4 ms requests: turns of a tick without the timer, of the request with it."""
    ticks = beside_a_hog(switches, kernel((6, 18)), hog(), 0, 9 * MS)
    precise = beside_a_hog(switches, kernel((6, 18), {"HRTICK": True}), hog(), 0, 9 * MS)
    assert ticks == alternating(0, 4000, 8000)
    assert precise == alternating(0, 1400, 2800, 4200, 5600, 7000, 8400)


def test_hrtick_under_cfs_ends_slices_of_half_the_latency(switches):
    """6 ms by two: 2,999,998 ns, as the kernel's fixed-point division has it."""
    heart = Heart(1, kernel((6, 1), {"HRTICK": True}))
    seen = switches(heart)
    for name in "ab":
        add(heart, name, hog())
    heart.advance(10 * MS)
    assert [time for time, _, _ in seen] == [0, 2_999_998, 5_999_996, 8_999_994]


def test_run_to_parity_protects_for_a_slice_or_for_the_least_one(switches):
    """Since 6.17: who came at 7.1 ms is protected for its 1.4 ms, beyond the tick at 8, or for 0.7 ms."""
    on = beside_a_hog(switches, kernel((6, 18)), sleeper(3 * MS, 100 * US), 500 * US, 12 * MS - 1)
    off = beside_a_hog(
        switches, kernel((6, 18), {"RUN_TO_PARITY": False}), sleeper(3 * MS, 100 * US), 500 * US, 12 * MS - 1
    )
    assert on == alternating(0, 4000, 7000, 7100, 10100)
    assert off == alternating(0, 4000, 7000, 7100, 8000)


def test_run_to_parity_before_6_17_protects_for_a_whole_request_or_not_at_all(switches):
    """Two begin at once, with the same deadline: the second one preempts the first unless that is protected."""
    on = beside_a_hog(switches, kernel((6, 6)), hog(), 0, 8 * MS)
    off = beside_a_hog(switches, kernel((6, 6), {"RUN_TO_PARITY": False}), hog(), 0, 8 * MS)
    late = beside_a_hog(switches, kernel((6, 18), {"RUN_TO_PARITY": False}), hog(), 0, 8 * MS)
    assert on == late == alternating(0, 4000, 8000)
    assert off == alternating(0, 0, 4000, 8000)


def test_place_lag_gives_a_sleeper_what_it_is_owed(switches):
    """After 0.2 of 4.2 ms it is owed 1.9 ms: it preempts when it wakes at 5.2; without lag it waits for the tick."""
    program = sleeper(200 * US, 1 * MS)
    on = beside_a_hog(switches, kernel((6, 18)), program, 500 * US, 8 * MS)
    off = beside_a_hog(switches, kernel((6, 18), {"PLACE_LAG": False}), program, 500 * US, 8 * MS)
    assert on[:5] == alternating(0, 4000, 4200, 5200, 5400)
    assert off == alternating(0, 4000, 4200, 8000)


def test_a_delayed_dequeue_lets_debts_be_paid_asleep(switches):
    """Asleep at 11 ms with a debt: on the queue it is paid by 12 ms; off it, it is still there then."""
    program = sleeper(1 * MS, 1 * MS)
    on = beside_a_hog(switches, kernel((6, 18)), program, 500 * US, 16 * MS)
    off = beside_a_hog(switches, kernel((6, 18), {"DELAY_DEQUEUE": False}), program, 500 * US, 16 * MS)
    early = beside_a_hog(switches, kernel((6, 6)), program, 500 * US, 16 * MS)
    same = (0, 4000, 5000, 6000, 7000, 8000, 9000, 10000, 11000)
    assert on == alternating(*same, 12000, 13000, 14000, 15000, 16000)
    assert off == early == alternating(*same, 16000)


@pytest.mark.parametrize("version", [(6, 18), (6, 1)])
def test_without_wakeup_preemption_all_wait_for_ticks(switches, version):
    program = sleeper(1 * MS, 3300 * US)
    on = beside_a_hog(switches, kernel(version, tick_ns=4 * MS), program, 500 * US, 30 * MS)
    off = beside_a_hog(switches, kernel(version, {"WAKEUP_PREEMPTION": False}), program, 500 * US, 30 * MS)
    assert any(time % 4000 for time, name in on if name == "s")
    assert not any(time % 4000 for time, name in off if name == "s")


def test_start_debit_has_new_tasks_begin_a_slice_late(switches):
    """At 1000 Hz a hog, and a task that starts at 1 ms: placed at 1 + 2.999998 ms of virtual time, or at 1 ms."""
    debit = beside_a_hog(switches, kernel((6, 1), tick_ns=MS), hog(), 1 * MS, 6 * MS)
    none = beside_a_hog(switches, kernel((6, 1), {"START_DEBIT": False}, tick_ns=MS), hog(), 1 * MS, 5 * MS)
    assert debit == alternating(0, 4000)
    assert none == alternating(0, 3000)


def test_gentle_sleepers_get_half_the_credit(switches):
    """Woken at 43.1 ms a task runs until the first tick at which its credit is used: 3 ms of it, or the whole 6."""
    gentle = beside_a_hog(switches, kernel((6, 1), tick_ns=MS), _late(10 * MS), 0, 60 * MS)
    full = beside_a_hog(
        switches, kernel((6, 1), {"GENTLE_FAIR_SLEEPERS": False}, tick_ns=MS), _late(10 * MS), 0, 60 * MS
    )
    assert gentle[:5] == alternating(0, 3000, 3100, 43100, 47000)
    assert full[:5] == alternating(0, 3000, 3100, 43100, 50000)


def _late(run_ns):
    program = Program()
    program.emit(Code.CPU, 100 * US)
    program.emit(Code.SLEEP, 40 * MS)
    program.emit(Code.CPU, run_ns)
    program.emit(Code.EXIT)
    return program


@pytest.mark.parametrize(
    ("changes", "resumed"),
    [({}, "e"), ({"LAST_BUDDY": False}, "d")],
    ids=["the one that was preempted goes on", "the one with the least virtual run time"],
)
def test_the_last_buddy_gets_its_cpu_back_on_a_crowded_queue(switches, changes, resumed):
    """Eight hogs in turn, one tick each; a sleeper preempts "e" at 17.1 ms for 0.1 ms.

    "e" has run 1.1 ms, "d" nothing yet: "e" is ahead of it, but not by more than a granularity.
    """
    heart = Heart(1, kernel((6, 1), changes, wakeup_granularity_ns=1200 * US))
    seen = switches(heart)
    for name in "abcdefgh":
        add(heart, name, hog())
    add(heart, "s", sleeper(100 * US, 9 * MS), slack_ns=0)
    heart.advance(18 * MS)
    assert [(time // US, name) for time, _, name in seen][-3:] == [(16000, "e"), (17100, "s"), (17200, resumed)]


def test_next_buddies_are_preferred_on_a_crowded_queue(switches):
    """A woken task that does not preempt is picked at the next tick all the same, where the feature is on."""
    on, off = (_next_after_wakeup(switches, changes) for changes in ({"NEXT_BUDDY": True}, {}))
    assert on == "s"
    assert off != "s"


def _next_after_wakeup(switches, changes):
    heart = Heart(1, kernel((6, 1), changes, wakeup_granularity_ns=20 * MS))
    seen = switches(heart)
    for name in "abcdefgh":
        add(heart, name, hog())
    add(heart, "s", sleeper(3500 * US, 100 * US), slack_ns=0)
    heart.advance(100 * MS)
    times = [(time, name) for time, _, name in seen]
    woken = next(time for time, name in times if name == "s") + 3600 * US
    return next(name for time, name in times if time > woken)
