"""Spans of time, and which parts of the slices on virtual CPUs ran on a CPU of the machine: the rest was stolen."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from virtsim.results.run import Run, Slice

#: From and to, ns.
Span = tuple[int, int]


def inside(whole: Span, spans: Sequence[Span]) -> list[Span]:
    """The parts of a time that are in one of ``spans``, which are in order and do not overlap."""
    start_ns, end_ns = whole
    found = []
    for place in range(bisect_right(spans, start_ns, key=lambda span: span[1]), len(spans)):
        begin_ns, until_ns = spans[place]
        if begin_ns >= end_ns:
            break
        found.append((max(begin_ns, start_ns), min(until_ns, end_ns)))
    return found


def outside(whole: Span, parts: Iterable[Span]) -> list[Span]:
    """What :func:`inside` has left over of a time."""
    start_ns, end_ns = whole
    gaps = []
    for begin_ns, until_ns in parts:
        if begin_ns > start_ns:
            gaps.append((start_ns, begin_ns))
        start_ns = until_ns
    return [*gaps, (start_ns, end_ns)] if end_ns > start_ns else gaps


def pieces_of(run: Run) -> list[list[tuple[Slice, list[Span]]]]:
    """The slices of each of a run's guest timelines, each with the spans, ns, in which its virtual CPU had a CPU.

    Time that the hypervisor takes before it enters the guest counts as had. A kernel's virtual CPUs may themselves be
    tasks on virtual CPUs: all of those have to run.
    """
    had: dict[tuple[str, str], list[Span]] = {}
    for piece in run.slices:
        had.setdefault((piece.guest, piece.task), []).append((piece.start_ns, piece.end_ns))
    timelines = []
    for timeline in run.guest_timelines:
        cpus = [had.get((timeline.guest, vcpu), []) for vcpu in timeline.vcpus]
        cut = [(piece, inside((piece.start_ns, piece.end_ns), cpus[piece.cpu])) for piece in timeline.slices]
        for piece, spans in cut:
            had.setdefault((piece.guest, piece.task), []).extend(spans)
        timelines.append(cut)
    return timelines
