"""Host cards of published machines: prices fitted to the calibration rows of a paper, and to nothing else.

The cost of a row is linear in the prices, so the fit is a bounded least-squares problem in relative errors,
with a weak prior that keeps what the rows do not determine near an assumption:

    minimise  sum_i ((A p - b)_i / (s * b_i))^2  +  sum_j ((p_j - q_j) / (t * q_j))^2,    p >= 0

with ``s`` = 2 % (rounding of published tables), ``t`` = 100 % and ``q`` what the paper's card assumes, or else
the price of ``models/priors/bare-machine.toml`` times the paper's ``prior`` factor. The 90 % intervals are
those of the linear-Gaussian posterior.

References
----------
C. L. Lawson, R. J. Hanson, *Solving Least Squares Problems*, SIAM, 1995, chapters 23 and 25.
"""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from virtsim.core.data import find_card, models_folder
from virtsim.core.errors import SpecError
from virtsim.core.parameter import Parameter
from virtsim.core.spec import Spec, load_toml
from virtsim.platform.expand import design_row
from virtsim.platform.host import HostCard, load_host
from virtsim.platform.primitives import PRIMITIVES
from virtsim.validation.literature import mix_totals, paper_stack, unit_ns
from virtsim.validation.literature_cards import Paper, Row, load_mix, load_paper
from virtsim.workload.operations import Name

ROW_SD = 0.02
PRIOR_SD = 1.0
PRIOR = "bare-machine"
_Z90 = 1.6449


class PriorCard(Spec, frozen=True, kw_only=True):
    """Where fits begin: a guess of each price, in the primitive's unit."""

    name: Name
    description: Annotated[str, Meta(min_length=1)]
    prices: dict[str, Annotated[float, Meta(gt=0)]]

    def _check(self) -> None:
        for name in sorted(set(PRIMITIVES) ^ set(self.prices)):
            raise SpecError(f"prices.{name}", "a prior has a price for every primitive, and for nothing else")


@cache
def load_prior() -> PriorCard:
    """The shipped prior."""
    return load_toml(find_card("priors", PRIOR, "prior"), PriorCard)


def calibration_rows(paper: Paper) -> list[tuple[Row, str]]:
    """Pairs of row and stack that the prices are fitted to: all of level micro, none of them predicted."""
    pairs = []
    for i, row in enumerate(paper.rows):
        if row.level != "micro" or row.scaled:
            continue
        if row.rate or row.per_second:
            raise SpecError(f"{paper.name}: rows[{i}]", "prices are fitted to times, not to rates")
        pairs += [(row, stack) for stack in row.calibration]
    return pairs


def fit_prices(paper: Paper, frame: HostCard) -> dict[str, Parameter]:
    """Prices of a paper's machine.

    Parameters
    ----------
    paper : Paper
        Its calibration rows.
    frame : HostCard
        The machine's clock and shape; its prices are not used.

    Returns
    -------
    dict of str to Parameter
        Every primitive: fitted, given by the paper, or assumed.
    """
    posterior = price_posterior(paper, frame)
    prices = dict(paper.given)
    for j, name in enumerate(posterior.names):
        spread = math.sqrt(posterior.covariance[j][j])
        prices[name] = _fitted(name, posterior.factor[j], spread, posterior.prior[j], bool(posterior.used[j]), paper)
    return {name: prices[name] for name in PRIMITIVES}


class Posterior(NamedTuple):
    """What the calibration rows say of the prices that the paper does not give.

    Attributes
    ----------
    names : list of str
        Primitives.
    prior : array of float, ns
        Where the fit began.
    factor : array of float
        Best price over the prior.
    covariance : array of float
        Of the factors.
    used : array of bool
        Whether a calibration row depends on the price.
    """

    names: list[str]
    prior: Any
    factor: Any
    covariance: Any
    used: Any


def price_posterior(paper: Paper, frame: HostCard) -> Posterior:
    """The linear-Gaussian posterior of a paper's prices, its mean moved to where no price is negative."""
    import numpy as np
    from scipy.optimize import lsq_linear

    names = list(PRIMITIVES)
    prior = np.array([_prior(name, paper) for name in names])
    rows = calibration_rows(paper)
    design = np.array([design_row(mix_totals(load_mix(row.fixed), paper_stack(paper, s)), names) for row, s in rows])
    design = design.reshape(len(rows), len(names))
    target = np.array([unit_ns(row, row.published[s], frame) / row.times for row, s in rows])
    fixed = np.array([name in paper.given for name in names])
    free = ~fixed
    weighted = design / (ROW_SD * target[:, None])
    left = np.vstack([weighted[:, free] * prior[free], np.eye(int(free.sum())) / PRIOR_SD])
    right = np.concatenate([1 / ROW_SD - weighted[:, fixed] @ prior[fixed], np.ones(int(free.sum())) / PRIOR_SD])
    solution = lsq_linear(left, right, bounds=(0.0, np.inf), method="bvls", tol=1e-12)
    used = np.abs(design).sum(axis=0) > 0
    return Posterior(
        names=[name for name, is_free in zip(names, free, strict=True) if is_free],
        prior=prior[free],
        factor=solution.x,
        covariance=np.linalg.inv(left.T @ left),
        used=used[free],
    )


def _prior(name: str, paper: Paper) -> float:
    given = paper.given.get(name) or paper.assumed.get(name)
    if given is not None:
        return given.known(f"{paper.name}: {name}")
    return load_prior().prices[name] * paper.prior


def _fitted(name: str, factor: float, spread: float, prior: float, used: bool, paper: Paper) -> Parameter:
    value = _round(factor * prior)
    if not used and name in paper.assumed:
        return paper.assumed[name]
    if not used:
        return Parameter(
            value=value,
            unit=PRIMITIVES[name].unit,
            low=_round(value / 3),
            high=_round(value * 3),
            source=f"assumed: {paper.prior:g} times the prior {PRIOR}; no row of the paper depends on it",
            date="2026",
            status="assumed",
        )
    half = _Z90 * spread * prior
    weak = spread > 0.5 * PRIOR_SD
    how = "assumed, hardly determined by the" if weak else "fit: least squares on"
    return Parameter(
        value=value,
        unit=PRIMITIVES[name].unit,
        low=_round(max(0.0, value - half)),
        high=_round(value + half),
        source=f"{how} calibration rows of {paper.title}",
        date=_year(paper.title),
        status="assumed" if weak else "published",
    )


def _year(title: str) -> str:
    years = [word.strip("(),.;") for word in title.split() if word.strip("(),.;").isdecimal()]
    return next((year for year in reversed(years) if len(year) == 4), "2026")


def _round(value: float) -> float:
    return float(f"{value:.6g}") if math.isfinite(value) else value


def fit_host(paper: Paper) -> HostCard:
    """The paper's host card with freshly fitted prices."""
    frame = load_host(paper.host)
    return frame.replace(prices=fit_prices(paper, frame))


def refit(name: str) -> Path:
    """Fit the prices of a paper's machine anew and write them into its shipped host card.

    For maintainers, after primitives, layers or the paper's card have changed. Only the card's ``[prices]`` are
    replaced; everything else stays as it is written.

    Parameters
    ----------
    name : str
        Of the paper's card.

    Returns
    -------
    Path
        The card.
    """
    card = fit_host(load_paper(name))
    path = models_folder() / "hosts" / f"{card.name}.toml"
    head, _, rest = path.read_text(encoding="utf-8").partition("[prices]\n")
    tail = rest[rest.index("[timing]") :]
    lines = [f"{primitive} = {_inline(parameter)}" for primitive, parameter in card.prices.items()]
    path.write_text(f"{head}[prices]\n" + "\n".join(lines) + f"\n\n{tail}", encoding="utf-8")
    return path


def _inline(parameter: Parameter) -> str:
    """A parameter as a TOML inline table."""
    fields: dict[str, object] = msgspec.to_builtins(parameter)
    cells = (f"{key} = {_scalar(value)}" for key, value in fields.items())
    return "{ " + ", ".join(cells) + " }"


def _scalar(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False)
