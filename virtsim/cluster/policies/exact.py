"""Placement with a proof: the fewest hosts, or the closest that time allows, and a bound.

Which solver: HiGHS and OR-Tools CP-SAT were given the same 36 open instances (``tests/bench/bench_exact.py``; 20 to 60
guests, 10 s of CPU time each, all threads together): HiGHS proved 34, CP-SAT 32; those that both proved took HiGHS 14 s
in all and CP-SAT 50 s. HiGHS is the default; a test compares the two counts.
"""

from __future__ import annotations

import time
from itertools import pairwise
from typing import ClassVar, NamedTuple

import numpy as np

from virtsim.cluster.policies.book import Book
from virtsim.cluster.policies.bounds import column_bound, lower_bound
from virtsim.cluster.policies.placement import (
    PLACEMENTS,
    BestFitDecreasing,
    DotProduct,
    FirstFitDecreasing,
    L2Norm,
)
from virtsim.cluster.policies.tables import Guests, Hosts, Integers
from virtsim.core.errors import ModelError, SpecError


class Packing(NamedTuple):
    """A placement of all guests and what is known about it.

    Attributes
    ----------
    places : ndarray
        Host of each guest; -1 for all if nobody knows a placement.
    hosts : int
        Hosts that it newly opens.
    bound : int
        No placement opens fewer.
    """

    places: Integers
    hosts: int
    bound: int

    @property
    def proven(self) -> bool:
        """Whether it is an optimum."""
        return self.hosts == self.bound


@PLACEMENTS.register("exact")
class ExactPlacement:
    """As few hosts as possible, proven within the time or not.

    The quick bounds and heuristics go first and often agree; what is open goes to the column bound and to the
    solver, which looks for one host less.

    Parameters
    ----------
    seconds : float
        Time for one instance.
    solver : str
        ``highs`` (with SciPy) or ``cp-sat`` (needs OR-Tools).
    """

    breaks: ClassVar[frozenset[str]] = frozenset()
    ratio: ClassVar[tuple[float, float] | None] = None

    def __init__(self, seconds: float = 10.0, solver: str = "highs") -> None:
        if solver not in ("highs", "cp-sat"):
            raise SpecError("solver", f"there is no solver {solver[:20]!r}; known: highs, cp-sat")
        if not seconds > 0:
            raise SpecError("seconds", "the time for an instance must be more than 0")
        self.seconds, self.solver = seconds, solver

    def place(self, guests: Guests, hosts: Hosts, random: np.random.Generator) -> Integers:
        """See :class:`~virtsim.cluster.policies.placement.Placement`."""
        packing = self.pack(guests, hosts)
        if packing.hosts >= 0:
            return packing.places
        # Not all guests fit, or nobody knows how in time: place what can be placed.
        return FirstFitDecreasing().place(guests, hosts, random)

    def pack(self, guests: Guests, hosts: Hosts) -> Packing:
        """Place all guests on as few new hosts as possible; ``hosts`` is -1 if there is no way or none was found."""
        deadline = time.monotonic() + self.seconds
        best = self._heuristic(guests, hosts)
        bound = 0 if hosts.running.any() else lower_bound(guests, hosts)
        if best.hosts == bound:
            return best._replace(bound=bound)
        plain = not hosts.used.any() and not hosts.running.any() and (hosts.capacity == hosts.capacity[0]).all()
        if plain and best.hosts > bound and hosts.available.all():
            bound = max(bound, column_bound(guests, hosts, self.seconds / 3))
        while best.hosts != bound and (left := deadline - time.monotonic()) > 0:
            limit = best.hosts - 1 if best.hosts > 0 else int(hosts.available.sum())
            solve = _solve_highs if self.solver == "highs" else _solve_cp_sat
            places, impossible = solve(guests, hosts, limit, left)
            if places is not None:
                best = Packing(places, _newly_opened(places, hosts), bound)
            elif impossible:
                bound = best.hosts if best.hosts >= 0 else bound
                break
            else:
                break
        return best._replace(bound=bound)

    def _heuristic(self, guests: Guests, hosts: Hosts) -> Packing:
        best = Packing(np.full(len(guests), -1, dtype=np.int64), -1, 0)
        random = np.random.Generator(np.random.PCG64(0))
        for policy in (FirstFitDecreasing(), BestFitDecreasing(), DotProduct(), L2Norm()):
            places = policy.place(guests, hosts, random)
            if (places >= 0).all():
                opened = _newly_opened(places, hosts)
                if best.hosts < 0 or opened < best.hosts:
                    best = Packing(places, opened, 0)
        return best


def _newly_opened(places: Integers, hosts: Hosts) -> int:
    used = np.unique(places[places >= 0])
    return int((~hosts.running[used]).sum())


def _allowed(guests: Guests, hosts: Hosts) -> np.ndarray:
    """Whether each guest may be on each host at all, shape (guests, hosts)."""
    book = Book(hosts)
    return np.array([book.fits(guests, i) for i in range(len(guests))]).reshape(len(guests), len(hosts))


def _candidate_hosts(hosts: Hosts, limit: int) -> list[int]:
    """Running hosts, and of equal empty ones only as many as may be opened: the others are the same again."""
    kept: list[int] = []
    alike: dict[tuple[float, ...], int] = {}
    for h in np.flatnonzero(hosts.available).tolist():
        if hosts.running[h] or hosts.used[h].any() or hosts.apart[h]:
            kept.append(h)
            continue
        key = (*hosts.capacity[h].tolist(), float(hosts.speed[h]))
        alike[key] = alike.get(key, 0) + 1
        if alike[key] <= limit:
            kept.append(h)
    return kept


def _solve_highs(guests: Guests, hosts: Hosts, limit: int, seconds: float) -> tuple[Integers | None, bool]:
    """A placement that opens at most ``limit`` hosts, or None; and whether there is certainly none.

    Variables: guest i on host h, and host h opened. Equal hosts are opened in order, which removes their symmetry.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import coo_matrix

    kept = _candidate_hosts(hosts, max(limit, 0))
    allowed = _allowed(guests, hosts)[:, kept]
    n, m = allowed.shape
    if n == 0 or m == 0 or not allowed.any(axis=1).all():
        return None, True
    opened = n * m
    rows: list[int] = []
    columns: list[int] = []
    values: list[float] = []
    low: list[float] = []
    high: list[float] = []

    def constraint(terms: list[tuple[int, float]], least: float, most: float) -> None:
        for column, value in terms:
            rows.append(len(low))
            columns.append(column)
            values.append(value)
        low.append(least)
        high.append(most)

    free = hosts.free[kept]
    for i in range(n):
        constraint([(i * m + h, 1.0) for h in range(m)], 1.0, 1.0)
    for h in range(m):
        for d in range(2):
            room = float(free[h, d])
            terms = [(i * m + h, float(guests.need[i, d]) / max(room, 1e-300)) for i in range(n) if allowed[i, h]]
            constraint([*terms, (opened + h, -1.0)], -np.inf, 1e-9)
    words: dict[str, list[int]] = {}
    for i, word in enumerate(guests.apart):
        if word:
            words.setdefault(word, []).append(i)
    for members in words.values():
        for h in range(m):
            constraint([(i * m + h, 1.0) for i in members], -np.inf, 1.0)
    new = [h for h in range(m) if not hosts.running[kept[h]]]
    if new:
        constraint([(opened + h, 1.0) for h in new], -np.inf, float(limit))
    for a, b in pairwise(new):
        if (hosts.capacity[kept[a]] == hosts.capacity[kept[b]]).all() and not hosts.used[[kept[a], kept[b]]].any():
            constraint([(opened + a, 1.0), (opened + b, -1.0)], 0.0, np.inf)
    size = n * m + m
    upper = np.concatenate([allowed.ravel().astype(float), np.ones(m)])
    cost = np.zeros(size)
    cost[[opened + h for h in new]] = 1.0
    answer = milp(
        cost,
        constraints=LinearConstraint(coo_matrix((values, (rows, columns)), shape=(len(low), size)).tocsr(), low, high),
        bounds=Bounds(np.zeros(size), upper),
        integrality=np.ones(size),
        options={"time_limit": seconds},
    )
    if answer.x is None:
        return None, answer.status == 2
    chosen = answer.x[: n * m].reshape(n, m).argmax(axis=1)
    return np.array(kept, dtype=np.int64)[chosen], False


def _solve_cp_sat(guests: Guests, hosts: Hosts, limit: int, seconds: float) -> tuple[Integers | None, bool]:
    """The same with OR-Tools CP-SAT; needs are rounded up to a grid of 10^6 a host, so no is only "not on the grid"."""
    try:
        from ortools.sat.python import cp_model
    except ImportError:
        raise ModelError("the solver cp-sat needs OR-Tools; install virtsim[optimise] or use solver='highs'") from None

    grid = 1_000_000
    kept = _candidate_hosts(hosts, max(limit, 0))
    allowed = _allowed(guests, hosts)[:, kept]
    n, m = allowed.shape
    if n == 0 or m == 0 or not allowed.any(axis=1).all():
        return None, True
    model = cp_model.CpModel()
    on = {(i, h): model.new_bool_var(f"x{i},{h}") for i in range(n) for h in range(m) if allowed[i, h]}
    opened = [model.new_bool_var(f"y{h}") for h in range(m)]
    free = hosts.free[kept]
    exact = True
    for i in range(n):
        model.add_exactly_one(on[i, h] for h in range(m) if allowed[i, h])
    for h in range(m):
        for d in range(2):
            shares = guests.need[:, d] / max(float(free[h, d]), 1e-9) * grid
            units = np.ceil(shares - 1e-6).astype(np.int64)
            exact &= bool(np.allclose(units, shares, atol=1e-6))
            model.add(sum(int(units[i]) * on[i, h] for i in range(n) if allowed[i, h]) <= grid * opened[h])
    words: dict[str, list[int]] = {}
    for i, word in enumerate(guests.apart):
        if word:
            words.setdefault(word, []).append(i)
    for members in words.values():
        for h in range(m):
            model.add_at_most_one(on[i, h] for i in members if allowed[i, h])
    new = [h for h in range(m) if not hosts.running[kept[h]]]
    model.add(sum(opened[h] for h in new) <= limit)
    for a, b in pairwise(new):
        if (hosts.capacity[kept[a]] == hosts.capacity[kept[b]]).all() and not hosts.used[[kept[a], kept[b]]].any():
            model.add_implication(opened[b], opened[a])
    model.minimize(sum(opened[h] for h in new))
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = seconds
    # Two searches in turns: as good as two threads here, and the same answer every time.
    solver.parameters.num_workers = 2
    solver.parameters.interleave_search = True
    solver.parameters.random_seed = 1
    status = solver.solve(model)
    if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        places = [next(h for h in range(m) if (i, h) in on and solver.value(on[i, h])) for i in range(n)]
        return np.array(kept, dtype=np.int64)[places], False
    return None, status == cp_model.INFEASIBLE and exact
