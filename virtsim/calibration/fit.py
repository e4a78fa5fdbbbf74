"""Prices by bounded least squares on the design matrix, with bootstrap intervals and identifiability.

The measured cost of a repetition is ``A x``: A has the counts of primitives, x their prices. Rows are
weighted by one over their measurement, so relative errors count, down to :data:`FLOOR_NS`: a nanosecond
more or less in the interpreter's own step is not allowed to bend a system call. Prices are not negative. A primitive
that the rows cannot tell from others keeps the value of the starting card and is named in a warning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from virtsim.core.errors import CalibrationError

#: A primitive counts as identified if less than this share of it lies in the null space of the design.
NULL_SHARE = 1e-6
#: Costs below this are weighted as if they were this large, ns.
FLOOR_NS = 150.0
#: A residual smaller than this says nothing: the row has a price of its own that meets it.
EXACT = 1e-4
#: Singular values below this fraction of the largest count as zero.
RANK_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Row:
    """One measured mixture.

    Parameters
    ----------
    name : str
    totals : mapping of str to float
        Primitives of one repetition.
    samples_ns : sequence of float, ns
        Its cost in each run.
    """

    name: str
    totals: Mapping[str, float]
    samples_ns: Sequence[float]


@dataclass(frozen=True)
class Price:
    """A fitted price: median of the bootstrap's estimates' centre, with a 90 % interval for a single run."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Fit:
    """What came out.

    Attributes
    ----------
    prices : dict of str to Price
        Of the identified primitives.
    unknown : dict of str to str
        Primitives that could not be identified, and with which others they are mixed up.
    residuals : dict of str to float
        Relative error of each row, (fitted - measured) / measured.
    """

    prices: dict[str, Price]
    unknown: dict[str, str]
    residuals: dict[str, float]
    #: Root mean square of the residuals of rows that the prices could not meet exactly: what it costs to
    #: carry a price from one mixture of work to another.
    discrepancy: float = 0.0


def fit(
    rows: Sequence[Row],
    wanted: Sequence[str],
    known: Mapping[str, float],
    *,
    resamples: int = 200,
    seed: int = 0,
) -> Fit:
    """Fit the prices of ``wanted`` primitives.

    Parameters
    ----------
    rows : sequence of Row
    wanted : sequence of str
        Primitives to price; those that occur in no row are unknown.
    known : mapping of str to float
        Prices of all others that occur in the rows.
    resamples : int
        Bootstrap resamples; each takes one run of every row, so the interval is that of a single run.
    seed : int
        Of the bootstrap.

    Raises
    ------
    CalibrationError
        If a primitive that occurs is neither wanted nor known, or there is nothing to fit.
    """
    if not rows or not wanted:
        raise CalibrationError("there is nothing to fit: no measurements, or no prices wanted")
    free, unknown = _identified(rows, wanted)
    fixed = {name: value for name, value in known.items() if name not in free}
    for row in rows:
        missing = [name for name in row.totals if name not in fixed and name not in free]
        if missing:
            raise CalibrationError(f"row {row.name!r} needs a price of {missing[0]!r}, which nobody states")
    design = np.array([[row.totals.get(name, 0.0) for name in free] for row in rows])
    offset = np.array([sum(count * fixed.get(name, 0.0) for name, count in row.totals.items()) for row in rows])
    centre = np.array([float(np.median(row.samples_ns)) for row in rows])
    best = _solve(design, centre, offset)
    estimates = _bootstrap(rows, design, offset, resamples, seed)
    low, high = np.quantile(estimates, (0.05, 0.95), axis=0)
    prices = {
        name: Price(float(best[i]), float(min(low[i], best[i])), float(max(high[i], best[i])))
        for i, name in enumerate(free)
    }
    predicted = design @ best + offset
    residuals = {row.name: float(predicted[i] / centre[i] - 1) for i, row in enumerate(rows)}
    judged = [residuals[row.name] for i, row in enumerate(rows) if centre[i] >= FLOOR_NS]
    missed = [error for error in judged if abs(error) > EXACT]
    discrepancy = float(np.sqrt(np.mean(np.square(missed)))) if missed else 0.0
    return Fit(prices, unknown, residuals, discrepancy)


def _solve(design: np.ndarray[Any, Any], measured: np.ndarray[Any, Any], offset: np.ndarray[Any, Any]) -> Any:
    from scipy.optimize import lsq_linear

    weight = 1.0 / np.maximum(measured, FLOOR_NS)
    scale = 1.0 / np.maximum(np.abs(design * weight[:, None]).max(axis=0), 1e-300)
    result = lsq_linear(design * weight[:, None] * scale, (measured - offset) * weight, bounds=(0.0, np.inf))
    return result.x * scale


def _bootstrap(
    rows: Sequence[Row], design: np.ndarray[Any, Any], offset: np.ndarray[Any, Any], resamples: int, seed: int
) -> np.ndarray[Any, Any]:
    rng = np.random.Generator(np.random.PCG64(seed))
    samples = [np.asarray(row.samples_ns, dtype=float) for row in rows]
    drawn = (np.array([float(rng.choice(values)) for values in samples]) for _ in range(resamples))
    return np.array([_solve(design, measured, offset) for measured in drawn])


def _identified(rows: Sequence[Row], wanted: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Which primitives the rows determine; the others with the reason."""
    unknown: dict[str, str] = {}
    present = []
    for name in wanted:
        if any(row.totals.get(name) for row in rows):
            present.append(name)
        else:
            unknown[name] = "no measured workload spends it"
    while present:
        design = np.array([[row.totals.get(name, 0.0) for name in present] for row in rows])
        design = design / np.maximum(np.abs(design).max(axis=0), 1e-300)
        _, singular, basis = np.linalg.svd(design, full_matrices=True)
        rank = int((singular > singular[0] * RANK_TOLERANCE).sum())
        null = basis[rank:]
        if not len(null):
            break
        share = (null**2).sum(axis=0)
        mixed = [name for i, name in enumerate(present) if share[i] > NULL_SHARE]
        worst = present[int(np.argmax(share))]
        others = ", ".join(name for name in mixed if name != worst) or "others"
        unknown[worst] = f"cannot be told apart from {others}; keeps the starting card's value"
        present.remove(worst)
    return present, unknown
