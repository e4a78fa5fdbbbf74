"""Log-linear histograms of durations, the same buckets in the model, the heart and the C runner."""

from __future__ import annotations

import msgspec

#: Each power of two is split into 2**SUB_BITS buckets: a bucket is at most 1/128 of its value wide.
SUB_BITS = 7
_SUB = 1 << SUB_BITS


def bucket_of(value_ns: int) -> int:
    """Index of the bucket that holds ``value_ns``; values below 128 ns have buckets of their own.

    >>> bucket_of(5), bucket_of(127), bucket_of(128), bucket_of(256), bucket_of(258)
    (5, 127, 128, 256, 257)
    """
    if value_ns < _SUB:
        return max(value_ns, 0)
    shift = value_ns.bit_length() - 1 - SUB_BITS
    return (shift << SUB_BITS) + (value_ns >> shift)


def bucket_bounds(index: int) -> tuple[int, int]:
    """Smallest value in a bucket, and smallest value above it, ns.

    >>> bucket_bounds(257)
    (258, 260)
    """
    if index < _SUB:
        return index, index + 1
    shift = (index >> SUB_BITS) - 1
    low = (index - (shift << SUB_BITS)) << shift
    return low, low + (1 << shift)


class Histogram(msgspec.Struct, omit_defaults=True):
    """Counts of durations in log-linear buckets, with exact count, sum, minimum and maximum.

    Attributes
    ----------
    buckets : dict of int to int
        Count by :func:`bucket_of`; empty buckets are absent.
    count, sum_ns, min_ns, max_ns : int
        Of the values themselves.
    """

    buckets: dict[int, int] = {}
    count: int = 0
    sum_ns: int = 0
    min_ns: int = 0
    max_ns: int = 0

    def add(self, value_ns: int, times: int = 1) -> None:
        """Count ``value_ns``."""
        index = bucket_of(value_ns)
        self.buckets[index] = self.buckets.get(index, 0) + times
        self.min_ns = value_ns if self.count == 0 else min(self.min_ns, value_ns)
        self.max_ns = max(self.max_ns, value_ns)
        self.count += times
        self.sum_ns += value_ns * times

    def merge(self, other: Histogram) -> None:
        """Add the counts of another histogram."""
        if other.count == 0:
            return
        for index, times in other.buckets.items():
            self.buckets[index] = self.buckets.get(index, 0) + times
        self.min_ns = other.min_ns if self.count == 0 else min(self.min_ns, other.min_ns)
        self.max_ns = max(self.max_ns, other.max_ns)
        self.count += other.count
        self.sum_ns += other.sum_ns

    @property
    def mean_ns(self) -> float:
        """Mean, ns; 0 for an empty histogram."""
        return self.sum_ns / self.count if self.count else 0.0

    def percentile_ns(self, percent: float) -> float:
        """Value below which ``percent`` of the counts lie, ns, interpolated inside its bucket."""
        if self.count == 0:
            return 0.0
        rank = percent / 100 * (self.count - 1)
        below = 0
        for index in sorted(self.buckets):
            times = self.buckets[index]
            if below + times > rank:
                low, high = bucket_bounds(index)
                value = low + (high - 1 - low) * ((rank - below) / times)
                return float(min(max(value, self.min_ns), self.max_ns))
            below += times
        return float(self.max_ns)

    def share_below(self, value_ns: int) -> float:
        """Share of the counts in buckets that lie entirely below ``value_ns``'s bucket."""
        edge = bucket_of(value_ns)
        return sum(times for index, times in self.buckets.items() if index < edge) / max(self.count, 1)
