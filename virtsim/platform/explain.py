"""Expansions for people: who handles what, how often, at what price, and where the price is from."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from virtsim.core.errors import SpecError
from virtsim.core.units import show_duration
from virtsim.platform.expand import Expansion, Price, price, price_interval

if TYPE_CHECKING:
    from virtsim.platform.host import HostCard
    from virtsim.platform.stack import Stack


class Line(NamedTuple):
    """One line of an explanation.

    Attributes
    ----------
    depth : int
        0 for the event that was asked about.
    times : float
        How often for one event above it.
    event, layer, note : str
        What, who handles it, and why.
    cost_ns : float, ns, or None
        Of ``times`` such events; None without a host.
    source : str
        Where a primitive's price is from; empty on other lines.
    """

    depth: int
    times: float
    event: str
    layer: str
    note: str
    cost_ns: float | None
    source: str


class Spent(NamedTuple):
    """What one layer spends of one primitive.

    Attributes
    ----------
    level : int
        Index of the layer whose handling spends it; 0, the hardware, where an instruction runs untouched.
    layer : str
        Its name.
    primitive : str
        What is spent.
    times : float
        How often for the event that was asked about.
    cost_ns : float, ns, or None
        Of all of them; None without a host.
    """

    level: int
    layer: str
    primitive: str
    times: float
    cost_ns: float | None


class Explanation:
    """An expansion on a stack, printable as text and as HTML.

    Parameters
    ----------
    expansion : Expansion
        What to explain.
    stack : Stack
        Where.
    host : HostCard, optional
        For prices.
    """

    def __init__(self, expansion: Expansion, stack: Stack, host: HostCard | None) -> None:
        self.expansion = expansion
        self.stack = stack
        self.host = host

    @property
    def cost(self) -> Price:
        """All of it together, ns, with its 90 % interval.

        Raises
        ------
        SpecError
            If it was explained without a host, or that has no price for something.
        """
        if self.host is None:
            raise SpecError("host", "a cost needs a host's prices: stack.explain(event, host)")
        return price_interval(self.expansion, self.host)

    def lines(self) -> Iterator[Line]:
        """The tree, top down."""
        yield from self._lines(self.expansion, 1.0, "", 0)

    def _lines(self, node: Expansion, count: float, note: str, depth: int) -> Iterator[Line]:
        cost = None if self.host is None else count * price(node, self.host)
        source = ""
        if node.primitive and self.host is not None:
            parameter = self.host.prices[node.event]
            source = f"{parameter.source}, {parameter.date}"
        yield Line(depth, count, node.event, self.stack.layer_name(node.level), note, cost, source)
        for part in node.parts:
            yield from self._lines(part.expansion, part.times, part.note, depth + 1)

    def spent(self) -> list[Spent]:
        """Primitives by the layer that spends them, the top layer first; their costs add up to the event's.

        A monitor that executes an instruction of its own which a monitor below gets hold of leaves the cost to
        the one below: the layer is the one that took the last step down to the hardware.
        """
        times: dict[tuple[int, str], float] = {}
        self._spend(self.expansion, 1.0, self.expansion.level, times)
        rows = sorted(times.items(), key=lambda row: -row[0][0])
        return [
            Spent(level, self.stack.layer_name(level), primitive, count, self._cost(primitive, count))
            for (level, primitive), count in rows
        ]

    def _by_layer(self) -> list[tuple[str, float]]:
        """Cost of what each layer spends, ns; several layers may have one name."""
        costs: dict[int, float] = {}
        for row in self.spent():
            costs[row.level] = costs.get(row.level, 0.0) + (row.cost_ns or 0.0)
        return [(self.stack.layer_name(level), ns) for level, ns in costs.items()]

    def _spend(self, node: Expansion, count: float, level: int, times: dict[tuple[int, str], float]) -> None:
        if node.primitive:
            times[level, node.event] = times.get((level, node.event), 0.0) + count
        for part in node.parts:
            self._spend(part.expansion, count * part.times, node.level, times)

    def _cost(self, primitive: str, count: float) -> float | None:
        return None if self.host is None else count * self.host.price(primitive)

    def __str__(self) -> str:
        rows = [f"{_title(self)}", ""]
        for line in self.lines():
            count = "" if line.times == 1 else f"{line.times:.6g} × "
            what = f"{'  ' * line.depth}{count}{line.event}"
            who = f"[{line.layer}]"
            cost = "" if line.cost_ns is None else f"{show_duration(line.cost_ns):>9}"
            why = "  ".join(text for text in (line.note, line.source) if text)
            rows.append(f"{what:<44} {who:<22} {cost}  {why}".rstrip())
        if self.host is not None:
            rows += ["", f"by layer: {', '.join(f'{who} {show_duration(ns)}' for who, ns in self._by_layer())}"]
        return "\n".join(rows)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        cells = []
        for line in self.lines():
            count = "" if line.times == 1 else f"{line.times:.6g} &times; "
            cost = "" if line.cost_ns is None else show_duration(line.cost_ns)
            texts = (escape(line.layer), cost, escape(line.note), escape(line.source))
            first = f"<td style='padding-left:{1.5 * line.depth}em'>{count}{escape(line.event)}</td>"
            cells.append(f"<tr>{first}{''.join(f'<td>{text}</td>' for text in texts)}</tr>")
        head = "".join(f"<th>{name}</th>" for name in ("event", "handled by", "cost", "why", "source of the price"))
        return f"<b>{escape(_title(self))}</b><table><tr>{head}</tr>{''.join(cells)}</table>"


def _title(explanation: Explanation) -> str:
    stack, host = explanation.stack, explanation.host
    where = " · ".join(stack.layer_name(i) for i in range(len(stack.kinds)))
    if host is None:
        return f"{explanation.expansion.event} on {stack.name} ({where})"
    cost = explanation.cost
    interval = f"{show_duration(cost.ns)} [{show_duration(cost.low_ns)}, {show_duration(cost.high_ns)}]"
    return f"{explanation.expansion.event} on {stack.name} ({where}), host {host.name}: {interval}"
