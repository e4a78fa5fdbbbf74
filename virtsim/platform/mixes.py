"""Mixes: what one unit of a program or benchmark asks of its platform; from cards in ``models/workloads``."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from virtsim.core.data import find_card
from virtsim.core.errors import SpecError
from virtsim.core.spec import Spec, Text, load_toml
from virtsim.platform.events import ALIASES, event_of
from virtsim.workload.operations import Name


class MixEvent(Spec, frozen=True, kw_only=True):
    """``times`` platform events of ``size`` bytes; negative times are what a benchmark subtracts."""

    event: Text
    times: float = 1.0
    size: Annotated[int, Meta(ge=0)] = 0


class Mix(Spec, frozen=True, kw_only=True):
    """What one unit of a benchmark asks of its platform."""

    source: Text
    events: Annotated[list[MixEvent], Meta(min_length=1, max_length=100)]


class MixCard(Spec, frozen=True, kw_only=True):
    """A workload card: named mixes, each with its source."""

    name: Name
    description: Text
    mixes: dict[Name, Mix]

    def _check(self) -> None:
        for name, mix in self.mixes.items():
            for i, entry in enumerate(mix.events):
                try:
                    event_of(ALIASES.get(entry.event, entry.event))
                except SpecError as problem:
                    raise SpecError(f"mixes.{name}.events[{i}].event", problem.reason) from None


@cache
def _load(path: Path, stamp: int) -> MixCard:
    return load_toml(path, MixCard)


def load_mix(name: str) -> Mix:
    """A mix of a workload card, as ``card/mix``; the card may be a path that ends with ``.toml``."""
    card_name, slash, mix_name = name.rpartition("/")
    if not slash:
        raise SpecError("", f"a mix is named with its card, as 'lmbench/fork' or 'FILE.toml/mix', not {name[:60]!r}")
    path = find_card("workloads", card_name, "workload")
    card = _load(path, path.stat().st_mtime_ns)
    if mix_name not in card.mixes:
        raise SpecError(f"workload {card_name!r}", f"no mix is called {mix_name!r}; known: {', '.join(card.mixes)}")
    return card.mixes[mix_name]
