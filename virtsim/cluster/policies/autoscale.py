"""Horizontal auto-scaling: how many replicas a service has.

References
----------
Kubernetes documentation, "Horizontal Pod Autoscaling", algorithm details and configurable scaling behaviour (1.30).
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

from msgspec import Meta

from virtsim.core.errors import SpecError
from virtsim.core.spec import Duration, Spec
from virtsim.core.units import NS_PER_S

# Rounding must not turn 3 * 0.8 / 0.8 into 4, nor put a ratio of exactly 1 + tolerance outside.
_ROUNDING = 1e-9


class HorizontalAutoscaler(Spec, frozen=True, kw_only=True):
    """Rules of one service.

    Parameters
    ----------
    target : float
        Utilisation of the replicas' requests that is aimed at, 0 to 1.
    least, most : int
        Replicas.
    tolerance : float
        No change while the ratio of utilisation to target is within 1 +- this.
    stabilisation : Duration
        A reduction goes no further than the largest number wanted within this time.
    cooldown : Duration
        At least so long between two changes.
    period : Duration
        Time between two decisions; each sees the mean utilisation since the last.
    largest_growth : float
        Replicas at most so many times as many in one step, but one more in any case.
    """

    target: Annotated[float, Meta(gt=0, le=1)] = 0.8
    least: Annotated[int, Meta(ge=1)] = 1
    most: Annotated[int, Meta(ge=1, le=100_000)] = 10
    tolerance: Annotated[float, Meta(ge=0, le=1)] = 0.1
    stabilisation: Duration = Duration(300 * NS_PER_S)
    cooldown: Duration = Duration(0)
    period: Duration = Duration(15 * NS_PER_S)
    largest_growth: Annotated[float, Meta(gt=1)] = 2.0

    def _check(self) -> None:
        if self.least > self.most:
            raise SpecError("least", f"{self.least} replicas are more than most, {self.most}")
        if self.period < 1:
            raise SpecError("period", "the time between decisions must be more than 0")

    def wanted(self, replicas: int, utilisation: float, starting: int = 0) -> int:
        """Replicas that would bring the utilisation to the target: ``ceil(replicas * utilisation / target)``.

        Parameters
        ----------
        replicas : int
            Those that serve.
        utilisation : float
            Mean of theirs.
        starting : int
            Those that do not serve yet. They count as idle where more are wanted, so that what is on its way is not
            ordered again, and not at all where fewer are.
        """
        planned = replicas + starting
        ratio = utilisation / self.target
        if ratio > 1 and starting:
            ratio *= replicas / planned
            # With those on their way there are enough, or more than enough: wait for them.
            if ratio <= 1 + self.tolerance + _ROUNDING:
                return planned
            replicas = planned
        if abs(ratio - 1) <= self.tolerance + _ROUNDING:
            return planned
        number = math.ceil(replicas * ratio - _ROUNDING)
        growth = max(math.floor(planned * self.largest_growth), planned + 1)
        return min(max(number, self.least), self.most, growth)


@dataclass
class Autoscaler:
    """The rules at work on one service.

    Parameters
    ----------
    rules : HorizontalAutoscaler
        When to scale.
    replicas : int
        Replicas at the beginning, which count as wanted then.
    """

    rules: HorizontalAutoscaler
    replicas: int
    _wishes: deque[tuple[int, int]] = field(init=False)
    _changed_ns: int | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._wishes = deque([(0, self.replicas)])

    def decide(self, now_ns: int, serving: int, utilisation: float) -> int:
        """Replicas from now on, those that start included.

        Parameters
        ----------
        now_ns : int, ns
            Time since the service began.
        serving : int
            Replicas that serve; without any there is no utilisation, and nothing changes.
        utilisation : float
            Mean of the serving replicas' requests.
        """
        rules, planned = self.rules, self.replicas
        wish = rules.wanted(serving, utilisation, max(planned - serving, 0)) if serving else planned
        self._wishes.append((now_ns, wish))
        while self._wishes[0][0] < now_ns - rules.stabilisation:
            self._wishes.popleft()
        if wish < planned:
            wish = min(planned, max(number for _, number in self._wishes))
        rested = self._changed_ns is None or now_ns - self._changed_ns >= rules.cooldown
        if wish != planned and rested:
            self._changed_ns, self.replicas = now_ns, wish
        return self.replicas


class Scaled(NamedTuple):
    """State of a service after a step: time, replicas, and the share of the demand that they could not serve."""

    time_ns: int
    replicas: int
    utilisation: float
    unmet: float


@dataclass
class ScaledService:
    """A service under an autoscaler, by itself: replicas as fast as the demand's unit, and no hosts.

    Parameters
    ----------
    rules : HorizontalAutoscaler
        When to scale; a step of the demand is its period.
    start_ns : int, ns
        Time until a new replica serves.
    """

    rules: HorizontalAutoscaler
    start_ns: int = 0

    def run(self, demand: list[float], step_ns: int, replicas: int | None = None) -> list[Scaled]:
        """Serve a demand, given in replicas' worth of work, one value a step; a decision at every step's end.

        Raises
        ------
        SpecError
            If a demand is negative or the step is not positive.
        """
        if step_ns <= 0 or any(not 0 <= value < math.inf for value in demand):
            raise SpecError("demand", "needs steps longer than 0 and finite values of at least 0")
        rules = self.rules
        serving = min(max(replicas or rules.least, rules.least), rules.most)
        scaler = Autoscaler(rules, serving)
        coming: deque[tuple[int, int]] = deque()
        history: list[Scaled] = []
        for k, work in enumerate(demand):
            now = (k + 1) * step_ns
            while coming and coming[0][0] <= now - step_ns:
                serving = coming.popleft()[1]
            history.append(Scaled(now, serving, min(work / serving, 1.0), max(0.0, work - serving)))
            planned = scaler.replicas
            wish = scaler.decide(now, serving, work / serving)
            if wish > planned:
                coming.append((now + self.start_ns, wish))
            elif wish < planned:
                # Those that start go first.
                serving = min(serving, wish)
                coming = deque((time_ns, min(number, wish)) for time_ns, number in coming)
        return history
