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
from virtsim.results.run import GuestTimeline, Run, Slice, Wakeup
from virtsim.results.spans import Span, inside, outside, pieces_of
from virtsim.results.waits import TaskKey, waits_of

#: Thread numbers of a process: CPUs from 1, virtual CPUs and tasks from here.
_FIRST_VCPU, _FIRST_TASK = 10_001, 20_001

Event = dict[str, Any]


def save_trace(path: Path | str, runs: Iterable[Run]) -> None:
    """Write the timelines of ``runs`` into one trace; gzipped where the name ends in ``.gz``.

    Each run is a process named after its world and scenario. It has a track for each CPU with the tasks that
    ran there, a track for each virtual CPU with the tasks of its guest and, inside them, what was stolen, a track for
    each task with its running, stolen, runnable and throttled times, wake-ups and requests, and a counter of throttled
    CPUs for each group that was throttled. Runs without a timeline show their requests only.
    """
    path = Path(path)
    events = [event for number, run in enumerate(runs, start=1) for event in trace_events(run, number)]
    data = msgspec.json.encode({"displayTimeUnit": "ns", "traceEvents": events})
    write_whole(path, data)


def trace_events(run: Run, process: int) -> Iterator[Event]:
    """The events of one run, as process number ``process``."""
    tasks = {name: _FIRST_TASK + i for i, name in enumerate(_task_names(run))}
    vcpus = {name: _FIRST_VCPU + i for i, name in enumerate(_vcpu_names(run))}
    yield from _names(run, process, {**vcpus, **tasks})
    for piece in run.slices:
        name = f"{piece.guest}/{piece.task}"
        whole = (piece.start_ns, piece.end_ns)
        yield _span(process, piece.cpu + 1, name, piece.guest, whole)
        yield _span(process, tasks[name], "running", "running", whole) | {"args": {"cpu": piece.cpu}}
    for timeline, pieces in zip(run.guest_timelines, pieces_of(run), strict=True):
        for piece, had in pieces:
            yield from _on_vcpu(process, vcpus[_vcpu_name(timeline, piece.cpu)], tasks, piece, had)
    for slices, wakeups in ((run.slices, run.wakeups), *((t.slices, t.wakeups) for t in run.guest_timelines)):
        yield from _wakeups(wakeups, process, tasks)
        yield from _waits(run, waits_of(slices, wakeups), process, tasks)
    for held in run.task_throttles:
        track = tasks[f"{held.guest}/{held.task}"]
        yield _span(process, track, "throttled", "throttled", (held.start_ns, held.end_ns)) | {
            "args": {"cpu": held.cpu}
        }
    yield from _requests(run, process, tasks)
    yield from _throttling(run, process)


def _us(time_ns: int) -> float:
    """The format counts in microseconds; three decimals hold the nanoseconds exactly."""
    return time_ns / 1000


def _task_names(run: Run) -> list[str]:
    names = [f"{task.guest}/{task.task}" for task in run.tasks]
    kernels: list[Run | GuestTimeline] = [run, *run.guest_timelines]
    for one in kernels:
        names += [f"{piece.guest}/{piece.task}" for piece in one.slices]
        names += [f"{wakeup.guest}/{wakeup.task}" for wakeup in one.wakeups]
    names += [f"{held.guest}/{held.task}" for held in run.task_throttles]
    names += [f"{request.guest}/{request.task}" for request in run.requests]
    return list(dict.fromkeys(names))


def _vcpu_name(timeline: GuestTimeline, number: int) -> str:
    return f"CPU {timeline.guest}/{timeline.vcpus[number]}"


def _vcpu_names(run: Run) -> list[str]:
    return [_vcpu_name(one, number) for one in run.guest_timelines for number in range(len(one.vcpus))]


def _span(process: int, track: int, name: str, kind: str, span: Span) -> Event:
    start_ns, end_ns = span
    where = {"ts": _us(start_ns), "dur": _us(end_ns - start_ns), "ph": "X", "pid": process, "tid": track}
    return {**where, "name": name, "cat": kind}


def _on_vcpu(process: int, track: int, tasks: dict[str, int], piece: Slice, had: list[Span]) -> Iterator[Event]:
    """A guest's task on a virtual CPU: the whole slice, in it the time without a CPU; and both on the task's track."""
    name = f"{piece.guest}/{piece.task}"
    yield _span(process, track, name, piece.guest, (piece.start_ns, piece.end_ns))
    for span in had:
        yield _span(process, tasks[name], "running", "running", span) | {"args": {"vcpu": piece.cpu}}
    for span in outside((piece.start_ns, piece.end_ns), had):
        yield _span(process, track, "stolen", "stolen", span)
        yield _span(process, tasks[name], "stolen", "stolen", span) | {"args": {"vcpu": piece.cpu}}


def _names(run: Run, process: int, named: dict[str, int]) -> Iterator[Event]:
    title = f"{run.world}: {run.scenario.name} (seed {run.seed})"
    yield {"ph": "M", "pid": process, "name": "process_name", "args": {"name": title}}
    yield {"ph": "M", "pid": process, "name": "process_sort_index", "args": {"sort_index": process}}
    cpus = sorted({piece.cpu for piece in run.slices} | {wakeup.cpu for wakeup in run.wakeups})
    tracks = {cpu + 1: f"CPU {cpu}" for cpu in cpus} | {thread: name for name, thread in named.items()}
    for thread, name in tracks.items():
        where = {"ph": "M", "pid": process, "tid": thread}
        yield {**where, "name": "thread_name", "args": {"name": name}}
        yield {**where, "name": "thread_sort_index", "args": {"sort_index": thread}}


def _wakeups(wakeups: Iterable[Wakeup], process: int, tasks: dict[str, int]) -> Iterator[Event]:
    """An instant for each."""
    for wakeup in wakeups:
        name = f"{wakeup.guest}/{wakeup.task}"
        where = {"ts": _us(wakeup.time_ns), "pid": process, "tid": tasks[name], "cat": "wakeup"}
        yield {**where, "ph": "i", "s": "t", "name": "wakeup", "args": {"cpu": wakeup.cpu}}


def _waits(run: Run, waits: Iterable[tuple[TaskKey, int, int]], process: int, tasks: dict[str, int]) -> Iterator[Event]:
    """A span for each time that a task waited, woken or sent off its CPU, but for what a quota held it back."""
    held: dict[TaskKey, list[Span]] = {}
    for one in run.task_throttles:
        held.setdefault((one.guest, one.task), []).append((one.start_ns, one.end_ns))
    for (guest, task), since_ns, until_ns in waits:
        whole = (since_ns, until_ns)
        for span in outside(whole, inside(whole, held.get((guest, task), []))):
            yield _span(process, tasks[f"{guest}/{task}"], "runnable", "runnable", span)


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
