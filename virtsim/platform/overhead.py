"""What one unit of work costs more on some stacks than on another: a comparison of architectures in one call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from typing import NamedTuple

from virtsim.core.errors import SpecError
from virtsim.core.units import show_duration
from virtsim.platform.costs import Costs
from virtsim.platform.draws import Likely, PriceDraws, likely
from virtsim.platform.host import HostCard, load_host
from virtsim.platform.operations import Event, work_events
from virtsim.platform.stack import Stack, load_stack


class Overhead(NamedTuple):
    """One stack.

    Attributes
    ----------
    stack : str
        Its name.
    cost_ns : Likely, ns
        CPU time of everybody for one unit of work.
    over : Likely
        The same over the base, less 1: 0.05 is 5 % more.
    assumed : float
        Which part of what it costs more rests on prices that nobody measured; 0 if it costs nothing more.
    """

    stack: str
    cost_ns: Likely
    over: Likely
    assumed: float


class Overheads:
    """Overheads of some stacks, as a table that prints itself.

    Attributes
    ----------
    work, base, host : str
        What was compared with what, and where.
    rows : list of Overhead
        In the order of the stacks.
    """

    def __init__(self, work: str, base: str, host: str, rows: list[Overhead]) -> None:
        self.work = work
        self.base = base
        self.host = host
        self.rows = rows

    def __iter__(self) -> Iterator[Overhead]:
        return iter(self.rows)

    def __getitem__(self, stack: str) -> Overhead:
        for row in self.rows:
            if row.stack == stack:
                return row
        raise SpecError("stack", f"{stack!r} was not compared; there are: {', '.join(row.stack for row in self.rows)}")

    @property
    def title(self) -> str:
        """What the table shows, in one line."""
        return f"{self.work} over {self.base}, host {self.host}"

    def cells(self) -> list[tuple[str, str, str, str, str]]:
        """Stack, cost, overhead, its 90 % interval, and the assumed part, as texts."""
        return [
            (
                row.stack,
                show_duration(row.cost_ns.value),
                f"{100 * row.over.value:.3g} %",
                f"{100 * row.over.low:.3g} to {100 * row.over.high:.3g} %",
                f"{100 * row.assumed:.0f} %",
            )
            for row in self.rows
        ]

    def __repr__(self) -> str:
        widths = [max(len(row[i]) for row in [COLUMNS, *self.cells()]) for i in range(len(COLUMNS))]
        lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in [COLUMNS, *self.cells()])
        return "\n".join([self.title, *(line.rstrip() for line in lines)])

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in COLUMNS)
        rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in self.cells())
        return f"<b>{escape(self.title)}</b><table><tr>{head}</tr>{rows}</table>"


#: Headings of :meth:`Overheads.cells`.
COLUMNS = ("stack", "cost", "overhead", "90 % interval", "of it assumed")


def overheads(
    work: str | Iterable[Event],
    stacks: Iterable[str | Stack],
    host: str | HostCard,
    *,
    base: str | Stack = "native",
    n: int = 1000,
    seed: int = 0,
) -> Overheads:
    """Compare what work costs on stacks with what it costs on a base.

    Parameters
    ----------
    work : str or iterable of Event
        A mix of a workload card, as ``units-of-work/compile``; an event, as ``page_fault``; or events.
    stacks : iterable of str or Stack
        What is compared.
    host : str or HostCard
        Prices, with their intervals.
    base : str or Stack
        What it is compared with.
    n, seed : int
        Draws of the prices behind the intervals, and their root seed.

    Notes
    -----
    ``compute`` is taken as exact: work is stated in time on the host, and how fast that is cancels. So are the
    parameters of layers and the counts of the mix: an interval says what the prices leave open, nothing else.

    Raises
    ------
    SpecError
        If a name is unknown, the base spends nothing, or the host lacks a price.

    Examples
    --------
    >>> found = overheads("page_fault", ["container", "kvm-shadow"], "xeon-8269cy-linux-4.19", seed=7)
    >>> [row.stack for row in found if row.over.low > 0.1]
    ['kvm-shadow']
    """
    name, events = _events(work)
    card = load_host(host) if isinstance(host, str) else host
    draws = PriceDraws(card, n, seed, exact=("compute",))
    under = _stack(base)
    base_ns = draws.work(events, under)
    if base_ns[0] <= 0:
        raise SpecError("base", f"{name} costs nothing on {under.name!r}, so nothing can be compared with it")
    rows = []
    for stack in map(_stack, stacks):
        cost = draws.work(events, stack)
        rows.append(
            Overhead(stack.name, likely(cost), likely(cost / base_ns - 1), _assumed(events, stack, under, card))
        )
    return Overheads(name, under.name, card.name, rows)


def _events(work: str | Iterable[Event]) -> tuple[str, list[Event]]:
    if not isinstance(work, str):
        return "the work", list(work)
    return work, list(work_events(work))


def _stack(stack: str | Stack) -> Stack:
    return load_stack(stack) if isinstance(stack, str) else stack


def _assumed(events: list[Event], stack: Stack, base: Stack, host: HostCard) -> float:
    """Share, by amount, of the differences between two costs that rest on assumed prices."""
    mine, theirs = Costs(host, stack).totals(events), Costs(host, base).totals(events)
    shifts = {p: abs(mine.get(p, 0.0) - theirs.get(p, 0.0)) * host.price(p) for p in {*mine, *theirs}}
    whole = sum(shifts.values())
    return sum(ns for p, ns in shifts.items() if host.prices[p].status == "assumed") / whole if whole else 0.0
