"""Rank correlations, and bootstrap intervals over the rows of published tables.

Values of one row are not independent (they share the benchmark's mix), so whole rows are drawn again.

References
----------
M. G. Kendall, "The treatment of ties in ranking problems", Biometrika 33(3), 1945 (tau-b). B. Efron, R. J.
Tibshirani, *An Introduction to the Bootstrap*, 1993, section 13.3 (percentile intervals).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import NamedTuple, TypeVar

import numpy as np

from virtsim.core.streams import Streams

#: Times that the rows are drawn again.
RESAMPLES = 1000

T = TypeVar("T")


class Estimate(NamedTuple):
    """A statistic with its 90 % bootstrap interval; all three are NaN where there is nothing to count."""

    value: float
    low: float
    high: float

    def text(self, form: str) -> str:
        """As ``value [low, high]``, each in a format."""
        return f"{self.value:{form}} [{self.low:{form}}, {self.high:{form}}]"


def bootstrap(rows: Sequence[T], statistic: Callable[[list[T]], float], purpose: str) -> Estimate:
    """A statistic of rows, with the 5th and 95th percentiles over resampled rows.

    Parameters
    ----------
    rows : sequence
    statistic : callable
        Of a list of rows; NaN where it has no value.
    purpose : str
        Names the stream of random numbers.
    """
    if not rows:
        return Estimate(math.nan, math.nan, math.nan)
    random = Streams(0).generator("literature", purpose)
    picks = random.integers(0, len(rows), size=(RESAMPLES, len(rows)))
    found = np.array([statistic([rows[i] for i in pick]) for pick in picks])
    found = found[~np.isnan(found)]
    low, high = np.quantile(found, (0.05, 0.95)) if found.size else (math.nan, math.nan)
    return Estimate(statistic(list(rows)), float(low), float(high))


def mean_known(values: Sequence[float]) -> float:
    """Mean of those that are numbers; NaN if none is."""
    known = [value for value in values if not math.isnan(value)]
    return statistics.fmean(known) if known else math.nan


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's rank correlation, ties with mean ranks; NaN if one side is all ties."""
    ra, rb = _ranks(a), _ranks(b)
    ma, mb = statistics.fmean(ra), statistics.fmean(rb)
    cov = math.fsum((x - ma) * (y - mb) for x, y in zip(ra, rb, strict=True))
    norm = math.sqrt(math.fsum((x - ma) ** 2 for x in ra) * math.fsum((y - mb) ** 2 for y in rb))
    return cov / norm if norm else math.nan


def kendall(a: Sequence[float], b: Sequence[float]) -> float:
    """Kendall's tau-b; NaN if one side is all ties."""
    signs = [(_sign(x - u), _sign(y - v)) for (x, y), (u, v) in combinations(zip(a, b, strict=True), 2)]
    score = sum(s * t for s, t in signs)
    norm = math.sqrt(sum(s != 0 for s, _ in signs) * sum(t != 0 for _, t in signs))
    return score / norm if norm else math.nan


def _sign(x: float) -> int:
    return (x > 0) - (x < 0)


def _ranks(values: Sequence[float]) -> list[float]:
    order = sorted(values)
    return [(order.index(v) + len(order) - 1 - order[::-1].index(v)) / 2 for v in values]
