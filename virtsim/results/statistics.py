"""Output analysis as calls: warm-up removal, intervals, replications to a precision, paired comparison.

SciPy is imported where a quantile of Student's t is needed, nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from virtsim.core.errors import SpecError

MSER_BATCH = 5


class Interval(NamedTuple):
    """A mean with its two-sided confidence interval.

    Attributes
    ----------
    mean, low, high : float
        In the unit of the values. One value alone has the interval (-inf, inf).
    n : int
        Number of values.
    std : float
        Sample standard deviation of the values; not a number for one value.
    confidence : float
        Probability that such an interval holds the expected value.
    """

    mean: float
    low: float
    high: float
    n: int
    std: float
    confidence: float

    @property
    def half_width(self) -> float:
        """Half the length of the interval."""
        return (self.high - self.low) / 2

    @property
    def relative_half_width(self) -> float:
        """Half-width over the mean; infinite for a mean of 0, unless the interval is a point."""
        if self.half_width == 0:
            return 0.0
        return self.half_width / abs(self.mean) if self.mean else math.inf


class Warmup(NamedTuple):
    """Where a series seems to have forgotten its start.

    Attributes
    ----------
    cut : int
        Number of leading values to leave out.
    reliable : bool
        False when the rule wanted to cut more than half: the series is too short, or never settles.
    """

    cut: int
    reliable: bool


class Precision(NamedTuple):
    """Outcome of :func:`replicate_until`.

    Attributes
    ----------
    values : list of float
        All replications that were made.
    interval : Interval
        Of all values.
    reached : bool
        Whether the precision was reached before the largest number of replications.
    """

    values: list[float]
    interval: Interval
    reached: bool


class PairedDifference(NamedTuple):
    """A difference of two systems that were driven by the same random numbers.

    Attributes
    ----------
    interval : Interval
        Of the mean difference.
    correlation : float
        Between the two systems' values; above 0, pairing narrows the interval. Not a number where a system
        does not vary.
    """

    interval: Interval
    correlation: float

    @property
    def significant(self) -> bool:
        """Whether the interval leaves out 0."""
        return not self.interval.low <= 0 <= self.interval.high


class BatchMeans(NamedTuple):
    """Mean of one long correlated series, by non-overlapping batches.

    Attributes
    ----------
    interval : Interval
        Its ``n`` is the number of batches.
    batch_size : int
        Values in a batch.
    lag1 : float
        First autocorrelation of the batches' means.
    independent : bool
        Whether ``lag1`` is within what independent batches show (two-sided 5 %); if not, take longer batches
        or do not trust the interval.
    """

    interval: Interval
    batch_size: int
    lag1: float
    independent: bool


def _finite(values: Sequence[float], name: str, at_least: int = 1) -> np.ndarray:
    array = np.asarray(values, dtype=float)
    if array.ndim != 1 or len(array) < at_least:
        raise SpecError(name, f"needs a series of at least {at_least} value(s), got shape {array.shape}")
    if not np.isfinite(array).all():
        raise SpecError(name, "holds values that are not finite numbers")
    return array


def _t_quantile(confidence: float, freedom: int) -> float:
    from scipy.special import stdtrit

    if not 0 < confidence < 1:
        raise SpecError("confidence", f"{confidence} does not lie between 0 and 1")
    return float(stdtrit(freedom, (1 + confidence) / 2))


def warmup_cut(series: Sequence[float]) -> Warmup:
    """MSER-5: how many leading values of one run to leave out.

    The series is averaged in batches of 5; the cut minimises the squared standard error of the mean of
    what is kept, so it trades the start's bias against the loss of data, without a parameter.

    Parameters
    ----------
    series : sequence of float
        Successive observations of one run, such as request latencies in the order of arrival.

    References
    ----------
    K. P. White, "An effective truncation heuristic for bias reduction in simulation output", Simulation 69(6),
    1997. K. P. White, M. J. Cobb, S. C. Spratt, "A comparison of five steady-state truncation heuristics for
    simulation", Winter Simulation Conference 2000.

    Examples
    --------
    >>> warmup_cut([50, 40, 30, 20, 10] + [1, 2] * 50)
    Warmup(cut=5, reliable=True)
    """
    values = _finite(series, "series")
    batches = len(values) // MSER_BATCH
    if batches < 10:
        return Warmup(0, False)
    means = values[: batches * MSER_BATCH].reshape(batches, MSER_BATCH).mean(axis=1)
    kept = np.arange(batches, 0, -1)
    # Centred first: sums of squares of large, nearly equal numbers would cancel.
    centred = means - means[batches // 2 :].mean()
    sums = np.cumsum(centred[::-1])[::-1]
    squares = np.cumsum((centred**2)[::-1])[::-1]
    statistic = (squares - sums**2 / kept) / kept.astype(float) ** 2
    # The last five are left out: few batches that happen to agree are no evidence.
    best = int(np.argmin(statistic[: batches - 5]))
    half = batches // 2
    return Warmup(min(best, half) * MSER_BATCH, best <= half)


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Mean of independent replications with Student's t interval.

    Parameters
    ----------
    values : sequence of float
        One value for each replication.
    confidence : float
        Between 0 and 1.

    References
    ----------
    A. M. Law, *Simulation Modeling and Analysis*, 5th ed., 2015, section 4.5.
    """
    array = _finite(values, "values")
    n, mean = len(array), float(array.mean())
    if n == 1:
        return Interval(mean, -math.inf, math.inf, 1, math.nan, confidence)
    std = float(array.std(ddof=1))
    half = _t_quantile(confidence, n - 1) * std / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n, std, confidence)


def look_ahead(n: int) -> int:
    """Further replications over which a precision must hold before it is believed, after ``n``."""
    return 5 if n <= 100 else 5 * n // 100


def replications_needed(
    values: Sequence[float], precision: float, confidence: float = 0.95, n_min: int = 5
) -> int | None:
    """Smallest number of replications whose relative half-width is within ``precision``, and stays there.

    It must stay for the next :func:`look_ahead` replications, so that a lucky early streak does not count.

    Returns
    -------
    int or None
        None while ``values`` do not show it yet.

    References
    ----------
    K. Hoad, S. Robinson, R. Davies, "Automated selection of the number of replications for a discrete-event
    simulation", Journal of the Operational Research Society 61(11), 2010.
    """
    if not precision > 0:
        raise SpecError("precision", f"{precision} is not a relative half-width above 0")
    streak: int | None = None
    for n in range(max(n_min, 2), len(values) + 1):
        if mean_interval(values[:n], confidence).relative_half_width > precision:
            streak = None
            continue
        streak = n if streak is None else streak
        if n - streak >= look_ahead(streak):
            return streak
    return None


def replicate_until(
    run_one: Callable[[int], float],
    precision: float,
    confidence: float = 0.95,
    n_min: int = 5,
    n_max: int = 1000,
) -> Precision:
    """Make replications until the mean is known to ``precision``, or ``n_max`` have been made.

    Parameters
    ----------
    run_one : callable
        Takes the number of the replication, from 0, and gives its value.
    precision : float
        Wanted half-width of the interval, relative to the mean: 0.02 is 2 %.
    """
    values: list[float] = []
    while len(values) < n_max:
        values.append(float(run_one(len(values))))
        if replications_needed(values, precision, confidence, n_min) is not None:
            return Precision(values, mean_interval(values, confidence), True)
    return Precision(values, mean_interval(values, confidence), False)


def paired_difference(values: Sequence[float], baseline: Sequence[float], confidence: float = 0.95) -> PairedDifference:
    """Mean of ``values - baseline``, pair by pair: replications of one number share their random numbers.

    References
    ----------
    A. M. Law, *Simulation Modeling and Analysis*, 5th ed., 2015, sections 10.2.1 and 11.2.
    """
    ours, theirs = _finite(values, "values"), _finite(baseline, "baseline")
    if len(ours) != len(theirs):
        raise SpecError("baseline", f"{len(theirs)} values cannot be paired with {len(ours)}")
    vary = len(ours) > 1 and ours.std() > 0 and theirs.std() > 0
    correlation = float(np.corrcoef(ours, theirs)[0, 1]) if vary else math.nan
    return PairedDifference(mean_interval(ours - theirs, confidence), correlation)


def batch_means(series: Sequence[float], batches: int = 20, confidence: float = 0.95) -> BatchMeans:
    """Interval for the mean of one long series whose neighbours are correlated.

    Parameters
    ----------
    series : sequence of float
        Successive observations after the warm-up; a remainder that fills no batch is left out at the front.
    batches : int
        Number of batches, 2 or more; 10 to 30 are usual.

    References
    ----------
    B. W. Schmeiser, "Batch size effects in the analysis of simulation output", Operations Research 30(3), 1982.
    The test of the batches' independence is J. von Neumann's, 1941, in its large-sample form.
    """
    if batches < 2:
        raise SpecError("batches", f"{batches} is too few; at least 2")
    values = _finite(series, "series", at_least=batches)
    size = len(values) // batches
    means = values[len(values) - size * batches :].reshape(batches, size).mean(axis=1)
    centred = means - means.mean()
    spread = float((centred**2).sum())
    lag1 = float((centred[1:] * centred[:-1]).sum()) / spread if spread else 0.0
    limit = 1.96 / math.sqrt(batches)
    return BatchMeans(mean_interval(means, confidence), size, lag1, abs(lag1) <= limit)
