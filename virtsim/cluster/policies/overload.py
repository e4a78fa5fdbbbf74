"""Overload detection: is a host about to have more asked of it than it has?"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import ClassVar, Protocol

import numpy as np

from virtsim.cluster.policies.tables import Floats, Mask
from virtsim.core.errors import SpecError
from virtsim.core.registry import Registry


class OverloadDetector(Protocol):
    """What an overload detector is.

    The last column of ``history`` is the present, and the earlier ones are what the host itself went through, at
    equal distances: CPU demand of its guests as a share of its speed (it may exceed 1).
    """

    def overloaded(self, history: Floats) -> Mask:
        """For each host of ``history``, shape (hosts, samples), whether it is overloaded."""
        ...


DETECTORS: Registry[type[OverloadDetector]] = Registry("overload detector")


def _checked(value: float, name: str, most: float) -> float:
    if not 0 < value <= most:
        raise SpecError(name, f"must be more than 0 and at most {most:g}, not {value!r}")
    return float(value)


class _Adaptive:
    """Base: a threshold on the present load that follows from the past, and a fixed one until there is enough."""

    #: Samples that the statistic needs.
    needed: ClassVar[int] = 12

    def __init__(self, safety: float, fallback: float = 0.7) -> None:
        self.safety = _checked(safety, "safety", 100.0)
        self.fallback = _checked(fallback, "fallback", 1.0)

    def overloaded(self, history: Floats) -> Mask:
        """See :class:`OverloadDetector`."""
        present = history[:, -1]
        if history.shape[1] < self.needed:
            return present > self.fallback
        # Never above the host's speed, however quiet its past was.
        mask: Mask = present > np.minimum(self.threshold(history), 1.0)
        return mask

    def threshold(self, history: Floats) -> Floats:
        """Load above which a host is overloaded."""
        raise NotImplementedError


@DETECTORS.register("thr")
class StaticThreshold:
    """Overloaded above a fixed share.

    Parameters
    ----------
    threshold : float
        0.8 by default.
    """

    def __init__(self, threshold: float = 0.8) -> None:
        self.threshold = _checked(threshold, "threshold", 1.0)

    def overloaded(self, history: Floats) -> Mask:
        """See :class:`OverloadDetector`."""
        mask: Mask = history[:, -1] > self.threshold
        return mask


@DETECTORS.register("mad")
class MedianAbsoluteDeviation(_Adaptive):
    """Threshold 1 - s * MAD, with MAD the median of the distances from the median.

    References
    ----------
    P. J. Huber, E. M. Ronchetti, *Robust Statistics*, 2nd ed., 2009, section 5.1; CCPE 24(13), 2012, equation 11.
    """

    #: More load may bring the present nearer to the median, and so raise the threshold by more than itself.
    breaks: ClassVar[frozenset[str]] = frozenset({"more-load-is-no-relief"})

    def __init__(self, safety: float = 2.5, fallback: float = 0.7) -> None:
        super().__init__(safety, fallback)

    def threshold(self, history: Floats) -> Floats:
        """Load above which each host is overloaded."""
        middle = np.median(history, axis=1, keepdims=True)
        return 1 - self.safety * np.median(np.abs(history - middle), axis=1)


@DETECTORS.register("iqr")
class InterquartileRange(_Adaptive):
    """Threshold 1 - s * (third quartile - first quartile); CCPE 24(13), 2012, equation 13."""

    #: More load may bring the quartiles together, and so raise the threshold by more than itself.
    breaks: ClassVar[frozenset[str]] = frozenset({"more-load-is-no-relief"})

    def __init__(self, safety: float = 1.5, fallback: float = 0.7) -> None:
        super().__init__(safety, fallback)

    def threshold(self, history: Floats) -> Floats:
        """Load above which each host is overloaded."""
        low, high = np.quantile(history, [0.25, 0.75], axis=1)
        threshold: Floats = 1 - self.safety * (high - low)
        return threshold


class _Regression:
    """Base: the line through the latest samples, carried forward to the time a migration takes."""

    samples: ClassVar[int] = 10
    #: A step in the load looks like a trend.
    extrapolates: ClassVar[bool] = True

    def __init__(self, safety: float = 1.2, fallback: float = 0.7, ahead: float = 1.0) -> None:
        self.safety = _checked(safety, "safety", 100.0)
        self.fallback = _checked(fallback, "fallback", 1.0)
        self.ahead = _checked(ahead, "ahead", 100.0)

    def overloaded(self, history: Floats) -> Mask:
        """See :class:`OverloadDetector`."""
        if history.shape[1] < self.samples:
            short: Mask = history[:, -1] > self.fallback
            return short
        recent = history[:, -self.samples :]
        mask: Mask = (self.safety * self.predict(recent) >= 1) | (recent[:, -1] > 1)
        return mask

    def predict(self, recent: Floats) -> Floats:
        """Load ``ahead`` samples from now, by host."""
        raise NotImplementedError


@cache
def _tricube(n: int) -> Floats:
    """Weights by distance from the newest of n samples; none is 0."""
    distance = np.arange(n - 1, -1, -1) / n
    weights: Floats = (1 - distance**3) ** 3
    weights.setflags(write=False)
    return weights


def _line(samples: Floats, weights: Floats, ahead: float) -> tuple[Floats, Floats]:
    """Weighted least-squares lines: their values ``ahead`` of the newest sample, and the residuals."""
    n = samples.shape[1]
    x = np.arange(n) - (n - 1.0)
    total = weights.sum(axis=1, keepdims=True)
    x_mean = (weights * x).sum(axis=1, keepdims=True) / total
    y_mean = (weights * samples).sum(axis=1, keepdims=True) / total
    dx = x - x_mean
    slope = (weights * dx * (samples - y_mean)).sum(axis=1, keepdims=True) / (weights * dx * dx).sum(
        axis=1, keepdims=True
    )
    fitted = y_mean + slope * dx
    return (y_mean + slope * (ahead - x_mean))[:, 0], samples - fitted


@cache
def _constant_line(n: int, ahead: float) -> Callable[[Floats], Floats]:
    """What :func:`_line` predicts with tricube weights, with all that does not depend on the samples found once."""
    weights = _tricube(n)[None, :]
    x = np.arange(n) - (n - 1.0)
    total = weights.sum(axis=1, keepdims=True)
    x_mean = (weights * x).sum(axis=1, keepdims=True) / total
    dx = x - x_mean
    slopes, spread = weights * dx, (weights * dx * dx).sum(axis=1, keepdims=True)

    def predict(samples: Floats) -> Floats:
        y_mean = (weights * samples).sum(axis=1, keepdims=True) / total
        slope = (slopes * (samples - y_mean)).sum(axis=1, keepdims=True) / spread
        predicted: Floats = (y_mean + slope * (ahead - x_mean))[:, 0]
        return predicted

    return predict


@DETECTORS.register("lr")
class LocalRegression(_Regression):
    """Safety times the prediction of a tricube-weighted line reaches 1.

    References
    ----------
    W. S. Cleveland, "Robust locally weighted regression and smoothing scatterplots", JASA 74(368), 1979.
    """

    def predict(self, recent: Floats) -> Floats:
        """Load of each host some samples ahead."""
        return _constant_line(self.samples, self.ahead)(recent)


@DETECTORS.register("lrr")
class RobustLocalRegression(_Regression):
    """The same, with bisquare weights found in three iterations, so that single outliers do not count.

    References
    ----------
    W. S. Cleveland, JASA 74(368), 1979, section 2: robustness weights B(r / 6 median|r|).
    """

    iterations: ClassVar[int] = 3
    #: A sample that jumps far enough counts as an outlier, and is ignored.
    breaks: ClassVar[frozenset[str]] = frozenset({"more-load-is-no-relief"})

    def predict(self, recent: Floats) -> Floats:
        """Load of each host some samples ahead."""
        base = np.tile(_tricube(self.samples), (len(recent), 1))
        predicted, residual = _line(recent, base, self.ahead)
        for _ in range(self.iterations):
            distance = np.abs(residual)
            scale = 6 * np.median(distance, axis=1, keepdims=True)
            ratio = np.minimum(distance / np.where(scale > 0, scale, np.inf), 1.0)
            # A perfect fit of most samples leaves the others no say.
            bisquare = np.where(scale > 0, (1 - ratio**2) ** 2, distance <= 1e-12)
            weights = base * np.maximum(bisquare, 1e-6)
            predicted, residual = _line(recent, weights, self.ahead)
        return predicted


def load_detector(name: str, parameter: float | None = None) -> OverloadDetector:
    """A new detector by name; ``parameter`` is its threshold or safety."""
    kind = DETECTORS.get(name, "policy.overload")
    return kind() if parameter is None else kind(parameter)  # type: ignore[call-arg]
