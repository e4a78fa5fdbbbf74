"""Container orchestration: placement as Kubernetes means it.

A container *requests* what the scheduler keeps for it and may use up to its *limit*; here the request is a guest's
need. Filters first (room, anti-affinity), then scores from 0 to 100, as the scheduler's plugins give them.

References
----------
Kubernetes documentation, "Scheduling framework", "Resource bin packing", "Assigning pods to nodes" (1.30); plugins
NodeResourcesFit (LeastAllocated, MostAllocated), NodeResourcesBalancedAllocation, InterPodAffinity.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from virtsim.cluster.policies.book import Book
from virtsim.cluster.policies.placement import ANOMALY, PLACEMENTS
from virtsim.cluster.policies.tables import Floats, Guests, Hosts, Integers


class _Orchestrator:
    """Base: containers in the order of their arrival, each to the node with the highest score."""

    breaks: ClassVar[frozenset[str]] = frozenset({ANOMALY})
    ratio: ClassVar[tuple[float, float] | None] = None
    #: Weight of being with containers that one wants to be with, in points of the score.
    affinity_weight: ClassVar[float] = 100.0

    def place(self, guests: Guests, hosts: Hosts, random: np.random.Generator) -> Integers:
        """See :class:`~virtsim.cluster.policies.placement.Placement`."""
        book = Book(hosts)
        places = np.full(len(guests), -1, dtype=np.int64)
        for i in range(len(guests)):
            fits = book.fits(guests, i)
            if not fits.any():
                continue
            score = self.score(guests.need[i], book)
            wanted = book.likes(guests, i)
            if wanted is not None:
                score = score + self.affinity_weight * wanted
            host = int(np.where(fits, score, -np.inf).argmax())
            places[i] = host
            book.put(guests, i, host)
        return places

    def score(self, need: Floats, book: Book) -> Floats:
        """Points of each node, 0 to 100."""
        raise NotImplementedError


def _free_share(need: Floats, book: Book) -> Floats:
    """Share of each resource that is free with the container on the node, shape (nodes, 2)."""
    share: Floats = np.clip((book.free - need) / book.hosts.capacity, 0.0, 1.0)
    return share


@PLACEMENTS.register("spread")
class Spread(_Orchestrator):
    """LeastAllocated with BalancedAllocation: the node with the most room left, evenly over the resources."""

    def score(self, need: Floats, book: Book) -> Floats:
        """Mean of the free share, and of 1 minus the standard deviation of the used shares, each times 100."""
        free = _free_share(need, book)
        points: Floats = 50 * free.mean(axis=1) + 50 * (1 - (1 - free).std(axis=1))
        return points


@PLACEMENTS.register("bin-pack")
class BinPack(_Orchestrator):
    """MostAllocated: the fullest node that has room, so that others can be let go."""

    def score(self, need: Floats, book: Book) -> Floats:
        """100 times the mean of the used shares."""
        points: Floats = 100 * (1 - _free_share(need, book).mean(axis=1))
        return points
