"""Selection: which guest leaves an overloaded host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from virtsim.cluster.policies.tables import Floats
from virtsim.core.errors import ModelError
from virtsim.core.registry import Registry


@dataclass(frozen=True)
class Candidates:
    """Guests of one host that may leave, in the order of their arrival.

    Attributes
    ----------
    names : tuple of str
        Each once.
    demand : ndarray, MIPS
        CPU asked for now.
    memory : ndarray, bytes
        Memory to move.
    history : ndarray, shape (guests, samples)
        Past demand as a share of each guest's limit, the present last.
    bandwidth : float, bytes per second
        What a migration from this host gets.
    """

    names: tuple[str, ...]
    demand: Floats
    memory: Floats
    history: Floats
    bandwidth: float = 125e6

    def __len__(self) -> int:
        return len(self.names)


class Selection(Protocol):
    """What a selection policy is."""

    def pick(self, guests: Candidates, random: np.random.Generator) -> int:
        """Number of one of ``guests``, which are at least one."""
        ...


SELECTIONS: Registry[type[Selection]] = Registry("selection policy")


def _first_least(values: Floats) -> int:
    return int(np.argmin(values))


@SELECTIONS.register("mmt")
class MinimumMigrationTime:
    """The guest that moves fastest: least memory over bandwidth; CCPE 24(13), 2012, section 5.2.1."""

    def pick(self, guests: Candidates, random: np.random.Generator) -> int:
        """See :class:`Selection`."""
        return _first_least(guests.memory / guests.bandwidth)


@SELECTIONS.register("mu")
class MinimumUtilisation:
    """The guest that asks for the least CPU now, as a share of its limit."""

    def pick(self, guests: Candidates, random: np.random.Generator) -> int:
        """See :class:`Selection`."""
        return _first_least(guests.history[:, -1])


@SELECTIONS.register("rs")
class RandomSelection:
    """Any guest, with equal chances."""

    breaks: ClassVar[frozenset[str]] = frozenset({"order-of-guests-does-not-matter"})

    def pick(self, guests: Candidates, random: np.random.Generator) -> int:
        """See :class:`Selection`."""
        return int(random.integers(len(guests)))


@SELECTIONS.register("mc")
class MaximumCorrelation:
    """The guest whose demand is best explained by the others': largest R² of its regression on theirs.

    A constant demand explains nothing and is not explained: 0. Of equals, and if there are fewer samples than
    guests, the one that moves fastest leaves.

    References
    ----------
    A. Verma et al., "Server workload analysis for power minimization using consolidation", USENIX ATC 2009; H.
    Abdi, "Multiple correlation coefficient", 2007.
    """

    def pick(self, guests: Candidates, random: np.random.Generator) -> int:
        """See :class:`Selection`."""
        n, samples = guests.history.shape
        if n < 2 or samples <= n:
            return _first_least(guests.memory)
        explained = np.round([_explained(guests.history, i) for i in range(n)], 9)
        best = np.flatnonzero(explained == explained.max())
        return int(best[_first_least(guests.memory[best])])


def _explained(history: Floats, i: int) -> float:
    """R² of row ``i`` on the others, by least squares that does not mind collinear rows."""
    target = history[i] - history[i].mean()
    total = float(target @ target)
    if total < 1e-18:
        return 0.0
    others = np.delete(history, i, axis=0)
    others = (others - others.mean(axis=1, keepdims=True)).T
    weights = np.linalg.lstsq(others, target, rcond=None)[0]
    residual = target - others @ weights
    return 1 - float(residual @ residual) / total


def load_selection(name: str) -> Selection:
    """A new selection policy by name."""
    return SELECTIONS.get(name, "policy.selection")()


def check_pick(pick: object, guests: Candidates, policy: str) -> int:
    """The answer of a selection policy, or an error that says what is wrong with it."""
    if isinstance(pick, (bool, np.bool_)) or not isinstance(pick, (int, np.integer)) or not 0 <= pick < len(guests):
        raise ModelError(
            f"selection policy {policy!r} must return the number of a guest, 0 to {len(guests) - 1}; "
            f"it returned {pick!r}"
        )
    return int(pick)
