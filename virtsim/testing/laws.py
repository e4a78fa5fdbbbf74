"""What policies must keep: each law has a name, a sentence, and a check of one instance.

A check raises :class:`LawBroken` with the instance's numbers; Hypothesis then looks for the smallest one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# pytest shows where the user asked, and not the way from there.
__tracebackhide__ = True


class LawBroken(AssertionError):
    """A policy does not keep a law."""


@dataclass(frozen=True)
class Law:
    """One law.

    Attributes
    ----------
    name : str
        What policies that do not keep it name in ``breaks``.
    kind : str
        ``placement``, ``packing`` (placement of guests on equal, empty hosts), ``detector``, ``selection``,
        ``consolidation``.
    meaning : str
        One sentence.
    check : callable
        Called with a policy and an instance.
    """

    name: str
    kind: str
    meaning: str
    check: Callable[..., None]


LAWS: dict[str, Law] = {}


def law(name: str, kind: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a check; its docstring is the law's meaning."""

    def store(check: Callable[..., None]) -> Callable[..., None]:
        meaning = (check.__doc__ or "").strip()
        LAWS[name] = Law(name, kind, meaning, check)
        return check

    return store


def fresh_random() -> np.random.Generator:
    """The same random numbers each time."""
    return np.random.Generator(np.random.PCG64(7))


def require(condition: bool, law_name: str, policy: object, what: str) -> None:
    """Let an instance break a law, with what it shows, unless the condition holds."""
    if not condition:
        raise LawBroken(f"{type(policy).__name__} breaks {law_name!r} ({LAWS[law_name].meaning}) {what}")
