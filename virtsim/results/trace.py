"""Timelines as trace files that ui.perfetto.dev and chrome://tracing open.

Model and real runs get the same tracks, one process each, so both can be looked at one above the other.

References
----------
"Trace Event Format", Google, 2016: phases X (complete), i (instant), C (counter), b/e (asynchronous), M (names).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from virtsim.core.files import write_whole
from virtsim.results.run import Run
from virtsim.results.waits import waits_of

#: Thread numbers of a process: CPUs from 1, tasks from here.
_FIRST_TASK = 10_001

Event = dict[str, Any]


def save_trace(path: Path | str, runs: Iterable[Run]) -> None:
    """Write the timelines of ``runs`` into one trace; gzipped where the name ends in ``.gz``.

    Each run is a process named after its world and scenario. It has a track for each CPU with the tasks that
    ran there, a track for each task with its running and runnable times, wake-ups and requests, and a counter
    of throttled CPUs for each group that was throttled. Runs without a timeline show their requests only.
    """
    path = Path(path)
    events = [event for number, run in enumerate(runs, start=1) for event in trace_events(run, number)]
    data = msgspec.json.encode({"displayTimeUnit": "ns", "traceEvents": events})
    write_whole(path, data)


def trace_events(run: Run, process: int) -> Iterator[Event]:
    """The events of one run, as process number ``process``."""
    tasks = {name: _FIRST_TASK + i for i, name in enumerate(_task_names(run))}
    yield from _names(run, process, tasks)
    for piece in run.slices:
        span = {"ts": _us(piece.start_ns), "dur": _us(piece.end_ns - piece.start_ns), "ph": "X", "pid": process}
        name = f"{piece.guest}/{piece.task}"
        yield {**span, "tid": piece.cpu + 1, "name": name, "cat": piece.guest}
        yield {**span, "tid": tasks[name], "name": "running", "cat": "running", "args": {"cpu": piece.cpu}}
    yield from _wakeups(run, process, tasks)
    yield from _requests(run, process, tasks)
    yield from _throttling(run, process)


def _us(time_ns: int) -> float:
    """The format counts in microseconds; three decimals hold the nanoseconds exactly."""
    return time_ns / 1000


def _task_names(run: Run) -> list[str]:
    names = [f"{task.guest}/{task.task}" for task in run.tasks]
    names += [f"{piece.guest}/{piece.task}" for piece in run.slices]
    names += [f"{wakeup.guest}/{wakeup.task}" for wakeup in run.wakeups]
    names += [f"{request.guest}/{request.task}" for request in run.requests]
    return list(dict.fromkeys(names))


def _names(run: Run, process: int, tasks: dict[str, int]) -> Iterator[Event]:
    title = f"{run.world}: {run.scenario.name} (seed {run.seed})"
    yield {"ph": "M", "pid": process, "name": "process_name", "args": {"name": title}}
    yield {"ph": "M", "pid": process, "name": "process_sort_index", "args": {"sort_index": process}}
    cpus = sorted({piece.cpu for piece in run.slices} | {wakeup.cpu for wakeup in run.wakeups})
    tracks = {cpu + 1: f"CPU {cpu}" for cpu in cpus} | {thread: name for name, thread in tasks.items()}
    for thread, name in tracks.items():
        where = {"ph": "M", "pid": process, "tid": thread}
        yield {**where, "name": "thread_name", "args": {"name": name}}
        yield {**where, "name": "thread_sort_index", "args": {"sort_index": thread}}


def _wakeups(run: Run, process: int, tasks: dict[str, int]) -> Iterator[Event]:
    """An instant for each wake-up, and a span for each time that a task waited: woken, or sent off its CPU."""
    for wakeup in run.wakeups:
        name = f"{wakeup.guest}/{wakeup.task}"
        where = {"ts": _us(wakeup.time_ns), "pid": process, "tid": tasks[name], "cat": "wakeup"}
        yield {**where, "ph": "i", "s": "t", "name": "wakeup", "args": {"cpu": wakeup.cpu}}
    for (guest, task), since_ns, until_ns in waits_of(run.slices, run.wakeups):
        if until_ns > since_ns:
            where = {"ts": _us(since_ns), "pid": process, "tid": tasks[f"{guest}/{task}"], "cat": "runnable"}
            yield {**where, "ph": "X", "name": "runnable", "dur": _us(until_ns - since_ns)}


def _requests(run: Run, process: int, tasks: dict[str, int]) -> Iterator[Event]:
    """Requests overlap, so each is an asynchronous span of its own: from arrival to end."""
    for number, request in enumerate(run.requests):
        thread = tasks[f"{request.guest}/{request.task}"]
        where = {"pid": process, "tid": thread, "cat": "request", "name": "request", "id": f"{process}.{number}"}
        yield {**where, "ph": "b", "ts": _us(request.arrival_ns)}
        yield {**where, "ph": "n", "ts": _us(request.start_ns), "args": {"event": "service begins"}}
        yield {**where, "ph": "e", "ts": _us(request.end_ns)}


def _throttling(run: Run, process: int) -> Iterator[Event]:
    """How many CPUs each group is throttled on, at every change."""
    changes: dict[str, dict[int, int]] = {}
    for throttle in run.throttles:
        mine = changes.setdefault(throttle.guest, {})
        mine[throttle.start_ns] = mine.get(throttle.start_ns, 0) + 1
        mine[throttle.end_ns] = mine.get(throttle.end_ns, 0) - 1
    for guest, mine in changes.items():
        level = 0
        for time_ns in sorted(mine):
            level += mine[time_ns]
            name = f"throttled CPUs of {guest}"
            yield {"ph": "C", "pid": process, "ts": _us(time_ns), "name": name, "args": {"cpus": level}}
