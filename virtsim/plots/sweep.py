"""A metric over the factors of a sweep, with confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from virtsim.core.errors import SpecError
from virtsim.plots.style import PALETTE, new_axes, plain_numbers, style, time_unit
from virtsim.results.runset import Level, RunSet, SummaryRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKERS = "osD^vP*X"
_MOST_SERIES = 24


def plot_sweep(
    runs: RunSet,
    metric: str,
    entity: str | None = None,
    *,
    x: str | None = None,
    confidence: float = 0.95,
    ax: Axes | None = None,
) -> Axes:
    """Draw a metric's means and intervals over one factor; a line for each entity and each level of the others.

    Parameters
    ----------
    runs : RunSet
        Of :func:`virtsim.experiment.replicate.sweep`.
    metric : str
        A metric of the runs, such as ``cpu_time``.
    entity : str, optional
        A guest or ``guest/task``; all guests, or else all tasks, that have the metric if absent.
    x : str, optional
        Factor on the horizontal axis; the first if absent.
    confidence : float
        Of the intervals.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure if absent.

    Raises
    ------
    SpecError
        If the set has no such metric, entity or factor.
    """
    if not runs.factors:
        raise SpecError("x", "the runs differ in no factor; there is nothing to draw a metric over")
    x = x or runs.factors[0]
    if x not in runs.factors:
        raise SpecError("x", f"the runs have no factor {x!r}; they have: {', '.join(runs.factors)}")
    series = _series(_rows(runs, metric, entity, confidence), x)
    levels = list(dict.fromkeys(entry.factors.get(x) for entry in runs.entries))
    with style():
        own = ax is None
        ax = new_axes(7.6 if len(series) > 1 else 6.0, 4.0) if ax is None else ax
        _draw(ax, series, levels, x, metric)
        if len(series) > 1:
            ax.figure.legend(loc="outside right upper") if own else ax.legend(loc="best")
    return ax


def _rows(runs: RunSet, metric: str, entity: str | None, confidence: float) -> list[SummaryRow]:
    rows = runs.summary_rows(metric, confidence)
    if entity is not None:
        chosen = [row for row in rows if row.entity == entity]
    else:
        chosen = [row for row in rows if "/" not in row.entity] or rows
    if not chosen:
        known = ", ".join(sorted({row.entity for row in rows}))
        raise SpecError("entity", f"no run has {metric} of {entity!r}; there are: {known}")
    return chosen


def _series(rows: Sequence[SummaryRow], x: str) -> dict[str, list[SummaryRow]]:
    """Rows by what they have in common: entity and the levels of the factors other than ``x``."""
    single = len({row.entity for row in rows}) == 1
    series: dict[str, list[SummaryRow]] = {}
    for row in rows:
        others = [f"{name.rpartition('.')[2]}={level}" for name, level in row.factors.items() if name != x]
        label = ", ".join(others if single and others else [row.entity, *others])
        series.setdefault(label, []).append(row)
    if len(series) > _MOST_SERIES:
        raise SpecError("entity", f"{len(series)} lines cannot be told apart; choose an entity, or select() levels")
    return series


def _draw(ax: Axes, series: dict[str, list[SummaryRow]], levels: Sequence[Level], x: str, metric: str) -> None:
    every = [row for rows in series.values() for row in rows]
    unit, divisor = every[0].unit, 1
    if unit == "ns":
        unit, divisor = time_unit(max(abs(row.interval.mean) for row in every))
    numeric = all(isinstance(level, (int, float)) and not isinstance(level, bool) for level in levels)
    for i, (label, rows) in enumerate(series.items()):
        # Side by side where levels are names, so that intervals do not hide each other.
        shift = 0.0 if numeric or len(series) == 1 else 0.4 * (i / (len(series) - 1) - 0.5)
        at: list[Any] = [row.factors[x] if numeric else levels.index(row.factors[x]) + shift for row in rows]
        means = [row.interval.mean / divisor for row in rows]
        errors = [0.0 if math.isinf(row.interval.half_width) else row.interval.half_width / divisor for row in rows]
        ax.errorbar(
            at,
            means,
            yerr=errors,
            label=label,
            color=PALETTE[i % len(PALETTE)],
            marker=_MARKERS[i // len(PALETTE) % len(_MARKERS)],
            linestyle="-" if numeric else "none",
        )
    _label(ax, levels, x, metric, unit, numeric)
    n = sorted({row.interval.n for row in every})
    shown = f"{n[0]}" if len(n) == 1 else f"{n[0]} to {n[-1]}"
    ax.set_title(f"{metric}, mean and {every[0].interval.confidence:.0%} interval of {shown} runs")


def _label(ax: Axes, levels: Sequence[Level], x: str, metric: str, unit: str, numeric: bool) -> None:
    ax.set_xlabel(x)
    ax.set_ylabel(metric if unit == "1" else f"{metric} ({unit})")
    if not numeric:
        ax.set_xticks(range(len(levels)), [str(level) for level in levels])
        ax.set_xlim(-0.5, len(levels) - 0.5)
        return
    numbers = sorted(float(level) for level in levels if level is not None)
    if len(numbers) > 2 and numbers[0] > 0 and numbers[-1] / numbers[0] >= 30:
        ax.set_xscale("log")
        plain_numbers(ax)
    ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))
