"""What is due when, in order: by time, then by kind, then by who asked first.

This is the interpreted form, on :mod:`heapq`, which is written in C already; ``events.pyx`` is the same
on plain arrays. The order is total, so both give out the same events in the same order.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any

# Kinds of events, in the order in which those of one instant are served.
BURST_END, TIMER, PERIOD, SLACK, TICK, RESCHEDULE, START, CALL, STEAL, EXPIRE, HRTICK, DEVICE, FREQUENCY = range(13)
#: When there is no event, it is due then: later than any time.
NO_EVENT_NS = 1 << 62
#: Events of the kinds up to this one are void once their subject's ``version`` has moved on.
_LAST_VERSIONED = TIMER
#: Void events are thrown out when the queue has grown to this length, or to twice what was left the last time.
_SHORTEST = 1024


class EventQueue:
    """Pending events; the one that was popped last is in the attributes.

    Attributes
    ----------
    time_ns : int, ns
    kind : int
    subject : Cpu, Task, Group or callable
        What it is about.
    version : int
        The subject's when the event was made.
    """

    __slots__ = ("_heap", "_limit", "_sequence", "kind", "subject", "time_ns", "version")

    def __init__(self) -> None:
        self.time_ns = 0
        self.kind = CALL
        self.subject: Any = None
        self.version = 0
        self._heap: list[tuple[int, int, int, Any, int]] = []
        self._sequence = count()
        self._limit = _SHORTEST

    def __len__(self) -> int:
        return len(self._heap)

    def push(self, time_ns: int, kind: int, subject: Any, version: int) -> None:
        """Add an event."""
        heap = self._heap
        heappush(heap, (time_ns, kind, next(self._sequence), subject, version))
        if len(heap) > self._limit:
            self._throw_out()

    def pop(self, until_ns: int) -> bool:
        """Take the earliest event, if it is due by ``until_ns``; tells whether it is."""
        heap = self._heap
        if not heap or heap[0][0] > until_ns:
            return False
        self.time_ns, self.kind, _, self.subject, self.version = heappop(heap)
        return True

    def next_ns(self) -> int | None:
        """Time of the earliest event; None if there is none."""
        return self._heap[0][0] if self._heap else None

    def first_ns(self) -> int:
        """Time of the earliest event; later than any time if there is none."""
        return self._heap[0][0] if self._heap else NO_EVENT_NS

    def _throw_out(self) -> None:
        """Drop void events, so that memory stays flat however long the calls for CPU time are."""
        self._heap = [event for event in self._heap if event[1] > _LAST_VERSIONED or event[4] == event[3].version]
        heapify(self._heap)
        self._limit = max(_SHORTEST, 2 * len(self._heap))


def earliest(queues: list[EventQueue], until_ns: int) -> int:
    """Place of the queue with the earliest event, the first of equals; -1 if none is due by ``until_ns``."""
    first, first_ns = -1, until_ns + 1
    for place, queue in enumerate(queues):
        heap = queue._heap
        if heap and heap[0][0] < first_ns:
            first, first_ns = place, heap[0][0]
    return first
