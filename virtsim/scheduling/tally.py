"""Durations that are counted while a run goes on: a histogram on plain integers."""

from __future__ import annotations

from virtsim.results.histogram import SUB_BITS, Histogram

_SUB_BITS = SUB_BITS


class Tally:
    """What a :class:`~virtsim.results.histogram.Histogram` is made of.

    Counts lie in a list, by bucket, as long as the longest duration needs: at most 60 KB.
    """

    __slots__ = ("_counts", "count", "max_ns", "min_ns", "sum_ns")

    def __init__(self) -> None:
        self._counts: list[int] = []
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
        missing = bucket + 1 - len(self._counts)
        if missing > 0:
            self._counts += [0] * missing
        self._counts[bucket] += 1
        if value_ns > self.max_ns:
            self.max_ns = value_ns
        if self.count == 0 or value_ns < self.min_ns:
            self.min_ns = value_ns
        self.count += 1
        self.sum_ns += value_ns

    def histogram(self) -> Histogram:
        """A copy, for records."""
        buckets = {bucket: times for bucket, times in enumerate(self._counts) if times}
        return Histogram(buckets, self.count, self.sum_ns, self.min_ns, self.max_ns)
