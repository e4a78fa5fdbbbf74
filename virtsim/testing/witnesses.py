"""Small instances that are known to trip greedy policies: tried before a long search."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from virtsim.cluster.policies.selection import Candidates
from virtsim.cluster.policies.situation import Situation
from virtsim.cluster.policies.tables import Guests, Hosts


def _packing(needs: list[tuple[float, float]], rooms: list[tuple[float, float]]) -> tuple[Guests, Hosts]:
    return (
        Guests([f"g{i}" for i in range(len(needs))], np.array(needs, dtype=float)),
        Hosts([f"h{i}" for i in range(len(rooms))], np.array(rooms, dtype=float)),
    )


def _crowd(demand: list[float], hosts: int) -> tuple[Situation]:
    """All guests on the first of some equal hosts, each asking for the same all the time."""
    share = np.array(demand) / 100
    load = np.array([share.sum()] + [0.0] * (hosts - 1))
    guests, machines = _packing([(cpu, 1) for cpu in demand], [_SMALL] * hosts)
    used = np.zeros((hosts, 2))
    used[0] = guests.need.sum(axis=0)
    return (
        Situation(
            guests,
            replace(machines, used=used, running=load > 0),
            place=np.zeros(len(demand), dtype=int),
            demand=np.array(demand),
            host_history=np.repeat(load[:, None], 12, axis=1),
            guest_history=np.repeat(share[:, None], 12, axis=1),
            movable=np.ones(len(demand), dtype=bool),
            receiving=np.zeros(hosts, dtype=bool),
            bandwidth=np.full(hosts, 1.25e8),
        ),
    )


_SMALL, _FAST, _LARGE = (100, 100), (200, 100), (100, 200)

#: Instances by law.
WITNESSES: dict[str, list[tuple[Any, ...]]] = {
    "capacity-helps": [
        _packing([(41, 1), (60, 1), (5, 41), (5, 60)], [_SMALL, _FAST]),
        _packing([(41, 1), (60, 1), (5, 41), (5, 60)], [_SMALL, _SMALL]),
        _packing([(0, 28), (0, 28), (0, 45), (41, 18), (60, 60)], [_SMALL, _FAST]),
        _packing([(0, 25), (0, 52), (1, 24), (50, 19), (55, 35)], [_SMALL, _FAST]),
        _packing([(0, 45), (0, 60), (41, 1), (60, 1)], [_FAST, _SMALL]),
        _packing([(8, 41), (8, 60), (44, 1), (49, 1), (49, 1), (49, 1)], [_SMALL, _SMALL, _LARGE]),
        _packing([(0, 1), (53, 1), (60, 1), (8, 1), (0, 40), (8, 60)], [_SMALL, _SMALL]),
        _packing([(2, 2), (0, 1), (0, 43), (41, 60), (60, 60)], [_LARGE, _FAST]),
        _packing([(0, 41), (0, 60), (48, 5), (53, 5)], [_SMALL, _FAST]),
    ],
    "more-load-is-no-relief": [
        (np.array([[0.0] * 5 + [0.9] * 6 + [0.5]]),),
        (np.array([[0.0] * 3 + [0.7] * 8 + [0.3]]),),
        (np.array([[0.0] * 11 + [0.11, 0.0, 0.21, 0.63, 0.3, 0.62, 0.7, 0.94, 0.0]]),),
    ],
    "steady-load-comes-to-rest": [_crowd([37.0, 45.0, 6.0, 32.0, 19.0], 3)],
    "order-of-guests-does-not-matter": [
        (Candidates(("g0", "g1"), np.array([0.0, 10.0]), np.array([1.0, 2.0]), np.array([[0.0] * 20, [0.01] * 20])),),
    ],
}
