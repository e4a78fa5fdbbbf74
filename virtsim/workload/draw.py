"""A duration that is fixed or drawn from a distribution, written as one text.

``"1ms"``, ``"uniform(1ms, 2ms)"``, ``"exponential(1ms)"``, ``"lognormal(1ms, 0.5)"`` (mean,
coefficient of variation), ``"pareto(1ms, 2.5)"`` (mean, shape), ``"hyperexponential(1ms, 2)"`` (mean,
coefficient of variation, balanced means), ``"empirical(1ms, 1ms, 4ms)"`` (each value equally likely).

Sampling is inverse-transform on :class:`~virtsim.core.streams.SplitMix64`, so that the runner written
in C draws the same nanoseconds as the model does.

References
----------
A. M. Law, *Simulation Modeling and Analysis*, 5th ed., 2015, section 8.3 (the transforms) and 6.2.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from virtsim.core.spec import Written, add_quantity
from virtsim.core.streams import SplitMix64
from virtsim.core.units import format_duration, parse_duration

#: Longest duration a draw may give, 2**60 ns (36 years): sums of a few stay in 63 bits.
LONGEST_NS = 1 << 60

_CALL = re.compile(r"\s*([a-z]+)\s*\((.*)\)\s*", re.DOTALL)


class Draw(Written):
    """A distribution of durations.

    Parameters
    ----------
    kind : str
        One of ``constant, uniform, exponential, lognormal, pareto, hyperexponential, empirical``.
    durations_ns : tuple of int, ns
        The duration arguments: the constant; low and high; the mean; or the empirical values.
    shape : float
        The dimensionless argument (coefficient of variation or Pareto's shape); 0 where there is none.

    Examples
    --------
    >>> Draw.parse("lognormal(1ms, 0.5)").mean_ns
    1000000.0
    >>> str(Draw.parse("uniform( 1ms,2ms )"))
    'uniform(1ms, 2ms)'
    """

    __slots__ = ("durations_ns", "kind", "shape")

    def __init__(self, kind: str, durations_ns: tuple[int, ...], shape: float = 0.0) -> None:
        self.kind = kind
        self.durations_ns = durations_ns
        self.shape = shape
        self._check()

    def _check(self) -> None:
        n = len(self.durations_ns)
        wanted = {"uniform": 2, "empirical": None}.get(self.kind, 1)
        if self.kind not in KINDS:
            raise ValueError(f"{self.kind[:30]!r} is not a distribution; known: {', '.join(KINDS)}")
        if (wanted is not None and n != wanted) or not 1 <= n <= 4096:
            raise ValueError(f"{self.kind} takes {wanted or '1 to 4096'} duration(s), got {n}")
        if any(not 0 <= value <= LONGEST_NS for value in self.durations_ns):
            raise ValueError("a drawn duration must lie between 0 and 2**60 ns (36 years)")
        if self.kind == "uniform" and self.durations_ns[0] > self.durations_ns[1]:
            raise ValueError("uniform(low, high) needs low <= high")
        low, high = _SHAPES.get(self.kind, (0.0, 0.0))
        if not low <= self.shape <= high:
            raise ValueError(f"the second argument of {self.kind} must lie between {low:g} and {high:g}")

    @classmethod
    def parse(cls, text: str) -> Draw:
        """Read the text form."""
        call = _CALL.fullmatch(text)
        if call is None:
            return cls("constant", (parse_duration(text),))
        kind = call[1]
        arguments = [part.strip() for part in call[2].split(",")]
        shape = 0.0
        if kind in _SHAPES:
            if len(arguments) != 2:
                raise ValueError(f"{kind} takes a duration and a number, as in '{kind}(1ms, 2)'")
            try:
                shape = float(arguments.pop())
            except ValueError:
                raise ValueError(f"the second argument of {kind} must be a number, as in '{kind}(1ms, 2)'") from None
        if kind not in KINDS or kind == "constant":
            raise ValueError(f"{kind[:30]!r} is not a distribution; known: {', '.join(KINDS[1:])}")
        return cls(kind, tuple(parse_duration(argument) for argument in arguments), shape)

    def __str__(self) -> str:
        texts = [format_duration(value) for value in self.durations_ns]
        if self.kind == "constant":
            return texts[0]
        if self.kind in _SHAPES:
            texts.append(repr(self.shape))
        return f"{self.kind}({', '.join(texts)})"

    @property
    def constant(self) -> bool:
        """Whether every draw is the same, so that no random stream is needed."""
        return self.kind == "constant"

    @property
    def mean_ns(self) -> float:
        """Expected value, ns."""
        if self.kind in ("uniform", "empirical"):
            return sum(self.durations_ns) / len(self.durations_ns)
        return float(self.durations_ns[0])

    def coefficients(self) -> tuple[float, float, float]:
        """The three numbers that :func:`sample` needs besides the durations; computed once, here only."""
        if self.kind in ("uniform", "empirical"):
            return 0.0, 0.0, 0.0
        mean = float(self.durations_ns[0])
        if self.kind == "lognormal":
            variance = math.log1p(self.shape * self.shape)
            return (math.log(mean) - variance / 2 if mean > 0 else -math.inf), math.sqrt(variance), 0.0
        if self.kind == "pareto":
            return mean * (self.shape - 1) / self.shape, -1.0 / self.shape, 0.0
        if self.kind == "hyperexponential":
            square = self.shape * self.shape
            p = 0.5 * (1 + math.sqrt((square - 1) / (square + 1)))
            return p, mean / (2 * p), mean / (2 * (1 - p)) if p < 1 else 0.0
        return mean, 0.0, 0.0

    def sample(self, rng: SplitMix64) -> int:
        """One draw, ns."""
        return _SAMPLERS[self.kind](self, rng)


#: Order is the code number in compiled programs.
KINDS = ("constant", "uniform", "exponential", "lognormal", "pareto", "hyperexponential", "empirical")
_SHAPES = {"lognormal": (0.0, 100.0), "pareto": (1.01, 100.0), "hyperexponential": (1.0, 100.0)}


def _whole(value: float) -> int:
    return min(LONGEST_NS, int(value + 0.5)) if value < LONGEST_NS else LONGEST_NS


def _uniform(draw: Draw, rng: SplitMix64) -> int:
    low, high = draw.durations_ns
    return low + _whole((high - low) * rng.uniform())


def _exponential(draw: Draw, rng: SplitMix64) -> int:
    return _whole(-draw.durations_ns[0] * math.log1p(-rng.uniform()))


def _lognormal(draw: Draw, rng: SplitMix64) -> int:
    mu, sigma, _ = draw.coefficients()
    radius = math.sqrt(-2.0 * math.log1p(-rng.uniform()))
    return _whole(math.exp(mu + sigma * radius * math.cos(2.0 * math.pi * rng.uniform())))


def _pareto(draw: Draw, rng: SplitMix64) -> int:
    scale, power, _ = draw.coefficients()
    return _whole(scale * (1.0 - rng.uniform()) ** power)


def _hyperexponential(draw: Draw, rng: SplitMix64) -> int:
    p, first, second = draw.coefficients()
    mean = first if rng.uniform() < p else second
    return _whole(-mean * math.log1p(-rng.uniform()))


def _empirical(draw: Draw, rng: SplitMix64) -> int:
    values = draw.durations_ns
    return values[int(rng.uniform() * len(values))]


_SAMPLERS: dict[str, Callable[[Draw, SplitMix64], int]] = {
    "constant": lambda draw, rng: draw.durations_ns[0],
    "uniform": _uniform,
    "exponential": _exponential,
    "lognormal": _lognormal,
    "pareto": _pareto,
    "hyperexponential": _hyperexponential,
    "empirical": _empirical,
}


add_quantity(Draw, Draw.parse, str)
