"""How few hosts any placement can use: lower bounds that hold for every instance."""

from __future__ import annotations

import math
import time

import numpy as np

from virtsim.cluster.policies.tables import Floats, Guests, Hosts, Integers
from virtsim.core.errors import ModelError

_ROUNDING = 1e-9
# Shares of a host are quotients, and a host may be overfilled by rounding: a bound that is to hold for every answer
# that is accepted takes two shares that make a whole for one that fits.
_SLACK = 3 * _ROUNDING


def volume_bound(guests: Guests, hosts: Hosts) -> int:
    """Fewest hosts whose summed room holds all needs, in the dearest resource.

    Holds for hosts of different sizes and with guests on them already (those that must stay are in ``used``).
    """
    if not len(guests):
        return 0
    free = np.maximum(hosts.free[hosts.available], 0.0)
    fewest = 0
    for column in range(2):
        need = float(guests.need[:, column].sum())
        room = np.cumsum(np.sort(free[:, column])[::-1])
        enough = np.flatnonzero(room * (1 + _ROUNDING) >= need)
        fewest = max(fewest, int(enough[0]) + 1 if enough.size and need > 0 else (len(free) + 1) * bool(need > 0))
    return max(fewest, 1)


def dual_bound(sizes: Floats) -> int:
    """Martello and Toth's L2 for equal hosts in one dimension; ``sizes`` are shares of a host.

    For a threshold k, guests over 1 - k stand alone, those over 1/2 have a host each, and those from k to 1/2 fill
    what these leave.

    References
    ----------
    S. Martello, P. Toth, "Lower bounds and reduction procedures for the bin packing problem", Discrete Applied
    Mathematics 28(1), 1990.
    """
    sizes = np.sort(sizes)
    best = 0
    for k in np.unique(np.concatenate([[0.0], sizes[sizes <= 0.5]])).tolist():
        alone = sizes[sizes > 1 - k + _SLACK]
        half = sizes[(sizes > 0.5 + _SLACK) & (sizes <= 1 - k + _SLACK)]
        small = sizes[(sizes >= k) & (sizes <= 0.5 + _SLACK)]
        rest = float(small.sum()) - (len(half) - float(half.sum()))
        slack = _SLACK * (len(half) + max(rest, 0.0) + 1)
        best = max(best, len(alone) + len(half) + max(0, math.ceil(rest - slack)))
    return best


def lower_bound(guests: Guests, hosts: Hosts) -> int:
    """The better of the quick bounds: volume, and L2 in each resource where the hosts are equal and empty."""
    bound = volume_bound(guests, hosts)
    capacity = hosts.capacity[hosts.available]
    if len(capacity) and (capacity == capacity[0]).all() and not hosts.used.any():
        for column in range(2):
            bound = max(bound, dual_bound(guests.need[:, column] / capacity[0, column]))
    words: dict[str, int] = {}
    for word in guests.apart:
        if word:
            words[word] = words.get(word, 0) + 1
    return max(bound, max(words.values(), default=0))


def column_bound(guests: Guests, hosts: Hosts, seconds: float = 10.0) -> int:
    """Gilmore and Gomory's bound for equal, empty hosts: patterns of guests that fill a host, made when they pay.

    The linear programme over patterns is solved with HiGHS; a new pattern is a two-dimensional knapsack, solved
    exactly. Stopped early, it gives Farley's bound, which is valid at any time: the programme's value divided by
    the value of the best pattern.

    References
    ----------
    P. C. Gilmore, R. E. Gomory, "A linear programming approach to the cutting-stock problem", Operations Research
    9(6), 1961. A. A. Farley, "A note on bounding a class of linear programming problems, including cutting stock
    problems", Operations Research 38(5), 1990.
    """
    capacity = hosts.capacity[hosts.available]
    if not len(capacity) or (capacity != capacity[0]).any() or hosts.used.any():
        raise ModelError("the column bound is for equal and empty hosts; use lower_bound")
    if not len(guests):
        return 0
    shares = np.round(guests.need / capacity[0], 12)
    kinds, counts = np.unique(shares, axis=0, return_counts=True)
    if (kinds > 1 + _ROUNDING).any():
        raise ModelError("a guest is larger than a host")
    best = lower_bound(guests, hosts)
    patterns = _starting_patterns(kinds)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value, prices = _restricted_master(patterns, counts)
        pattern, worth, certain = _best_pattern(kinds, counts, prices, deadline)
        if certain >= 1 - 1e-9:
            best = max(best, math.ceil(value / max(certain, 1.0) - 1e-6))
        if pattern is None or worth <= 1 + 1e-7:
            break
        patterns = np.column_stack([patterns, pattern])
    return best


def _starting_patterns(kinds: Floats) -> Floats:
    """One pattern a kind: as many of it as fit."""
    with np.errstate(divide="ignore"):
        many = np.floor(np.min(np.where(kinds > 0, (1 + _ROUNDING) / kinds, np.inf), axis=1))
    return np.diag(np.minimum(many, 1e6))


def _restricted_master(patterns: Floats, counts: Integers) -> tuple[float, Floats]:
    """Fewest hosts, in fractions, with these patterns; and what one more guest of each kind would cost."""
    from scipy.optimize import linprog

    cost = np.ones(patterns.shape[1])
    answer = linprog(cost, A_ub=-patterns, b_ub=-counts.astype(float), method="highs")
    return float(answer.fun), -answer.ineqlin.marginals


def _best_pattern(
    kinds: Floats, counts: Integers, prices: Floats, deadline: float
) -> tuple[Floats | None, float, float]:
    """The pattern worth most at these prices, its worth, and the most that any could be worth."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    left = max(0.2, deadline - time.monotonic())
    answer = milp(
        -prices,
        constraints=LinearConstraint(kinds.T, ub=np.ones(2) * (1 + _ROUNDING)),
        bounds=Bounds(0, counts.astype(float)),
        integrality=np.ones(len(prices)),
        options={"time_limit": left, "mip_rel_gap": 1e-9},
    )
    if answer.x is None:
        return None, 0.0, 0.0
    certain = -float(answer.mip_dual_bound) if answer.mip_dual_bound is not None else -float(answer.fun)
    return np.round(answer.x), -float(answer.fun), certain
