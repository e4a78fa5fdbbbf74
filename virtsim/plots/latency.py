"""Distributions of latencies, from the runs' histograms."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from virtsim.core.errors import SpecError
from virtsim.plots.style import PALETTE, new_axes, plain_numbers, style, time_unit
from virtsim.results.histogram import Histogram, bucket_bounds
from virtsim.results.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LINES = {"model": "-", "real": "--"}


def plot_latency(
    runs: Run | Iterable[Run],
    kind: str = "request_latency",
    *,
    entity: str | None = None,
    tail: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Draw the cumulative distribution of a latency: solid for the model, dashed for the kernel.

    Runs of one world are pooled: the share of all their events that took at most so long.

    Parameters
    ----------
    runs : Run, RunSet or iterable of Run
        Runs of either world or both.
    kind : str
        ``wakeup_latency``, ``response_time``, ``request_latency``, or ``op:<name>``.
    entity : str, optional
        A guest or ``guest/task``; all tasks that have the latency if absent.
    tail : bool
        Draw the share that took *longer*, on a logarithmic scale.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure if absent.

    Raises
    ------
    SpecError
        If no run has such a latency; the message lists those there are.
    """
    runs = [runs] if isinstance(runs, Run) else list(runs)
    pooled = _pool(runs, kind, entity)
    entities = list(dict.fromkeys(name for _, name in pooled))
    longest_ns = max(histogram.max_ns for histogram in pooled.values())
    name, unit_ns = time_unit(longest_ns)
    with style():
        ax = ax or new_axes(6.4, 4.0)
        for (world, task), histogram in pooled.items():
            times, shares = _steps(histogram)
            ax.step(
                [time / unit_ns for time in times],
                [1 - share for share in shares] if tail else shares,
                where="post",
                linestyle=_LINES[world],
                color=PALETTE[entities.index(task) % len(PALETTE)],
                label=f"{world}: {task} (n = {histogram.count})",
            )
        ax.set_xscale("log")
        plain_numbers(ax)
        ax.set_xlabel(f"{kind} ({name})")
        ax.set_ylabel("share that took longer" if tail else "share that took at most so long")
        if tail:
            ax.set_yscale("log")
        else:
            ax.set_ylim(0, 1.01)
        ax.set_title(f"{kind} of {runs[0].scenario.name}")
        ax.legend(loc="best")
    return ax


def _pool(runs: list[Run], kind: str, entity: str | None) -> dict[tuple[str, str], Histogram]:
    pooled: dict[tuple[str, str], Histogram] = {}
    for run in runs:
        for record in run.latencies:
            name = f"{record.guest}/{record.task}"
            if record.kind == kind and record.histogram.count and entity in (None, name, record.guest):
                pooled.setdefault((run.world, name), Histogram()).merge(record.histogram)
    if not pooled:
        known = sorted({f"{r.kind} of {r.guest}/{r.task}" for run in runs for r in run.latencies})
        wanted = kind if entity is None else f"{kind} of {entity}"
        raise SpecError("kind", f"no run has {wanted}; there are: {', '.join(known) or 'none'}")
    return pooled


def _steps(histogram: Histogram) -> tuple[list[float], list[float]]:
    """Where the distribution rises and to what; the ends are the exact extremes, the rest buckets' upper ends."""
    times, shares, below = [max(float(histogram.min_ns), 1.0)], [0.0], 0
    for index in sorted(histogram.buckets):
        below += histogram.buckets[index]
        upper = bucket_bounds(index)[1] - 1
        times.append(max(1.0, float(min(upper, histogram.max_ns))))
        shares.append(below / histogram.count)
    return times, shares
