"""What being away costs: a task that comes back finds caches, page tables and branch history cold.

Prices of operations are measured in tight loops, where all is warm. A task that sleeps for a while pays for
the path through the kernel and for its own first steps once more, the longer it was away the more, and most
where its CPU went idle (in a guest, the hypervisor had it meanwhile).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import log2

#: Absences longer than 2 to this power ns (about a second) cost no more.
_LAST = 30


class Cold:
    """CPU time that a woken task needs on top, by how long it was away.

    Parameters
    ----------
    points : sequence of (away_ns, busy_ns, idle_ns)
        Measured: with somebody else on the CPU meanwhile, and with nobody. Between them the cost is linear in
        the logarithm of the absence, before the first in proportion to it, behind the last constant.
    """

    __slots__ = ("_busy", "_idle", "_power")

    def __init__(self, points: Sequence[tuple[int, int, int]] = ()) -> None:
        self._busy = _at_powers_of_two([(away, busy) for away, busy, _ in points])
        #: The last absence's power of two: the next one's is seldom far from it.
        self._power = 0
        self._idle = _at_powers_of_two([(away, idle) for away, _, idle in points])

    def cost_ns(self, away_ns: int, idle: bool) -> int:
        """Extra CPU time after an absence."""
        table = self._idle if idle else self._busy
        if away_ns <= 0 or not table:
            return 0
        if away_ns >> _LAST:
            return table[_LAST]
        power = self._power
        while away_ns >> power > 1:
            power += 1
        while away_ns >> power == 0:
            power -= 1
        self._power = power
        low, high = table[power], table[power + 1]
        return low + ((high - low) * (away_ns - (1 << power)) >> power)


def _at_powers_of_two(points: Sequence[tuple[int, int]]) -> list[int]:
    return [_between(points, 1 << power) for power in range(_LAST + 1)] if points else []


def _between(points: Sequence[tuple[int, int]], away_ns: int) -> int:
    first, cost = points[0]
    if away_ns <= first:
        return cost * away_ns // first
    for (left, below), (right, above) in pairwise(points):
        if away_ns <= right:
            return round(below + (above - below) * (log2(away_ns) - log2(left)) / (log2(right) - log2(left)))
    return points[-1][1]
