"""Taking an event apart, layer by layer, down to the primitives; and putting prices on the result.

    expand(event, layer) = primitives spent here + sum of expand(event', layer below)

The result is a vector of primitive counts, so the cost is linear in the prices: the same expansion is
what the simulator charges and a row of the design matrix that the calibration fits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from virtsim.core.errors import ModelError, SpecError
from virtsim.platform.events import ALIASES, event_of
from virtsim.platform.primitives import PRIMITIVES

if TYPE_CHECKING:
    from virtsim.platform.host import HostCard
    from virtsim.platform.stack import Stack

#: No chain of layers and steps is longer; a longer one is a card that goes round in a circle.
_DEEPEST = 200


class Part(NamedTuple):
    """An expansion, how many times it is needed, why, and who spends it if not who asked."""

    times: float
    expansion: Expansion
    note: str
    party: str = ""


class Expansion:
    """What one event comes to on a stack.

    Attributes
    ----------
    event : str
        The event.
    size : int, bytes
        Its size, 0 if it has none.
    level : int
        Index of the layer that handles it; 0 is the hardware.
    parts : tuple of Part
        What the layer does about it; empty for a primitive.
    """

    def __init__(self, event: str, size: int, level: int, parts: tuple[Part, ...]) -> None:
        self.event = event
        self.size = size
        self.level = level
        self.parts = parts

    @property
    def primitive(self) -> bool:
        """Whether this is a primitive, spent on the hardware."""
        return self.level == 0 and not self.parts and self.event in PRIMITIVES

    @cached_property
    def totals(self) -> Mapping[str, float]:
        """Primitives and how often each is spent, in the order of first use."""
        if self.primitive:
            return {self.event: 1.0}
        return combine((part.times, part.expansion) for part in self.parts)

    @cached_property
    def parties(self) -> Mapping[str, Mapping[str, float]]:
        """The totals by who spends them, in order of first appearance.

        ``""`` is the virtual processor (or the processor) that asked; others are threads or virtual
        processors that work for it and have to be scheduled. Their sum is :attr:`totals`.
        """
        if self.primitive:
            return {"": {self.event: 1.0}}
        found: dict[str, dict[str, float]] = {}
        for part in self.parts:
            for party, totals in part.expansion.parties.items():
                mine = found.setdefault(party or part.party, {})
                for primitive, count in totals.items():
                    mine[primitive] = mine.get(primitive, 0.0) + part.times * count
        return found

    def __repr__(self) -> str:
        return f"Expansion({self.event}, {dict(self.totals)})"


def combine(weighted: Iterable[tuple[float, Expansion]]) -> dict[str, float]:
    """Totals of several expansions, each taken ``weight`` times."""
    totals: dict[str, float] = {}
    for weight, expansion in weighted:
        for primitive, count in expansion.totals.items():
            totals[primitive] = totals.get(primitive, 0.0) + weight * count
    return totals


def expand(event: str, stack: Stack, size: int = 0) -> Expansion:
    """Take an event of a program apart on a stack.

    Parameters
    ----------
    event : str
        A name of :data:`virtsim.platform.events.EVENTS` or of its ``ALIASES``.
    stack : Stack
        Where the program runs.
    size : int, bytes
        For events that have a size; ignored by the others.

    Raises
    ------
    SpecError
        If there is no such event, or no layer of the stack handles it.
    """
    event = ALIASES.get(event, event)
    kind = event_of(event)
    return _expand(event, size if kind.sized else 0, stack, len(stack.kinds) - 1, 0)


def _expand(event: str, size: int, stack: Stack, level: int, depth: int) -> Expansion:
    key = (event, size, level)
    kept = stack.kept.get(key)
    if kept is None:
        kept = stack.kept[key] = _handled(event, size, stack, level, depth)
    return kept


def _handled(event: str, size: int, stack: Stack, level: int, depth: int) -> Expansion:
    if depth > _DEEPEST:
        raise ModelError(f"stack {stack.name!r}: handling {event!r} never ends; a layer issues what it handles")
    steps = stack.kinds[level].handle(event, size, stack.settings[level])
    if steps is None and level > 0:
        return _expand(event, size, stack, level - 1, depth + 1)
    if steps is None:
        if event not in PRIMITIVES:
            raise SpecError(f"stack {stack.name!r}", f"no layer handles {event!r}")
        return Expansion(event, size, 0, ())
    parts = tuple(
        Part(
            step.times,
            _expand(step.event, step.size, stack, level if step.here else max(level - 1, 0), depth + 1),
            step.note,
            step.party,
        )
        for step in steps
        if step.times
    )
    return Expansion(event, size, level, parts)


class Price(NamedTuple):
    """A cost with its 90 % interval, ns."""

    ns: float
    low_ns: float
    high_ns: float


def design_row(totals: Expansion | Mapping[str, float], primitives: Sequence[str]) -> list[float]:
    """Counts of the given primitives, in their order: one row of the calibration's matrix."""
    counts = totals.totals if isinstance(totals, Expansion) else totals
    return [counts.get(primitive, 0.0) for primitive in primitives]


def price(totals: Expansion | Mapping[str, float], host: HostCard) -> float:
    """Cost on a host, ns.

    Raises
    ------
    SpecError
        If the host's card has no price for a primitive that is spent.
    """
    counts = totals.totals if isinstance(totals, Expansion) else totals
    return math.fsum(count * host.price(primitive) for primitive, count in counts.items())


def price_interval(totals: Expansion | Mapping[str, float], host: HostCard) -> Price:
    """Cost on a host with its 90 % interval; errors of different primitives are taken as independent.

    The half-widths add in quadrature, separately below and above the value. Prices without an interval
    count as exact.
    """
    counts = totals.totals if isinstance(totals, Expansion) else totals
    value = price(counts, host)
    below = above = 0.0
    for primitive, count in counts.items():
        low, high = host.prices[primitive].interval
        middle = host.price(primitive)
        below += (count * (middle - low)) ** 2
        above += (count * (high - middle)) ** 2
    return Price(value, value - math.sqrt(below), value + math.sqrt(above))
