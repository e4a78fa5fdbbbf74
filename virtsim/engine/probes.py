"""Streaming accumulators: what a model is asked after a run, without keeping a history.

A station without a probe does not call any of this.
"""

from __future__ import annotations

import math

from virtsim.engine.environment import Environment


class Tally:
    """Count, sum, sum of squares and extremes of integers, exact.

    Examples
    --------
    >>> tally = Tally()
    >>> for value in (1, 2, 6):
    ...     tally.add(value)
    >>> tally.mean, tally.variance, tally.maximum
    (3.0, 7.0, 6)
    """

    __slots__ = ("count", "maximum", "minimum", "total", "total_of_squares")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything: the end of a warm-up."""
        self.count = self.total = self.total_of_squares = 0
        self.minimum: int | None = None
        self.maximum: int | None = None

    def add(self, value: int) -> None:
        """Count one value."""
        self.count += 1
        self.total += value
        self.total_of_squares += value * value
        if self.minimum is None or value < self.minimum:
            self.minimum = value
        if self.maximum is None or value > self.maximum:
            self.maximum = value

    @property
    def mean(self) -> float:
        """Arithmetic mean; not a number while nothing was counted."""
        return self.total / self.count if self.count else math.nan

    @property
    def variance(self) -> float:
        """Sample variance (divisor n-1); not a number for fewer than two values."""
        if self.count < 2:
            return math.nan
        n = self.count
        # In integers: no cancellation, however large the values are.
        return (n * self.total_of_squares - self.total * self.total) / (n * (n - 1))


class TimeAverage:
    """A level that changes at events, averaged over time; the integral is an exact integer.

    Parameters
    ----------
    env : Environment
        The clock.
    level : int
        The level now.

    Examples
    --------
    >>> env = Environment()
    >>> queue = TimeAverage(env)
    >>> queue.add(2); env.run(until=30); queue.add(-2); env.run(until=40)
    >>> queue.mean, queue.maximum
    (1.5, 2)
    """

    __slots__ = ("_area", "_env", "_since_ns", "_start_ns", "level", "maximum", "minimum")

    def __init__(self, env: Environment, level: int = 0) -> None:
        self._env = env
        self.level = level
        self.clear()

    def clear(self) -> None:
        """Average from now on: the end of a warm-up. The level stays."""
        self._start_ns = self._since_ns = self._env.now
        self._area = 0
        self.minimum = self.maximum = self.level

    def set(self, level: int) -> None:
        """The level is ``level`` from now on."""
        now = self._env.now
        self._area += self.level * (now - self._since_ns)
        self._since_ns = now
        self.level = level
        if level > self.maximum:
            self.maximum = level
        elif level < self.minimum:
            self.minimum = level

    def add(self, change: int) -> None:
        """The level changes by ``change`` now."""
        self.set(self.level + change)

    @property
    def integral(self) -> int:
        """Level times ns since the last :meth:`clear`."""
        return self._area + self.level * (self._env.now - self._since_ns)

    @property
    def mean(self) -> float:
        """Average level since the last :meth:`clear`; not a number if no time has passed."""
        span_ns = self._env.now - self._start_ns
        return self.integral / span_ns if span_ns else math.nan


class StationProbe:
    """What a station can be asked: give it to the station when you make it.

    Attributes
    ----------
    in_system : TimeAverage
        Jobs waiting or in service.
    busy : TimeAverage
        Servers at work; its mean is the utilisation times the number of servers.
    sojourn_ns, waiting_ns : Tally, ns
        Of the finished jobs: from arrival to end, and from arrival to the first service.
    """

    __slots__ = ("busy", "in_system", "sojourn_ns", "waiting_ns")

    def __init__(self, env: Environment) -> None:
        self.in_system = TimeAverage(env)
        self.busy = TimeAverage(env)
        self.sojourn_ns = Tally()
        self.waiting_ns = Tally()

    def clear(self) -> None:
        """Forget the past: the end of a warm-up."""
        self.in_system.clear()
        self.busy.clear()
        self.sojourn_ns.clear()
        self.waiting_ns.clear()
