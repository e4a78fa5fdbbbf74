"""How sure a cost is: a host's prices drawn many times from their intervals.

A ratio of two costs, or the rate at which two of them meet, rests on prices that occur on both sides. Each
draw gives every primitive one price, used wherever it occurs, so what is common cancels as it should.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from virtsim.core.parameter import Parameter
from virtsim.core.streams import Streams
from virtsim.platform.expand import combine, expand

if TYPE_CHECKING:
    from virtsim.platform.host import HostCard
    from virtsim.platform.operations import Event
    from virtsim.platform.stack import Stack

#: Half-width of a 90 % interval in standard deviations.
_Z_90 = 1.6448536269514722

Samples = npt.NDArray[np.float64]


class Likely(NamedTuple):
    """A figure with its 90 % interval.

    Attributes
    ----------
    value : float
        With every price at its best estimate.
    low, high : float
        5th and 95th percentile over the draws.
    """

    value: float
    low: float
    high: float


class PriceDraws:
    """Draws of a host's prices.

    Parameters
    ----------
    host : HostCard
        Its prices with their 90 % intervals; a price without one is exact.
    n : int
        Number of draws.
    seed : int
        Root seed; a primitive has a stream of its own, so a card with one price more draws the others alike.
    exact : iterable of str
        Primitives that stay at their best estimate: ``compute`` where work is stated in time on the host.

    Examples
    --------
    >>> from virtsim.platform.host import load_host
    >>> from virtsim.platform.operations import Event
    >>> from virtsim.platform.stack import load_stack
    >>> draws = PriceDraws(load_host("xeon-8269cy-linux-4.19"), seed=7)
    >>> fault = [Event("page_fault")]
    >>> slow = draws.work(fault, load_stack("kvm-shadow")) / draws.work(fault, load_stack("native"))
    >>> round(likely(slow).value, 1)
    1.6

    Notes
    -----
    Prices of different primitives are independent. One whose interval does not reach 0 is drawn from a
    log-normal with a width of its own to either side, others from such a normal cut off at 0.
    """

    def __init__(self, host: HostCard, n: int = 1000, seed: int = 0, exact: Iterable[str] = ()) -> None:
        self.host = host
        self.n = n
        self._streams = Streams(seed)
        self._exact = frozenset(exact)
        self._drawn: dict[str, Samples] = {}

    def price(self, primitive: str) -> Samples:
        """Prices of a primitive: the best estimate, then ``n`` draws.

        Raises
        ------
        SpecError
            If the host's card does not have it.
        """
        if primitive not in self._drawn:
            best = self.host.price(primitive)
            normal = self._streams.generator(primitive, "price").standard_normal(self.n)
            spread = (
                self.n * [best] if primitive in self._exact else draw_price(self.host.prices[primitive], best, normal)
            )
            self._drawn[primitive] = np.concatenate(([best], spread))
        return self._drawn[primitive]

    def cost(self, totals: Mapping[str, float]) -> Samples:
        """Costs of primitives spent, ns: the best estimate, then one for each draw."""
        cost = np.zeros(self.n + 1)
        for primitive, times in totals.items():
            cost += times * self.price(primitive)
        return cost

    def work(self, events: Iterable[Event], stack: Stack) -> Samples:
        """Costs of events on a stack, all together, ns; who spends them does not matter."""
        here = stack.on_host(self.host)
        return self.cost(combine((event.times, expand(event.event, here, event.size)) for event in events))


def likely(samples: Samples) -> Likely:
    """A figure made of costs of :class:`PriceDraws`, with its interval; draws without a value (NaN) are left out."""
    drawn = samples[1:][~np.isnan(samples[1:])]
    low, high = np.quantile(drawn, (0.05, 0.95)) if drawn.size else (samples[0], samples[0])
    return Likely(float(samples[0]), float(low), float(high))


def draw_price(parameter: Parameter, best: float, normal: Samples) -> Samples:
    """Values of a parameter of which ``best`` is the best estimate, one for each of some standard normal numbers."""
    low, high = parameter.interval
    if low > 0:
        below, above = np.log(best / low), np.log(high / best)
        return best * np.exp(normal / _Z_90 * np.where(normal < 0, below, above))
    return np.maximum(0.0, best + normal / _Z_90 * np.where(normal < 0, best - low, high - best))
