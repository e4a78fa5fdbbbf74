"""A timeline of either world as a stream of events, and how long tasks waited for a CPU each time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from virtsim.results.histogram import Histogram

if TYPE_CHECKING:
    from virtsim.results.run import Slice, Wakeup

TaskKey = tuple[str, str]


class SchedulerEvent(NamedTuple):
    """One row of the event stream, with the columns of the kernel's ``sched_switch`` and ``sched_wakeup``.

    Attributes
    ----------
    time_ns : int, ns
        Since the run's start.
    cpu : int
        Where it happened (a wake-up: where the task is to run).
    event : str
        ``sched_switch`` or ``sched_wakeup``.
    previous, previous_state : str
        ``guest/task`` that leaves the CPU, and whether it could go on (``R``), sleeps (``S``, ``D``) or has ended
        (``X``); empty for a wake-up, and where the CPU ran nothing of the scenario.
    next : str
        ``guest/task`` that comes, or wakes up; empty where the CPU goes to nothing of the scenario.
    """

    time_ns: int
    cpu: int
    event: str
    previous: str
    previous_state: str
    next: str


def events_of(slices: Iterable[Slice], wakeups: Iterable[Wakeup]) -> list[SchedulerEvent]:
    """Slices and wake-ups as a stream in the order of time; at one instant a CPU's wake-ups come before its switch."""
    begins = {(piece.cpu, piece.start_ns): piece for piece in slices}
    ends = {(piece.cpu, piece.end_ns): piece for piece in begins.values()}
    events = [SchedulerEvent(w.time_ns, w.cpu, "sched_wakeup", "", "", f"{w.guest}/{w.task}") for w in wakeups]
    for cpu, time_ns in {*begins, *ends}:
        old, new = ends.get((cpu, time_ns)), begins.get((cpu, time_ns))
        left, state = (f"{old.guest}/{old.task}", old.state) if old is not None else ("", "")
        came = f"{new.guest}/{new.task}" if new is not None else ""
        events.append(SchedulerEvent(time_ns, cpu, "sched_switch", left, state, came))
    return sorted(events, key=lambda event: (event.time_ns, event.cpu, event.event == "sched_switch"))


def waits_of(slices: Iterable[Slice], wakeups: Iterable[Wakeup]) -> Iterator[tuple[TaskKey, int, int]]:
    """Each time a task waited: guest and task, from when, until it ran. One that is under way is left out.

    A task waits from a wake-up, or from where it had to leave its CPU though it could go on.
    """
    begins: dict[TaskKey, list[int]] = {}
    for wakeup in wakeups:
        begins.setdefault((wakeup.guest, wakeup.task), []).append(wakeup.time_ns)
    runs: dict[TaskKey, list[Slice]] = {}
    for piece in slices:
        runs.setdefault((piece.guest, piece.task), []).append(piece)
        if piece.state == "R":
            begins.setdefault((piece.guest, piece.task), []).append(piece.end_ns)
    for task, pieces in runs.items():
        pieces.sort(key=lambda piece: piece.start_ns)
        since = sorted(begins.get(task, []))
        place, until_ns = 0, 0
        for piece in pieces:
            first = None
            while place < len(since) and since[place] <= piece.start_ns:
                # One that was woken while it still ran does not wait before it has left its CPU.
                if since[place] >= until_ns and first is None:
                    first = since[place]
                place += 1
            if first is not None:
                yield task, first, piece.start_ns
            until_ns = piece.end_ns


def scheduling_latencies(slices: Iterable[Slice], wakeups: Iterable[Wakeup]) -> dict[TaskKey, Histogram]:
    """Distribution of the waits of each task."""
    histograms: dict[TaskKey, Histogram] = {}
    for task, since_ns, until_ns in waits_of(slices, wakeups):
        histograms.setdefault(task, Histogram()).add(until_ns - since_ns)
    return histograms
