"""What an operation costs on several stacks, taken apart: who spends it, and on which primitives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from virtsim.core.errors import SpecError
from virtsim.core.units import show_duration
from virtsim.platform.expand import price_interval
from virtsim.platform.explain import Explanation, Spent
from virtsim.platform.layers.hardware import VirtualHardware
from virtsim.plots.style import PALETTE, new_axes, shade, style, time_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from virtsim.platform.stack import Stack

#: Who spends, bottom to top of a stack, and the colour of each.
ROLES = {
    "hardware": PALETTE[6],
    "host kernel": PALETTE[3],
    "host process": "#8C564B",
    "outer monitor": PALETTE[5],
    "monitor": PALETTE[1],
    "device path": PALETTE[7],
    "guest kernel": PALETTE[0],
    "kernel": PALETTE[2],
    "filter": PALETTE[4],
}
_DEVICES = ("emulated-device", "virtio", "split-driver", "passthrough")
#: A segment is labelled if it is at least this wide for each letter of its name, as a share of the axis.
_LETTER = 0.0145


def plot_costs(
    explanations: Mapping[str, Explanation], *, limit_ns: float | None = None, ax: Axes | None = None
) -> Axes:
    """Draw costs as stacked bars: a colour for who spends, a tint for each primitive, a whisker for the interval.

    Parameters
    ----------
    explanations : mapping of str to Explanation
        Label of each bar and what it shows: ``{"kvm": load_stack("kvm").explain("cpuid", host)}``.
    limit_ns : float, ns, optional
        Where the axis ends. Longer bars are cut off there; their value is written all the same.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure if absent.

    Raises
    ------
    SpecError
        If there is nothing to draw, or an explanation has no host.
    """
    if not explanations:
        raise SpecError("explanations", "there are none to draw")
    for label, explanation in explanations.items():
        if explanation.host is None:
            raise SpecError(f"explanations[{label!r}]", "has no prices; give explain() a host")
    longest_ns = limit_ns or max(_end(explanation)[2] for explanation in explanations.values())
    name, unit_ns = time_unit(longest_ns)
    with style():
        own = ax is None
        ax = new_axes(7.6, 1.1 + 0.3 * len(explanations)) if ax is None else ax
        ax.grid(axis="y", visible=False)
        for y, explanation in enumerate(explanations.values()):
            _draw_bar(ax, y, explanation, longest_ns, unit_ns)
        ax.set_yticks(range(len(explanations)), list(explanations))
        ax.set_ylim(len(explanations) - 0.4, -0.6)
        ax.set_xlim(0, longest_ns / unit_ns * 1.22)
        ax.set_xlabel(f"cost ({name})")
        if own:
            draw_roles(ax, explanations)
    return ax


def draw_roles(ax: Axes, explanations: Mapping[str, Explanation]) -> None:
    """Put a legend of who spends what below the figure of ``ax``."""
    from matplotlib.patches import Patch

    met = {role_of(e.stack, row.level) for e in explanations.values() for row in e.spent() if row.cost_ns}
    handles = [Patch(facecolor=colour, label=role) for role, colour in ROLES.items() if role in met]
    ax.figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))


def role_of(stack: Stack, level: int) -> str:
    """What a layer is to the programs on its stack: one of :data:`ROLES`."""
    kind = stack.kinds[level]
    if level == 0:
        return "outer monitor" if kind.name == VirtualHardware.name else "hardware"
    if kind.name in _DEVICES:
        return "device path"
    if kind.name == "hosted":
        return "host process"
    if kind.role == "machine":
        monitors = [i for i, k in enumerate(stack.kinds) if k.role == "machine" and k.name not in _DEVICES]
        return "monitor" if level == monitors[-1] else "outer monitor"
    if kind.role != "kernel":
        return "filter"
    if any(k.role == "kernel" for k in stack.kinds[level + 1 :]):
        return "host kernel"
    return "guest kernel" if any(k.role == "machine" for k in stack.kinds[1:level]) else "kernel"


def _end(explanation: Explanation) -> tuple[float, float, float]:
    assert explanation.host is not None
    return tuple(price_interval(explanation.expansion, explanation.host))  # type: ignore[return-value]


def _draw_bar(ax: Axes, y: int, explanation: Explanation, longest_ns: float, unit_ns: int) -> None:
    value, low, high = _end(explanation)
    left = 0.0
    tints: dict[str, int] = {}
    rows = sorted((row for row in explanation.spent() if row.cost_ns), key=lambda row: (row.level, -_cost(row)))
    for row in rows:
        width = min(_cost(row), longest_ns - left)
        if width <= 0:
            break
        role = role_of(explanation.stack, row.level)
        tint = tints.setdefault(role, -1) + 1
        tints[role] = tint
        colour = shade(ROLES[role], min(tint, 4), 5)
        ax.barh(y, width / unit_ns, left=left / unit_ns, height=0.7, color=colour, edgecolor="white", linewidth=0.5)
        label = row.primitive if row.times in (0, 1) else f"{row.times:.3g}× {row.primitive}"
        if width / longest_ns > _LETTER * len(label):
            at = ((left + width / 2) / unit_ns, y)
            ax.annotate(label, at, ha="center", va="center", fontsize=6.5, color="black")
        left += width
    cut = value > longest_ns
    if not cut:
        ends = [low / unit_ns, min(high, longest_ns * 1.1) / unit_ns]
        ax.plot(ends, [y + 0.3, y + 0.3], color="#303030", linewidth=1.2, solid_capstyle="butt", zorder=3)
    at_text = (longest_ns if cut else max(value, min(high, longest_ns * 1.1))) / unit_ns
    text = f" {'→ ' if cut else ''}{show_duration(value).replace('us', 'µs')}"
    ax.annotate(text, (at_text, y), va="center", ha="left", fontsize=7.5)


def _cost(row: Spent) -> float:
    return row.cost_ns or 0.0
