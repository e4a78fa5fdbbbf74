"""Horizontal auto-scaling: how many replicas a service has.

References
----------
Kubernetes documentation, "Horizontal Pod Autoscaling", algorithm details and configurable scaling behaviour (1.30).
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Annotated, NamedTuple

from msgspec import Meta

from virtsim.core.errors import SpecError
from virtsim.core.spec import Duration, Spec
from virtsim.core.units import NS_PER_S


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
    largest_growth : float
        Replicas at most so many times as many in one step.
    """

    target: Annotated[float, Meta(gt=0, le=1)] = 0.8
    least: Annotated[int, Meta(ge=1)] = 1
    most: Annotated[int, Meta(ge=1)] = 10
    tolerance: Annotated[float, Meta(ge=0, le=1)] = 0.1
    stabilisation: Duration = Duration(300 * NS_PER_S)
    cooldown: Duration = Duration(0)
    largest_growth: Annotated[float, Meta(gt=1)] = 2.0

    def _check(self) -> None:
        if self.least > self.most:
            raise SpecError("least", "must not be more than most")

    def wanted(self, replicas: int, utilisation: float) -> int:
        """Replicas that would bring the utilisation to the target: ``ceil(replicas * utilisation / target)``."""
        ratio = utilisation / self.target
        if abs(ratio - 1) <= self.tolerance:
            return replicas
        # Rounding must not turn 3 * 0.8 / 0.8 into 4.
        number = math.ceil(replicas * ratio - 1e-9)
        growth = max(math.floor(replicas * self.largest_growth), replicas + 1)
        return min(max(number, self.least), self.most, growth)


class Scaled(NamedTuple):
    """State of a service after a step: time, replicas, and the share of the demand that they could not serve."""

    time_ns: int
    replicas: int
    utilisation: float
    unmet: float


@dataclass
class ScaledService:
    """A service under an autoscaler.

    Parameters
    ----------
    rules : HorizontalAutoscaler
        When to scale.
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
        if step_ns <= 0 or any(not value >= 0 for value in demand):
            raise SpecError("demand", "needs steps longer than 0 and values of at least 0")
        rules = self.rules
        serving = min(max(replicas or rules.least, rules.least), rules.most)
        coming: deque[tuple[int, int]] = deque()
        wishes: deque[tuple[int, int]] = deque()
        changed_ns = -rules.cooldown
        history: list[Scaled] = []
        for k, work in enumerate(demand):
            now = (k + 1) * step_ns
            while coming and coming[0][0] <= now - step_ns:
                serving = coming.popleft()[1]
            utilisation = min(work / serving, 1.0) if serving else 0.0
            history.append(Scaled(now, serving, utilisation, max(0.0, work - serving)))
            planned = coming[-1][1] if coming else serving
            wish = rules.wanted(serving, work / serving) if planned == serving else planned
            wishes.append((now, wish))
            while wishes[0][0] < now - rules.stabilisation:
                wishes.popleft()
            if wish < planned:
                wish = min(planned, max(number for _, number in wishes))
            if wish != planned and now - changed_ns >= rules.cooldown:
                changed_ns = now
                if wish > planned:
                    coming.append((now + self.start_ns, wish))
                else:
                    coming.append((now, wish))
        return history
