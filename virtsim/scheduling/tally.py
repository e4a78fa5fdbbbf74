"""Durations that are counted while a run goes on: a histogram on plain integers."""

from __future__ import annotations

from virtsim.results.histogram import SUB_BITS, Histogram

_SUB_BITS = SUB_BITS


class Tally:
    """What a :class:`~virtsim.results.histogram.Histogram` is made of, with the same buckets."""

    __slots__ = ("buckets", "count", "max_ns", "min_ns", "sum_ns")

    def __init__(self) -> None:
        self.buckets: dict[int, int] = {}
        self.count = 0
        self.sum_ns = 0
        self.min_ns = 0
        self.max_ns = 0

    def add(self, value_ns: int) -> None:
        """Count a duration, at least 0."""
        bucket = value_ns
        shift = value_ns.bit_length() - 1 - _SUB_BITS
        if shift >= 0:
            bucket = (shift << _SUB_BITS) + (value_ns >> shift)
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1
        if value_ns > self.max_ns:
            self.max_ns = value_ns
        if self.count == 0 or value_ns < self.min_ns:
            self.min_ns = value_ns
        self.count += 1
        self.sum_ns += value_ns

    def histogram(self) -> Histogram:
        """A copy, for records."""
        return Histogram(dict(self.buckets), self.count, self.sum_ns, self.min_ns, self.max_ns)
