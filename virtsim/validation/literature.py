"""Published results as a test of the platform model: calibrate on some rows, predict the others.

A *paper* is a card: the machine's host card, the stacks that were compared, and rows, each a benchmark with
one published value a stack. What a benchmark does is a *mix* of platform events, from a workload card that
says where the mix is from. Every value is either **calibration** (prices or one scale were fitted to it)
or **prediction**; one that would be both is refused, and nothing that misses is left out.

    T(stack) = T(base) + fixed * [c(fixed mix, stack) - c(fixed mix, base)]
                       + S     * [c(scaled mix, stack) - c(scaled mix, base)]

``T(base)`` is the published value on the base stack (native, where there is one) and ``c`` the priced
expansion; ``S`` is either given or fitted to the calibration rows of that benchmark. A rate is predicted
through the time of one unit. Where the processor hides part of the base's waiting, ``times`` counts the whole of it,
since what comes on top is not hidden. In a ``critical`` row what the asking processor spends makes the time; a back
end works beside it, a thread that does one unit after the other, and if that takes longer, it decides; so does a
processor that takes the interrupts of a device with a single queue.

References
----------
The papers are named in their cards, ``models/literature``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from virtsim.core.data import card_names
from virtsim.core.errors import SpecError
from virtsim.platform.expand import expand, price
from virtsim.platform.host import HostCard, load_host
from virtsim.platform.paths import sharers
from virtsim.platform.stack import Stack
from virtsim.validation.literature_cards import CYCLES, UNITS_NS, Mix, Paper, Row, load_mix, load_paper
from virtsim.validation.literature_report import LiteratureReport, Result

#: A number, or an array of as many as there are sets of prices.
Numbers = Any
#: Values by stack.
Predicted = dict[str, Numbers]


def paper_stack(paper: Paper, name: str) -> Stack:
    """A stack as it was in the paper."""
    try:
        return paper.stacks[name].stack(f"{paper.name}.{name}")
    except SpecError as problem:
        raise SpecError(f"{paper.name}: stacks.{name}", str(problem)) from None


class Costs(NamedTuple):
    """Primitives of one unit of a row on one stack.

    Attributes
    ----------
    fixed, scaled : dict of str to float
        More of each primitive than on the base stack, for one unit of either mix.
    whole : dict of str to float
        All of the fixed mix, for rows that a line limits.
    helpers : list of dict of str to float
        What each thread or processor beside the asking one spends, for critical rows.
    """

    fixed: Mapping[str, float]
    scaled: Mapping[str, float]
    whole: Mapping[str, float]
    helpers: list[Mapping[str, float]]


def mix_totals(mix: Mix, stack: Stack) -> dict[str, float]:
    """Primitives of one unit of a mix on a stack."""
    return _sum(mix_parties(mix, stack).values())


def mix_parties(mix: Mix, stack: Stack) -> dict[str, dict[str, float]]:
    """The same by who spends them; ``""`` is the processor that asks."""
    found: dict[str, dict[str, float]] = {"": {}}
    for e in mix.events:
        for party, totals in expand(e.event, stack, e.size).parties.items():
            mine = found.setdefault(party, {})
            for primitive, count in totals.items():
                mine[primitive] = mine.get(primitive, 0.0) + e.times * count
    return found


def row_costs(row: Row, paper: Paper) -> dict[str, Costs]:
    """What a row's mixes spend, by stack."""
    fixed = _by_stack(row.fixed, row, paper)
    scaled = _by_stack(row.scaled, row, paper)

    def more(mix: Mapping[str, Mapping[str, Mapping[str, float]]], stack: str) -> dict[str, float]:
        return _less(*(_sum([by[""]] if row.critical else by.values()) for by in (mix[stack], mix[paper.base])))

    return {
        s: Costs(
            more(fixed, s),
            more(scaled, s),
            _sum(fixed[s].values()),
            _helpers(fixed[s], paper_stack(paper, s)) if row.critical else [],
        )
        for s in row.stacks
    }


def _helpers(parties: Mapping[str, Mapping[str, float]], stack: Stack) -> list[Mapping[str, float]]:
    """What each of those beside the asking processor spends; those who share a party's work do an equal part."""
    return [
        {primitive: count / sharers(party, stack) for primitive, count in totals.items()}
        for party, totals in parties.items()
        if party
    ]


def _by_stack(mix: str, row: Row, paper: Paper) -> dict[str, dict[str, dict[str, float]]]:
    if not mix:
        return {stack: {"": {}} for stack in row.stacks}
    try:
        events = load_mix(mix)
    except SpecError as problem:
        raise SpecError(f"{paper.name}: {row.benchmark}", str(problem)) from None
    return {stack: mix_parties(events, paper_stack(paper, stack)) for stack in row.stacks}


def _sum(many: Iterable[Mapping[str, float]]) -> dict[str, float]:
    totals: dict[str, float] = {}
    for counts in many:
        for primitive, count in counts.items():
            totals[primitive] = totals.get(primitive, 0.0) + count
    return totals


def _less(here: Mapping[str, float], base: Mapping[str, float]) -> dict[str, float]:
    return {p: here.get(p, 0.0) - base.get(p, 0.0) for p in {**here, **base} if here.get(p, 0.0) != base.get(p, 0.0)}


def unit_ns(row: Row, value: float, host: HostCard) -> float:
    """Time of a published value, ns; of one unit of work for a rate."""
    if row.rate:
        return 1e9 * row.work / value
    if row.unit == CYCLES:
        if not host.frequency:
            raise SpecError(
                f"host {host.name!r}: frequency", f"{row.benchmark!r} is in cycles, and nobody says the clock"
            )
        return value * 1e9 / host.frequency
    return value * UNITS_NS[row.unit]


def unit_value(row: Row, time_ns: Numbers, host: HostCard) -> Numbers:
    """The reverse of :func:`unit_ns`."""
    if row.rate:
        return 1e9 * row.work / time_ns
    return time_ns / unit_ns(row, 1.0, host)


def row_values(row: Row, paper: Paper, host: HostCard, cost: Callable[[Mapping[str, float]], Numbers]) -> Predicted:
    """A row's predicted values by stack.

    Parameters
    ----------
    row, paper, host
        What is predicted, with whose clock.
    cost : callable
        Prices counts of primitives, in ns: one number, or an array for as many sets of prices.
    """
    costs = row_costs(row, paper)
    base_ns = unit_ns(row, row.published[paper.base], host)
    times = row.times * (base_ns / 1e9 if row.per_second else 1.0)
    times *= (row.published[paper.base] + row.hidden) / row.published[paper.base]
    scale: Numbers = 0.0
    if row.scaled:
        fitted = next(s for s in row.calibration if s != paper.base)
        rest = unit_ns(row, row.published[fitted], host) - base_ns - times * cost(costs[fitted].fixed)
        scale = np.maximum(0.0, rest / cost(costs[fitted].scaled))
    values = {}
    for stack, spent in costs.items():
        time_ns = base_ns + times * cost(spent.fixed) + scale * cost(spent.scaled)
        if row.line:
            time_ns = np.maximum(base_ns, cost(spent.whole))
        for helper in spent.helpers:
            time_ns = np.maximum(time_ns, row.work * times * cost(helper))
        values[stack] = unit_value(row, time_ns, host)
    return values


def predict_row(row: Row, paper: Paper, host: HostCard) -> Iterator[Result]:
    """Results of a row on all its stacks."""
    for stack, value in row_values(row, paper, host, lambda counts: price(counts, host)).items():
        yield Result(
            paper=paper.name,
            benchmark=row.benchmark,
            where=row.where,
            level=row.level,
            stack=stack,
            unit=row.unit,
            use=_use(row, stack, paper),
            published=row.published.get(stack, math.nan),
            predicted=float(value),
            spread=row.spread,
            why=row.why,
        )


def _use(row: Row, stack: str, paper: Paper) -> str:
    if stack not in row.published:
        return "unpublished"
    return "base" if stack == paper.base else "calibration" if stack in row.calibration else "prediction"


def validate_paper(paper: Paper, host: HostCard | None = None) -> LiteratureReport:
    """Predict all rows of a paper with the prices of its host card, or of another one."""
    machine = host or load_host(paper.host)
    return LiteratureReport([result for row in paper.rows for result in predict_row(row, paper, machine)])


def validate_literature(papers: list[str] | None = None) -> LiteratureReport:
    """Predict the rows of some papers, of all if none are named, with 90 % intervals and what other mixes could give.

    Parameters
    ----------
    papers : list of str, optional
        Names of cards in ``models/literature`` or the user's folder, or paths that end with ``.toml``.
    """
    from virtsim.validation.literature_intervals import paper_intervals, widened  # They need the above.
    from virtsim.validation.literature_reach import paper_reach

    every = {name: validate_paper(load_paper(name)).results for name in card_names("literature")}
    results: list[Result] = []
    for name in papers if papers is not None else every:
        others = [r for other, found in every.items() if other != name for r in found]
        paper = load_paper(name)
        intervals, reach = paper_intervals(paper), paper_reach(paper)
        for result in every[name] if name in every else validate_paper(paper).results:
            cell = (result.where, result.benchmark, result.stack)
            low, high = reach.get(cell, (math.nan, math.nan))
            results.append(widened(result._replace(reach_low=low, reach_high=high), intervals[cell], others))
    return LiteratureReport(results)
