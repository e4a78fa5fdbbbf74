"""Traces with the statistics of real days, from a seed.

Every guest's use is a fixed increasing function of a standard normal process, so the marginal distribution is that
of the data; the process is the sum of the guest's own level, the hour of the day, a slow part (an AR(1) process)
and noise:

    z_i(t) = level_i + day(t) + slow_i(t) + noise_i(t),     use_i(t) = Q(z_i(t))

References
----------
M. C. Cario, B. L. Nelson, "Autoregressive to anything: time-series input processes for simulation", Operations
Research Letters 19(2), 1996 (a transformed normal process keeps marginals and autocorrelation).
"""

from __future__ import annotations

from statistics import NormalDist
from typing import Annotated

import numpy as np
from msgspec import Meta

from virtsim.cluster.traces.traces import Floats, Traces
from virtsim.core.data import find_card
from virtsim.core.errors import SpecError
from virtsim.core.spec import Duration, Spec, load_toml
from virtsim.core.streams import Streams

Share = Annotated[float, Meta(ge=0, le=1)]
# Levels of the marginal's table: dense in the tails, where peaks are.
_LEVELS = np.array([-3.5, *np.linspace(-3, 3, 61), 3.5])


class SyntheticTraces(Spec, frozen=True, kw_only=True):
    """A fitted generator.

    Parameters
    ----------
    source : str
        What it was fitted to.
    step : Duration
        Time between samples.
    quantiles : list of float
        Use (0 to 1) at the levels of the standard normal distribution in ``levels``.
    levels : list of float
        Those levels, ascending.
    day_shape : list of float
        Mean of the normal process over the day, at equal distances.
    level_variance, slow_variance : float
        Shares of the process's variance that differ between guests and that change slowly; the rest, after the
        day's shape, is noise from sample to sample.
    persistence : float
        Autocorrelation of the slow part from one sample to the next.
    """

    source: str
    step: Duration
    levels: list[float]
    quantiles: list[Share]
    day_shape: Annotated[list[float], Meta(min_length=1)]
    level_variance: Share
    slow_variance: Share
    persistence: Annotated[float, Meta(ge=0, lt=1)]

    def _check(self) -> None:
        if len(self.levels) != len(self.quantiles) or len(self.levels) < 2:
            raise SpecError("quantiles", "needs one value for each level, at least two")
        if any(a >= b for a, b in zip(self.levels, self.levels[1:])):
            raise SpecError("levels", "must grow")
        if any(a > b for a, b in zip(self.quantiles, self.quantiles[1:])):
            raise SpecError("quantiles", "must not fall")
        if self.level_variance + self.slow_variance + float(np.var(self.day_shape)) > 1:
            raise SpecError("level_variance", "the parts of the variance add up to more than 1")

    def generate(self, guests: int, samples: int = 288, seed: int = 1) -> Traces:
        """Traces of ``guests`` guests; a guest's trace does not depend on how many others there are."""
        if guests < 1 or samples < 1:
            raise SpecError("guests", "need at least one guest and one sample")
        day = np.interp(
            np.arange(samples) * self.step / 86400e9 * len(self.day_shape) % len(self.day_shape),
            np.arange(len(self.day_shape) + 1),
            [*self.day_shape, self.day_shape[0]],
        )
        noise_variance = max(0.0, 1 - self.level_variance - self.slow_variance - float(np.var(self.day_shape)))
        streams = Streams(seed)
        use = np.empty((guests, samples))
        for i in range(guests):
            random = streams.generator(f"traces.{i}", "use")
            level = random.standard_normal() * self.level_variance**0.5
            noise = random.standard_normal(samples) * noise_variance**0.5
            process = level + day + noise + self.slow_variance**0.5 * _persistent(random, samples, self.persistence)
            use[i] = np.interp(process, self.levels, self.quantiles)
        return Traces(name=f"like {self.source}", guests=[f"vm{i}" for i in range(guests)], use=use, step_ns=self.step)


def _persistent(random: np.random.Generator, samples: int, persistence: float) -> Floats:
    """A standard AR(1) process."""
    shocks = random.standard_normal(samples) * (1 - persistence**2) ** 0.5
    values = np.empty(samples)
    value = float(random.standard_normal())
    for t, shock in enumerate(shocks.tolist()):
        value = persistence * value + shock
        values[t] = value
    return values


def load_synthetic(name: str = "planetlab-like") -> SyntheticTraces:
    """A generator from the cards in ``models/traces``."""
    return load_toml(find_card("traces", name, "trace generator"), SyntheticTraces)


def fit_synthetic(traces: list[Traces], source: str, lags: int = 12) -> SyntheticTraces:
    """Fit a generator to days of traces of equal length and step.

    The marginal is the pooled one and the day's shape that of the normal scores. The correlations of the process
    are those that give the *use* the data's: between samples of a guest far apart (how much guests differ) and at
    lags 1 to ``lags`` (the rest, fitted by ``s * persistence**k``).
    """
    if len({(one.step_ns, one.use.shape[1]) for one in traces}) != 1:
        raise SpecError("traces", "need at least one day, all of equal length and step")
    use = np.concatenate([one.use for one in traces])
    if not use.var() > 0:
        raise SpecError("traces", "the use never changes; there is nothing to fit")
    normal = NormalDist()
    quantiles = np.quantile(use, [normal.cdf(z) for z in _LEVELS.tolist()])
    day = _normal_scores(use).mean(axis=0)
    rest = use - use.mean(axis=0)
    level = rest.mean(axis=1, keepdims=True)
    rest = rest - level
    apart = float(level.var() / use.var())
    near = np.array([(rest[:, k:] * rest[:, :-k]).mean() for k in range(1, lags + 1)]) / use.var() + apart
    latent = _latent_correlation(np.array([apart, *near]), quantiles)
    slow = np.maximum(latent[1:] - latent[0], 1e-6)
    slope, log_start = np.polyfit(np.arange(1, lags + 1), np.log(slow), 1)
    persistence = min(float(np.exp(slope)), 0.999)
    # A day's mean takes a part of the slow process with it, which so counts as a difference between guests.
    days = np.arange(use.shape[1])
    hidden = float((persistence ** np.abs(days[:, None] - days)).mean())
    slow_variance = float(np.exp(log_start)) / (1 - hidden)
    per_hour = max(1, day.size // 24)
    shape = day[: day.size // per_hour * per_hour].reshape(-1, per_hour).mean(axis=1)
    return SyntheticTraces(
        source=source,
        step=Duration(traces[0].step_ns),
        levels=[round(float(z), 4) for z in _LEVELS],
        quantiles=[round(float(q), 4) for q in quantiles],
        day_shape=[round(float(v), 4) for v in shape],
        level_variance=round(max(0.0, float(latent[0] - day.var()) - slow_variance * hidden), 4),
        slow_variance=round(slow_variance, 4),
        persistence=round(persistence, 4),
    )


def _latent_correlation(wanted: Floats, quantiles: Floats) -> Floats:
    """Correlations of the normal process that give its transform the wanted ones (Cario and Nelson, section 3)."""
    point, weight = np.polynomial.hermite_e.hermegauss(60)
    weight = weight / weight.sum()
    here = np.interp(point, _LEVELS, quantiles)
    mean = float(weight @ here)
    grid = np.linspace(0, 1, 201)
    reached = np.empty_like(grid)
    for i, rho in enumerate(grid.tolist()):
        other = rho * point[:, None] + (1 - rho**2) ** 0.5 * point[None, :]
        reached[i] = weight @ (here * (np.interp(other, _LEVELS, quantiles) @ weight)) - mean**2
    latent: Floats = np.interp(wanted, reached / reached[-1], grid)
    return latent


def _normal_scores(values: Floats) -> Floats:
    """Standard normal values of the ranks; equal values get their mean rank."""
    distinct, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = (np.cumsum(counts) - counts / 2) / values.size
    normal = NormalDist()
    scores: Floats = np.array([normal.inv_cdf(p) for p in middle.tolist()])[place].reshape(values.shape)
    return scores if distinct.size > 1 else np.zeros_like(values)
