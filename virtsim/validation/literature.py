"""Published results as a test of the platform model: calibrate on some rows, predict the others.

A *paper* is a card: the machine's host card, the stacks that were compared, and rows, each a benchmark with
one published value a stack. What a benchmark does is a *mix* of platform events, from a workload card that
says where the mix is from. Every value is either **calibration** (prices or one scale were fitted to it)
or **prediction**; one that would be both is refused, and nothing that misses is left out.

    T(stack) = T(base) + fixed * [c(fixed mix, stack) - c(fixed mix, base)]
                       + S     * [c(scaled mix, stack) - c(scaled mix, base)]

``T(base)`` is the published value on the base stack (native, where there is one) and ``c`` the priced
expansion; ``S`` is either given or fitted to the calibration rows of that benchmark. A rate is predicted
through the time of one unit.

References
----------
The papers are named in their cards, ``models/literature``.
"""

from __future__ import annotations

from collections.abc import Iterator

from virtsim.core.data import card_names
from virtsim.core.errors import SpecError
from virtsim.platform.expand import combine, expand, price
from virtsim.platform.host import HostCard, load_host
from virtsim.platform.stack import Stack, StackCard, load_stack
from virtsim.validation.literature_cards import Mix, Paper, Row, load_mix, load_paper
from virtsim.validation.literature_report import LiteratureReport, Result

#: ns in one unit of a published value; cycles are turned by the host's clock, and a share is its own unit.
UNITS_NS = {"%": 1.0, "ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9}


def paper_stack(paper: Paper, name: str) -> Stack:
    """A stack as it was in the paper."""
    given = paper.stacks[name]
    card = load_stack(given.card).card
    layers = list(card.layers)
    for label, parameters in given.parameters.items():
        found = [i for i, layer in enumerate(layers) if label in (layer.name, layer.kind)]
        if not found:
            raise SpecError(f"{paper.name}: stacks.{name}.parameters.{label}", f"stack {card.name!r} has no such layer")
        for i in found:
            layers[i] = layers[i].replace(parameters={**layers[i].parameters, **parameters})
    return Stack(StackCard(name=card.name, description=card.description, layers=layers))


def mix_totals(mix: Mix, stack: Stack, critical: bool = False) -> dict[str, float]:
    """Primitives of one unit of a mix on a stack; only the asking processor's if ``critical``."""
    if not critical:
        return combine((e.times, expand(e.event, stack, e.size)) for e in mix.events)
    totals: dict[str, float] = {}
    for e in mix.events:
        for primitive, count in expand(e.event, stack, e.size).parties.get("", {}).items():
            totals[primitive] = totals.get(primitive, 0.0) + e.times * count
    return totals


def unit_ns(row: Row, value: float, host: HostCard) -> float:
    """Time of a published value, ns; of one unit of work for a rate."""
    if row.rate:
        return 1e9 * row.work / value
    if row.unit == "cycles":
        return value * 1e9 / host.frequency
    return value * UNITS_NS[row.unit]


def unit_value(row: Row, time_ns: float, host: HostCard) -> float:
    """The reverse of :func:`unit_ns`."""
    if row.rate:
        return 1e9 * row.work / time_ns
    return time_ns / unit_ns(row, 1.0, host)


def _extra_ns(name: str, row: Row, paper: Paper, stack: str, host: HostCard) -> float:
    """What one unit of a mix costs more on a stack than on the base."""
    if not name:
        return 0.0
    mix = load_mix(name)
    here, base = (mix_totals(mix, paper_stack(paper, s), row.critical) for s in (stack, paper.base))
    return price(here, host) - price(base, host)


def predict_row(row: Row, paper: Paper, host: HostCard) -> Iterator[Result]:
    """Results of a row on all its stacks."""
    base_ns = unit_ns(row, row.published[paper.base], host)
    times = row.times * (base_ns / 1e9 if row.per_second else 1.0)
    fixed = {s: times * _extra_ns(row.fixed, row, paper, s, host) for s in row.published}
    scaled = {s: _extra_ns(row.scaled, row, paper, s, host) for s in row.published}
    scale = 0.0
    if row.scaled:
        fitted = next(s for s in row.calibration if s != paper.base)
        rest = unit_ns(row, row.published[fitted], host) - base_ns - fixed[fitted]
        scale = max(0.0, rest / scaled[fitted])
    for stack, published in row.published.items():
        use = "base" if stack == paper.base else "calibration" if stack in row.calibration else "prediction"
        time_ns = base_ns + fixed[stack] + scale * scaled[stack]
        if row.line:
            time_ns = max(base_ns, price(mix_totals(load_mix(row.fixed), paper_stack(paper, stack)), host))
        value = unit_value(row, time_ns, host)
        yield Result(
            paper.name, row.benchmark, row.where, row.level, stack, row.unit, use, published, value, row.spread, row.why
        )


def validate_paper(paper: Paper, host: HostCard | None = None) -> LiteratureReport:
    """Predict all rows of a paper with the prices of its host card, or of another one."""
    machine = host or load_host(paper.host)
    return LiteratureReport([result for row in paper.rows for result in predict_row(row, paper, machine)])


def validate_literature(papers: list[str] | None = None) -> LiteratureReport:
    """Predict the rows of some papers, of all if none are named.

    Parameters
    ----------
    papers : list of str, optional
        Names of cards in ``models/literature``.
    """
    names = papers if papers is not None else card_names("literature")
    return LiteratureReport([r for name in names for r in validate_paper(load_paper(name)).results])
