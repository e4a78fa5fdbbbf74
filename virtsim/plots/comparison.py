"""Model against kernel: every metric relative to what was measured, with both intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from virtsim.core.errors import SpecError
from virtsim.plots.style import VERDICT, WORLD, new_axes, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_comparison(rows: Iterable[Any], *, ax: Axes | None = None) -> Axes:
    """Draw model over real for each row of a comparison: 1 is agreement.

    The band around 1 is the spread of the measurement, the bar the model's interval; the point's colour is the
    verdict, and the grey ticks are the margin, where the row has them.

    Parameters
    ----------
    rows : iterable of mapping, or of objects with attributes
        Each with ``metric``, ``model``, ``real`` and, if known, ``scenario``, ``entity``, ``model_low``,
        ``model_high``, ``real_spread`` (a fraction of the real value, to either side), ``verdict`` and ``margin``
        (a fraction). Rows without a value of both worlds, or whose real value is 0, are left out.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure if absent.

    Raises
    ------
    SpecError
        If no row can be drawn.
    """
    table = [_Row(row) for row in rows]
    drawn = [row for row in table if row.drawable]
    if not drawn:
        raise SpecError("rows", "none has a value of the model and a value of the kernel other than 0")
    with style():
        ax = ax or new_axes(7.5, 1.2 + 0.26 * len(drawn))
        for y, row in enumerate(drawn):
            row.draw(ax, y)
        ax.axvline(1.0, color="#404040", linewidth=0.8, zorder=1)
        ax.set_yticks(range(len(drawn)), [row.label for row in drawn])
        ax.set_ylim(len(drawn) - 0.4, -0.6)
        ax.set_xlabel("model / real")
        left_out = len(table) - len(drawn)
        ax.set_title("Model against kernel" + (f" ({left_out} without a ratio left out)" if left_out else ""))
        _legend(ax, drawn)
    return ax


class _Row:
    """One comparison, whatever it came as."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self.model: float | None = self._get("model")
        self.real: float | None = self._get("real")
        self.verdict = str(getattr(self._get("verdict"), "value", self._get("verdict")) or "").upper()
        parts = (self._get("scenario"), self._get("entity"), self._get("metric"))
        self.label = " · ".join(str(part) for part in parts if part)

    def _get(self, name: str) -> Any:
        return self._source.get(name) if isinstance(self._source, Mapping) else getattr(self._source, name, None)

    @property
    def drawable(self) -> bool:
        return all(value is not None and math.isfinite(value) for value in (self.model, self.real)) and self.real != 0

    def draw(self, ax: Axes, y: int) -> None:
        assert self.model is not None
        assert self.real is not None
        spread, margin = self._get("real_spread"), self._get("margin")
        if spread:
            half = abs(spread)
            ax.barh(y, 2 * half, left=1 - half, height=0.6, color=WORLD["real"], alpha=0.35, linewidth=0, zorder=0)
        if margin:
            marks = [1 - margin, 1 + margin]
            ax.plot(marks, [y, y], linestyle="none", marker="|", color="#606060", markersize=7, zorder=2)
        ratio = self.model / self.real
        low, high = self._get("model_low"), self._get("model_high")
        if low is not None and high is not None:
            ends = sorted((low / self.real, high / self.real))
            ax.plot(ends, [y, y], color=WORLD["model"], linewidth=1.4, solid_capstyle="butt", zorder=3)
        colour = VERDICT.get(self.verdict, WORLD["model"])
        ax.plot([ratio], [y], marker="o", color=colour, linestyle="none", zorder=4)


def _legend(ax: Axes, rows: list[_Row]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Patch(facecolor=WORLD["real"], alpha=0.35, label="spread of the kernel"),
        Line2D([], [], color=WORLD["model"], label="interval of the model"),
    ]
    for verdict in VERDICT:
        count = sum(row.verdict == verdict for row in rows)
        if count:
            label = f"{verdict} ({count})"
            handles.append(Line2D([], [], linestyle="none", marker="o", color=VERDICT[verdict], label=label))
    ax.figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
