"""Durations that are counted while a run goes on: a histogram on plain integers."""

from __future__ import annotations

from virtsim.results.histogram import SUB_BITS, Histogram
from virtsim.scheduling.words import Words

_SUB_BITS = SUB_BITS
_LAST = (1 << SUB_BITS) - 1
_TOP = (2 << SUB_BITS) - 1
#: Durations have less than 64 bits.
_PIECES = 64 - SUB_BITS


class Tally:
    """What a :class:`~virtsim.results.histogram.Histogram` is made of.

    Counts lie in pieces of 128 buckets, for each power of two that comes up: about a kilobyte for each.
    """

    __slots__ = ("_number", "_piece", "_pieces", "_shift", "count", "max_ns", "min_ns", "sum_ns")

    def __init__(self) -> None:
        self._pieces: list[Words | None] = [None] * _PIECES
        #: By how much the last one was shifted: the next one is seldom far from it.
        self._shift = 0
        #: The piece that it went to, none at first.
        self._number, self._piece = -1, Words()
        self.count = 0
        self.sum_ns = 0
        self.min_ns = 0
        self.max_ns = 0

    def add(self, value_ns: int) -> None:
        """Count a duration, at least 0."""
        shift = self._shift
        while value_ns >> shift > _TOP:
            shift += 1
        while shift and value_ns >> shift <= _LAST:
            shift -= 1
        self._shift = shift
        bucket = (shift << _SUB_BITS) + (value_ns >> shift)
        if bucket >> _SUB_BITS != self._number:
            self._turn_to(bucket >> _SUB_BITS)
        self._piece.at[bucket & _LAST] += 1
        if value_ns > self.max_ns:
            self.max_ns = value_ns
        if self.count == 0 or value_ns < self.min_ns:
            self.min_ns = value_ns
        self.count += 1
        self.sum_ns += value_ns

    def _turn_to(self, number: int) -> None:
        piece = self._pieces[number]
        if piece is None:
            piece = self._pieces[number] = Words(1 << _SUB_BITS)
        self._number, self._piece = number, piece

    def histogram(self) -> Histogram:
        """A copy, for records."""
        buckets = {
            (number << _SUB_BITS) + place: times
            for number, piece in enumerate(self._pieces)
            for place, times in enumerate(piece or ())
            if times
        }
        return Histogram(buckets, self.count, self.sum_ns, self.min_ns, self.max_ns)
