"""Which VM leaves an overloaded host, as the reference decides it."""

from __future__ import annotations

import numpy as np

from virtsim.cluster.cloudsim.setup import Floats
from virtsim.cluster.cloudsim.state import State
from virtsim.core.errors import SpecError


class Selection:
    """The VM with the least memory, because it moves in the shortest time (MMT); the first of equals.

    Parameters
    ----------
    state : State
        Requests and windows.
    random : numpy.random.Generator
        For random selection.
    """

    def __init__(self, state: State, random: np.random.Generator) -> None:
        self.state, self.random = state, random
        self._memory: list[int] = state.machines.memory_mb.tolist()

    def pick(self, vms: list[int]) -> int:
        """One of ``vms``, which are in the order of the host's list."""
        return min(vms, key=self._memory.__getitem__)


class MinimumUtilisation(Selection):
    """The VM with the least CPU use (MU)."""

    def pick(self, vms: list[int]) -> int:
        """One of ``vms``."""
        use = (self.state.request[vms] / self.state.machines.mips[vms]).tolist()
        return int(vms[use.index(min(use))])


class Random(Selection):
    """Any VM, uniformly (RS)."""

    def pick(self, vms: list[int]) -> int:
        """One of ``vms``."""
        return vms[int(self.random.integers(len(vms)))]


class MaximumCorrelation(Selection):
    """The VM whose past is best explained by the other VMs of the host (MC).

    The measure is the coefficient of determination of the multiple regression of its window on the others'; where
    that is not defined (one VM, too few samples, a singular system) the smallest VM leaves.

    References
    ----------
    A. Verma et al., "Server workload analysis for power minimization using consolidation", USENIX ATC 2009;
    Beloglazov and Buyya 2012, section 5.2.3.
    """

    def pick(self, vms: list[int]) -> int:
        """One of ``vms``."""
        samples = self.state.window_length
        if len(vms) < 2 or len(vms) > samples:
            return super().pick(vms)
        explained = determination(self.state.window[vms, :samples])
        if explained is None:
            return super().pick(vms)
        best, choice = 0.0, vms[0]
        for vm, value in zip(vms, explained.tolist()):
            if value > best:
                best, choice = value, vm
        return choice


def determination(windows: Floats) -> Floats | None:
    """R² of every row regressed on all the others and a constant; None if a regression is singular.

    All regressions are made at once by Householder reflections, with sums taken in the order of the samples: in
    nearly singular systems, which are common here, another order gives another answer.

    Parameters
    ----------
    windows : ndarray, shape (variables, samples)
        At least two variables, and not more than samples.
    """
    n, m = windows.shape
    others = np.array([[j for j in range(n) if j != i] for i in range(n)])
    # columns[p] holds the p-th predictor of each of the n regressions, samples first.
    columns = np.empty((n, m, n))
    columns[0] = 1.0
    columns[1:] = windows[others].transpose(1, 2, 0)
    design = columns.copy()
    target = windows.T.copy()
    diagonal = np.empty((n, n))
    for k in range(n):
        pivot = columns[k]
        norm = np.sqrt(_sum(pivot[k:] * pivot[k:]))
        diagonal[k] = np.where(pivot[k] > 0, -norm, norm)
        if (diagonal[k] == 0).any():
            return None
        pivot[k] -= diagonal[k]
        scale = diagonal[k] * pivot[k]
        rest = columns[k + 1 :, k:]
        rest += (_sum(rest * pivot[k:], axis=1) / scale)[:, None, :] * pivot[k:]
        target[k:] += _sum(target[k:] * pivot[k:]) / scale * pivot[k:]
    weights = np.empty((n, n))
    for k in reversed(range(n)):
        weights[k] = target[k] / diagonal[k]
        target[:k] -= weights[k] * columns[k, :k]
    fit = _sum(design * weights[:, None, :])
    residual = _sum((windows.T - fit) ** 2)
    total = _second_moment(windows.T)
    with np.errstate(divide="ignore", invalid="ignore"):
        explained: Floats = 1 - residual / total
    return explained


def _sum(values: Floats, axis: int = 0) -> Floats:
    """Sum in order; NumPy's own sum may take pairs."""
    total: Floats = np.add.accumulate(values, axis=axis).take(-1, axis=axis)
    return total


def _second_moment(samples: Floats) -> Floats:
    """Sum of squared deviations of each column, by updating; exactly 0 for a constant one."""
    mean = np.zeros(samples.shape[1])
    total = np.zeros(samples.shape[1])
    for i, row in enumerate(samples):
        deviation = row - mean
        step = deviation / (i + 1)
        mean += step
        total += i * deviation * step
    return total


SELECTIONS: dict[str, type[Selection]] = {
    "mmt": Selection,
    "mu": MinimumUtilisation,
    "rs": Random,
    "mc": MaximumCorrelation,
}


def make_selection(name: str, state: State, random: np.random.Generator) -> Selection:
    """The selection called ``name``."""
    if name not in SELECTIONS:
        raise SpecError("policy", f"the reference has no selection {name!r}; known: {', '.join(SELECTIONS)}")
    return SELECTIONS[name](state, random)
