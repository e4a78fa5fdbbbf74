"""What a selection policy must keep."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from virtsim.cluster.policies.selection import Candidates, check_pick
from virtsim.core.errors import ModelError
from virtsim.testing.laws import LawBroken, fresh_random, law, require

# pytest shows where the user asked, and not the way from there.
__tracebackhide__ = True


def _pick(selection: Any, guests: Candidates) -> int:
    try:
        return check_pick(selection.pick(guests, fresh_random()), guests, type(selection).__name__)
    except ModelError as problem:
        raise LawBroken(f"{type(selection).__name__} breaks 'picks-one-of-them': {problem}") from None


@law("picks-one-of-them", "selection")
def picks_one_of_them(selection: Any, guests: Candidates) -> None:
    """The answer is the number of one of the guests."""
    _pick(selection, guests)


@law("same-seed-same-pick", "selection")
def same_seed_same_pick(selection: Any, guests: Candidates) -> None:
    """The same guests and seed give the same answer."""
    require(_pick(selection, guests) == _pick(selection, guests), "same-seed-same-pick", selection, f"{guests}")


@law("guest-names-do-not-matter", "selection")
def guest_names_do_not_matter(selection: Any, guests: Candidates) -> None:
    """Other names, same answer."""
    renamed = replace(guests, names=tuple(f"zz{i}" for i in range(len(guests), 0, -1)))
    same = _pick(selection, guests) == _pick(selection, renamed)
    require(same, "guest-names-do-not-matter", selection, f"{guests}")


@law("order-of-guests-does-not-matter", "selection")
def order_of_guests_does_not_matter(selection: Any, guests: Candidates) -> None:
    """The guests in another order, the same guest is picked (no two of them are alike)."""
    order = list(range(len(guests)))[::-1]
    turned = Candidates(
        tuple(guests.names[i] for i in order),
        guests.demand[order],
        guests.memory[order],
        guests.history[order],
        guests.bandwidth,
    )
    same = order[_pick(selection, turned)] == _pick(selection, guests)
    require(same, "order-of-guests-does-not-matter", selection, f"{guests}")
