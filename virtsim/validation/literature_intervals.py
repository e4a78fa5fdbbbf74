"""How far the predictions of published rows may be off for what the prices leave open.

Prices that calibration rows determine are drawn together from the fit's posterior, since what one row fixes
is often a sum of several; all others from their intervals on the host card (a third to three times the value where
nothing determines it). Each draw predicts all rows, with its own scales, and the 5th and 95th percentiles make the
interval.

That leaves out what prices do not know: whether a benchmark's mix and the paths are right. How far
predictions of the *other* papers err (1.4826 times the median of ``|ln(predicted / published)|``, by level) is
taken for it, as a second, independent error in the logarithm; a row never widens its own interval.

Limits of validity: two machines' errors are taken as alike; the tails of misses are longer than a normal's.

References
----------
P. J. Rousseeuw, C. Croux, "Alternatives to the median absolute deviation", Journal of the American
Statistical Association 88(424), 1993 (the factor 1.4826).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from virtsim.core.streams import Streams
from virtsim.platform.draws import draw_price
from virtsim.platform.host import HostCard, load_host
from virtsim.platform.primitives import PRIMITIVES
from virtsim.validation.literature import row_values
from virtsim.validation.literature_cards import Paper, load_paper
from virtsim.validation.literature_fit import price_posterior
from virtsim.validation.literature_report import Result

#: Sets of prices drawn for each paper.
DRAWS = 400
_Z90 = 1.6449
_TO_SD = 1.4826


def paper_intervals(paper: Paper, draws: int = DRAWS) -> dict[tuple[str, str, str], tuple[float, float]]:
    """90 % intervals of a paper's values, by place, benchmark and stack.

    Parameters
    ----------
    paper : Paper
    draws : int
        Sets of prices.
    """
    host = load_host(paper.host)
    prices = drawn_prices(paper, host, draws)

    def cost(counts: Mapping[str, float]) -> np.ndarray:
        total = np.zeros(draws)
        for primitive, count in counts.items():
            total += count * prices[primitive]
        return total

    found = {}
    for row in paper.rows:
        for stack, values in row_values(row, paper, host, cost).items():
            low, high = np.quantile(np.broadcast_to(values, draws), (0.05, 0.95))
            found[row.where, row.benchmark, stack] = (float(low), float(high))
    return found


def drawn_prices(paper: Paper, host: HostCard, draws: int) -> dict[str, np.ndarray]:
    """Prices of a paper's machine, ns, ``draws`` of each."""
    random = Streams(0).generator(paper.name, "prices")
    posterior = price_posterior(load_paper(paper.like) if paper.like else paper, host)
    together = random.multivariate_normal(posterior.factor, posterior.covariance, size=draws, method="cholesky")
    prices = {}
    for name in PRIMITIVES:
        normal = random.standard_normal(draws)
        if name in host.prices:
            prices[name] = draw_price(host.prices[name], host.price(name), normal)
    for j in np.flatnonzero(posterior.used):
        prices[posterior.names[j]] = posterior.prior[j] * np.maximum(0.0, together[:, j])
    return prices


def discrepancy(results: Sequence[Result], level: str) -> float:
    """Standard deviation, in the logarithm, by which the predictions of a level miss; 0 if there are none."""
    errors = [abs(math.log(r.predicted / r.published)) for r in results if r.use == "prediction" and r.level == level]
    return _TO_SD * statistics.median(errors) if errors else 0.0


def widened(result: Result, interval: tuple[float, float], others: Sequence[Result]) -> Result:
    """A result with its interval from the prices, a prediction's widened by how far other papers' err."""
    low, high = interval
    if result.use in ("prediction", "unpublished"):
        more = _Z90 * discrepancy(others, result.level)
        low = result.predicted * math.exp(-math.hypot(math.log(result.predicted / min(low, result.predicted)), more))
        high = result.predicted * math.exp(math.hypot(math.log(max(high, result.predicted) / result.predicted), more))
    return result._replace(low=low, high=high)
