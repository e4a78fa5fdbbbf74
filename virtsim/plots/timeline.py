"""Who ran when: a row for each CPU, physical ones and then virtual ones, model and kernel above each other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from virtsim.core.errors import SpecError
from virtsim.core.units import parse_duration
from virtsim.plots.style import PALETTE, THROTTLED, save_figure, shade, style, time_unit
from virtsim.results.run import Run, Slice
from virtsim.results.spans import Span, outside, pieces_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Window = tuple[int | str, int | str]
TaskKey = tuple[str, str]
Colour = tuple[float, float, float]

_BAR = 0.72
#: Wake-ups are marked while they can be told apart, and the legend lists tasks while it can be read.
_MOST_WAKEUPS = 150
_MOST_TASKS = 14
#: What is laid over the time in which a virtual CPU had no CPU: it makes bars pale.
_STOLEN = (1.0, 1.0, 1.0, 0.75)
#: A CPU with more slices than this in the window is drawn in columns, about three to a pixel.
_MOST_SLICES = 5000
_COLUMNS = 4000


class _Panel:
    """What is drawn of a run: rows from the top, and on which of them something lies.

    Attributes
    ----------
    labels : list of str
        Of the rows.
    slices : list of Slice
        With the number of the row for that of the CPU.
    wakeups : list of (time, row)
    throttles, stolen : list of (row, span)
    """

    def __init__(self, run: Run) -> None:
        cpus = sorted({piece.cpu for piece in run.slices} | {throttle.cpu for throttle in run.throttles}) or [0]
        row = {cpu: i for i, cpu in enumerate(cpus)}
        sizes = [len(timeline.vcpus) for timeline in run.guest_timelines]
        firsts = list(accumulate(sizes, initial=len(cpus)))
        self.labels = [f"CPU {cpu}" for cpu in cpus]
        self.labels += [f"{one.guest}/{vcpu}" for one in run.guest_timelines for vcpu in one.vcpus]
        self.slices = [_on_row(piece, row[piece.cpu]) for piece in run.slices]
        self.wakeups = [(wakeup.time_ns, row[wakeup.cpu]) for wakeup in run.wakeups if wakeup.cpu in row]
        self.throttles = [(row[one.cpu], (one.start_ns, one.end_ns)) for one in run.throttles]
        self.stolen: list[tuple[int, Span]] = []
        for first, timeline, pieces in zip(firsts, run.guest_timelines, pieces_of(run), strict=False):
            self.slices += [_on_row(piece, first + piece.cpu) for piece in timeline.slices]
            self.wakeups += [(wakeup.time_ns, first + wakeup.cpu) for wakeup in timeline.wakeups]
            for piece, had in pieces:
                gaps = outside((piece.start_ns, piece.end_ns), had)
                self.stolen += [(first + piece.cpu, gap) for gap in gaps]


def _on_row(piece: Slice, row: int) -> Slice:
    return Slice(row, piece.start_ns, piece.end_ns, piece.guest, piece.task)


def plot_timeline(
    runs: Run | Sequence[Run], *, window: Window | None = None, path: Path | str | None = None
) -> list[Axes]:
    """Draw the timelines of one or several runs above each other, on one time axis.

    Colours tell guests, tints of them their tasks; a hatched bar over a CPU's row marks that a group was
    throttled there; a tick marks a wake-up, if there are few enough to be seen. Virtual CPUs have rows of their own,
    with what their guest ran on them: pale while they had no CPU themselves. Where slices are too many to be
    told apart, each sliver of time shows the task that had most of it.

    Parameters
    ----------
    runs : Run or sequence of Run
        Runs that were made with a timeline: ``[model, real]``.
    window : pair of text or int, ns, optional
        From and to: ``("100ms", "200ms")``; the whole run if absent.
    path : path, optional
        Where to write the figure, too.

    Returns
    -------
    list of matplotlib.axes.Axes
        One for each run, top to bottom.

    Raises
    ------
    SpecError
        If no run has a timeline, or the window is empty.
    """
    runs = [runs] if isinstance(runs, Run) else list(runs)
    if not any(run.slices for run in runs):
        raise SpecError("runs", "none has a timeline; make them with timeline=True")
    start_ns, end_ns = _window(runs, window)
    panels = [_Panel(run) for run in runs]
    colours = _colours(runs[0], panels, start_ns, end_ns)
    with style():
        axes = _axes([len(panel.labels) for panel in panels])
        for ax, run, panel in zip(axes, runs, panels, strict=True):
            _draw(ax, panel, colours, start_ns, end_ns)
            ax.set_title(f"{run.world}: {run.scenario.name}" + (" (disturbed)" if run.disturbed else ""))
        axes[-1].set_xlabel(f"time since the start ({time_unit(end_ns)[0]})")
        _legend(axes, panels, colours)
    if path is not None:
        save_figure(axes, path)
    return axes


def _window(runs: Sequence[Run], window: Window | None) -> tuple[int, int]:
    if window is None:
        return 0, max(run.duration_ns for run in runs)
    try:
        start_ns, end_ns = (parse_duration(edge) if isinstance(edge, str) else int(edge) for edge in window)
    except (ValueError, TypeError) as problem:
        raise SpecError("window", f"{problem}; give two times, as in ('100ms', '200ms')") from None
    if not 0 <= start_ns < end_ns:
        raise SpecError("window", f"from {window[0]} to {window[1]} is no span of time")
    return start_ns, end_ns


def _colours(first: Run, panels: Sequence[_Panel], start_ns: int, end_ns: int) -> dict[TaskKey, Colour]:
    """A colour for each guest that is seen, and a tint of it for each of its tasks; the same in all panels."""
    seen = dict.fromkeys(
        (piece.guest, piece.task)
        for panel in panels
        for piece in panel.slices
        if piece.start_ns < end_ns and piece.end_ns > start_ns
    )
    order = {guest.name: i for i, guest in enumerate(first.scenario.guests)}
    tasks: dict[str, list[str]] = {}
    for guest, task in sorted(seen, key=lambda key: (order.get(key[0], len(order)), key)):
        tasks.setdefault(guest, []).append(task)
    return {
        (guest, task): shade(PALETTE[i % len(PALETTE)], j, len(names))
        for i, (guest, names) in enumerate(tasks.items())
        for j, task in enumerate(names)
    }


def _axes(rows: Sequence[int]) -> list[Axes]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 0.9 * len(rows) + 0.55 * sum(rows) + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(rows), 1, sharex=True, squeeze=False, height_ratios=rows)
    return list(grid[:, 0])


def _draw(ax: Axes, panel: _Panel, colours: dict[TaskKey, Colour], start_ns: int, end_ns: int) -> None:
    _, unit_ns = time_unit(end_ns)
    spans: dict[tuple[int, TaskKey], list[tuple[float, float]]] = {}
    for piece in _visible(panel.slices, start_ns, end_ns):
        span = (piece.start_ns / unit_ns, (piece.end_ns - piece.start_ns) / unit_ns)
        spans.setdefault((piece.cpu, (piece.guest, piece.task)), []).append(span)
    for (row, task), pieces in spans.items():
        # A hairline in the bar's own colour keeps slices visible that are thinner than a pixel.
        where = (row - _BAR / 2, _BAR)
        ax.broken_barh(pieces, where, facecolors=colours[task], edgecolors=colours[task], linewidth=0.3)
    _mark_stolen(ax, panel, start_ns, end_ns)
    _mark_throttling(ax, panel, unit_ns)
    _mark_wakeups(ax, panel, start_ns, end_ns)
    ax.set_xlim(start_ns / unit_ns, end_ns / unit_ns)
    ax.set_ylim(len(panel.labels) - 0.35, -0.65)
    ax.set_yticks(range(len(panel.labels)), panel.labels)
    ax.grid(axis="y", visible=False)


def _visible(slices: Sequence[Slice], start_ns: int, end_ns: int) -> list[Slice]:
    """The slices in the window; of a row that has too many to be seen, what is seen of them."""
    by_row: dict[int, list[Slice]] = {}
    for piece in slices:
        if piece.start_ns < end_ns and piece.end_ns > start_ns:
            by_row.setdefault(piece.cpu, []).append(piece)
    seen: list[Slice] = []
    for pieces in by_row.values():
        seen += pieces if len(pieces) <= _MOST_SLICES else _coarse(pieces, start_ns, end_ns)
    return seen


def _coarse(pieces: Sequence[Slice], start_ns: int, end_ns: int) -> list[Slice]:
    """Columns, each of the task that had most of it; neighbours of one task are joined."""
    width_ns = max(1, (end_ns - start_ns) // _COLUMNS)
    columns: dict[int, dict[TaskKey, int]] = {}
    for piece in pieces:
        first, last = max(piece.start_ns, start_ns), min(piece.end_ns, end_ns)
        for column in range((first - start_ns) // width_ns, -(-(last - start_ns) // width_ns)):
            left = start_ns + column * width_ns
            share = min(last, left + width_ns) - max(first, left)
            times = columns.setdefault(column, {})
            times[piece.guest, piece.task] = times.get((piece.guest, piece.task), 0) + share
    joined: list[Slice] = []
    for column, times in sorted(columns.items()):
        guest, task = max(times, key=lambda key: times[key])
        left = start_ns + column * width_ns
        previous = joined[-1] if joined else None
        if previous and previous.end_ns == left and (previous.guest, previous.task) == (guest, task):
            left = joined.pop().start_ns
        joined.append(Slice(pieces[0].cpu, left, start_ns + (column + 1) * width_ns, guest, task))
    return joined


def _mark_stolen(ax: Axes, panel: _Panel, start_ns: int, end_ns: int) -> None:
    _, unit_ns = time_unit(end_ns)
    by_row: dict[int, list[tuple[float, float]]] = {}
    for row, (since_ns, until_ns) in panel.stolen:
        if since_ns < end_ns and until_ns > start_ns:
            by_row.setdefault(row, []).append((since_ns / unit_ns, (until_ns - since_ns) / unit_ns))
    for row, pieces in by_row.items():
        ax.broken_barh(pieces, (row - _BAR / 2, _BAR), facecolors=[_STOLEN], linewidth=0)


def _mark_throttling(ax: Axes, panel: _Panel, unit_ns: int) -> None:
    for row, (since_ns, until_ns) in panel.throttles:
        span = (since_ns / unit_ns, (until_ns - since_ns) / unit_ns)
        where = (row - _BAR / 2 - 0.16, 0.13)
        ax.broken_barh([span], where, facecolors="white", edgecolors=THROTTLED, hatch="////", linewidth=0.6)


def _mark_wakeups(ax: Axes, panel: _Panel, start_ns: int, end_ns: int) -> None:
    _, unit_ns = time_unit(end_ns)
    seen = [(time_ns, row) for time_ns, row in panel.wakeups if start_ns <= time_ns <= end_ns]
    if len(seen) <= _MOST_WAKEUPS:
        times, rows = [time_ns / unit_ns for time_ns, _ in seen], [row + _BAR / 2 + 0.08 for _, row in seen]
        ax.plot(times, rows, linestyle="none", marker="|", markersize=4, color="#303030", markeredgewidth=0.7)


def _legend(axes: Sequence[Axes], panels: Sequence[_Panel], colours: dict[TaskKey, Colour]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    shown = list(colours.items())[:_MOST_TASKS]
    handles: list[Any] = [Patch(facecolor=colour, label=f"{guest}/{task}") for (guest, task), colour in shown]
    if len(colours) > len(shown):
        handles.append(Patch(facecolor="none", label=f"and {len(colours) - len(shown)} more"))
    if any(panel.throttles for panel in panels):
        handles.append(Patch(facecolor="white", edgecolor=THROTTLED, hatch="////", label="throttled"))
    if any(panel.stolen for panel in panels):
        handles.append(Patch(facecolor="#E0E0E0", label="stolen (pale)"))
    if any(0 < len(panel.wakeups) <= _MOST_WAKEUPS for panel in panels):
        handles.append(Line2D([], [], linestyle="none", marker="|", color="#303030", label="wake-up"))
    axes[0].figure.legend(handles=handles, loc="outside right upper")
