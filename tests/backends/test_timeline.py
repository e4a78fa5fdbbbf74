"""Slices and wake-ups from a recorded kernel trace."""

from __future__ import annotations

from virtsim.backends.timeline import read_trace
from virtsim.results.run import Slice, Wakeup
from virtsim.results.waits import events_of, waits_of

# Recorded on Linux 6.18, two tasks on one CPU, shortened; the third switch leaves a name with spaces.
_SWITCH = (
    "sched_switch: prev_comm={} prev_pid={} prev_prio=120 prev_state={} ==> next_comm={} next_pid={} next_prio=120"
)
_LINES = (
    "# tracer: nop",
    "#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION",
    "  <idle>-0   [001] d.h3.  1000.000100: sched_wakeup: comm=runner pid=41 prio=120 target_cpu=001",
    "  <idle>-0   [001] d..2.  1000.000150: " + _SWITCH.format("swapper/1", 0, "R", "runner", 41),
    "  runner-41  [001] d..2.  1000.004150: " + _SWITCH.format("runner", 41, "R", "run ner", 42),
    "  runner-42  [001] d..2.  1000.006150: " + _SWITCH.format("run ner", 42, "S", "other", 9),
    "   other-9   [001] d..2.  1000.007150: " + _SWITCH.format("other", 9, "S", "runner", 41),
    "  <idle>-0   [000] d.h3.  1000.008000: sched_wakeup: comm=x pid=77 prio=120 target_cpu=000",
)
_TRACE = "\n".join(_LINES)
_NAMES = {41: ("a", "one"), 42: ("b", "two")}


def test_slices_lie_between_switches_and_end_with_the_run() -> None:
    slices, wakeups = read_trace(_TRACE, _NAMES, 1_000_000_000_000, 8_000_000)
    assert slices == [
        Slice(1, 150_000, 4_150_000, "a", "one", "R"),
        Slice(1, 4_150_000, 6_150_000, "b", "two", "S"),
        Slice(1, 7_150_000, 8_000_000, "a", "one"),
    ]
    assert wakeups == [Wakeup(100_000, 1, "a", "one")]


def test_what_lies_after_the_end_is_cut_off() -> None:
    slices, _ = read_trace(_TRACE, _NAMES, 1_000_000_000_000, 5_000_000)
    assert slices[-1] == Slice(1, 4_150_000, 5_000_000, "b", "two")


def test_the_stream_of_events_and_the_waits_are_those_of_the_trace() -> None:
    slices, wakeups = read_trace(_TRACE, _NAMES, 1_000_000_000_000, 8_000_000)
    assert [tuple(event) for event in events_of(slices, wakeups)] == [
        (100_000, 1, "sched_wakeup", "", "", "a/one"),
        (150_000, 1, "sched_switch", "", "", "a/one"),
        (4_150_000, 1, "sched_switch", "a/one", "R", "b/two"),
        (6_150_000, 1, "sched_switch", "b/two", "S", ""),
        (7_150_000, 1, "sched_switch", "", "", "a/one"),
        (8_000_000, 1, "sched_switch", "a/one", "", ""),
    ]
    assert list(waits_of(slices, wakeups)) == [
        (("a", "one"), 100_000, 150_000),
        (("a", "one"), 4_150_000, 7_150_000),
    ]
