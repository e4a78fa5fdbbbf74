"""How figures look: one set of colours and sizes, applied while a figure is made, never to the user's own.

References
----------
M. Okabe, K. Ito, "Color Universal Design", 2008 (the palette, distinct for colour-blind readers).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from virtsim.core.units import NS_PER_MS, NS_PER_S, NS_PER_US

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from matplotlib.axes import Axes

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#7F7F7F", "#B8A800")
WORLD = {"model": "#0072B2", "real": "#E69F00"}
VERDICT = {"PASSED": "#009E73", "FAILED": "#D55E00", "UNDECIDED": "#E69F00", "SKIPPED": "#7F7F7F"}
THROTTLED = "#C00000"

RC: dict[str, Any] = {
    "figure.dpi": 100,
    "savefig.dpi": 150,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.5,
    "lines.markersize": 4,
    "errorbar.capsize": 2.5,
    "hatch.linewidth": 0.8,
}


def style() -> AbstractContextManager[None]:
    """A context in which figures have virtsim's look."""
    import matplotlib

    return matplotlib.rc_context(RC)


def new_axes(width: float, height: float) -> Axes:
    """Axes of a figure of their own, inches; nothing opens a window or stays registered with pyplot."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure.add_subplot()


def new_panels(
    rows: int, columns: int, width: float, height: float, *, sharex: bool = False, sharey: bool = False
) -> list[Axes]:
    """Axes of one figure, inches, row by row; see :func:`new_axes`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return list(figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey).flat)


def save_figure(axes: Axes | Iterable[Axes], path: Path | str) -> None:
    """Write the figure that ``axes`` belong to; PNG files are the same bytes for the same figure."""
    first: Any = axes if hasattr(axes, "figure") else next(iter(axes))
    metadata = {"Software": None} if str(path).lower().endswith(".png") else None
    with style():
        first.figure.savefig(path, bbox_inches="tight", metadata=metadata)


def shade(colour: str, step: int, steps: int) -> tuple[float, float, float]:
    """The ``step``-th of ``steps`` tints of a colour, from itself to paler."""
    from matplotlib.colors import to_rgb

    mix = 0.65 * step / max(steps - 1, 1)
    red, green, blue = (part + (1 - part) * mix for part in to_rgb(colour))
    return red, green, blue


def plain_numbers(ax: Axes, axes: str = "x") -> None:
    """Write the ticks of logarithmic ``axes`` (``x``, ``y`` or ``xy``) as numbers, not as powers of ten."""
    from matplotlib.ticker import FuncFormatter

    for name in axes:
        getattr(ax, f"{name}axis").set_major_formatter(FuncFormatter(lambda value, _: _plain(value)))


def _plain(value: float) -> str:
    """``20k`` and ``3M`` rather than long rows of noughts."""
    for size, letter in ((1e6, "M"), (1e4, "k")):
        if value >= size:
            return f"{value / (1e3 if letter == 'k' else size):g}{letter}"
    return f"{value:g}"


def time_unit(longest_ns: float) -> tuple[str, int]:
    """Name and length, ns, of the unit in which times up to ``longest_ns`` read best."""
    for name, unit_ns in (("s", NS_PER_S), ("ms", NS_PER_MS), ("µs", NS_PER_US)):
        if longest_ns >= 2 * unit_ns:
            return name, unit_ns
    return "ns", 1
