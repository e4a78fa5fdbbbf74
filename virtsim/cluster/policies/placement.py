"""Placement: which host takes which guest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Protocol

import numpy as np

from virtsim.cluster.policies.book import Book
from virtsim.cluster.policies.curves import watts_at
from virtsim.cluster.policies.growths import Growths
from virtsim.cluster.policies.tables import CPU, Floats, Guests, Hosts, Integers
from virtsim.core.registry import Registry


class Placement(Protocol):
    """What a placement policy is: give every guest a host, or -1.

    A policy may declare ``breaks``, names of laws of :mod:`virtsim.testing` that it is known not to keep, and
    ``ratio``, ``(a, b)`` if it never uses more than ``a * optimum + b`` equal hosts in one dimension.
    """

    def place(self, guests: Guests, hosts: Hosts, random: np.random.Generator) -> Integers:
        """Host number of each guest; -1 where there is none for it."""
        ...


PLACEMENTS: Registry[type[Placement]] = Registry("placement policy")

#: Greedy placement is not monotone: with more room it may take another turn, and end worse.
ANOMALY = "capacity-helps"


class OneByOne:
    """Base of greedy policies: guests in an order, each to the open host with the least score.

    A host that is off is opened only if no running one fits, which is what "fit" means in bin packing (unless
    ``opens_last`` is False). A subclass
    gives :meth:`score`; and :meth:`order` if the order is not the given one.

    References
    ----------
    E. G. Coffman et al., "Bin packing approximation algorithms: survey and classification", Handbook of
    Combinatorial Optimization, 2013. R. L. Graham, "Bounds on multiprocessing timing anomalies", SIAM J. Appl.
    Math. 17(2), 1969 (why more room may not help).
    """

    breaks: ClassVar[frozenset[str]] = frozenset({ANOMALY})
    ratio: ClassVar[tuple[float, float] | None] = None
    #: Whether a host is opened only if no running one fits.
    opens_last: ClassVar[bool] = True

    def place(self, guests: Guests, hosts: Hosts, random: np.random.Generator) -> Integers:
        """See :class:`Placement`."""
        return self.place_into(guests, Book(hosts), random)

    def place_into(self, guests: Guests, book: Book, random: np.random.Generator) -> Integers:
        """The same where guests were placed before; the book has the new ones afterwards, too."""
        places = np.full(len(guests), -1, dtype=np.int64)
        for i in self.order(guests, book.hosts).tolist():
            host = self.choose(guests, i, book, random)
            if host >= 0:
                places[i] = host
                book.put(guests, i, host)
        return places

    def choose(self, guests: Guests, i: int, book: Book, random: np.random.Generator) -> int:
        """Host of guest ``i``, or -1, by the scores of all hosts."""
        fits = book.fits(guests, i)
        if not fits.any():
            return -1
        wanted = book.likes(guests, i)
        for preferred in (wanted, book.opened if self.opens_last else None):
            if preferred is not None and (fits & preferred).any():
                fits = fits & preferred
        scores = np.where(fits, self.score(guests.need[i], book, random), np.inf)
        return int(scores.argmin())

    def order(self, guests: Guests, hosts: Hosts) -> Integers:
        """Numbers of the guests, in the order in which they are placed."""
        return np.arange(len(guests))

    def score(self, need: Floats, book: Book, random: np.random.Generator) -> Floats:
        """One number a host; the least that fits wins, the first of equals."""
        raise NotImplementedError


def decreasing_order(guests: Guests, hosts: Hosts) -> Integers:
    """Largest first, by the sum of the needs as shares of the mean host (FFDSum); equals by name.

    References
    ----------
    R. Panigrahy et al., "Heuristics for vector bin packing", Microsoft Research, 2011.
    """
    size = (guests.need / hosts.capacity.mean(axis=0)).sum(axis=1)
    return np.array(sorted(range(len(guests)), key=lambda i: (-size[i], guests.names[i])), dtype=np.int64)


def _residual(need: Floats, book: Book) -> Floats:
    """What would be left on each host, as a sum of shares."""
    left: Floats = ((book.free - need) / book.hosts.capacity).sum(axis=1)
    return left


@PLACEMENTS.register("first-fit")
class FirstFit(OneByOne):
    """The first running host with room, else the first host. At most floor(1.7 OPT) equal hosts.

    References
    ----------
    G. Dósa, J. Sgall, "First Fit bin packing: a tight analysis", STACS 2013.
    """

    ratio = (1.7, 0.0)

    def score(self, need: Floats, book: Book, random: np.random.Generator) -> Floats:
        """See :meth:`OneByOne.score`."""
        return np.arange(len(book.hosts), dtype=float)


@PLACEMENTS.register("best-fit")
class BestFit(OneByOne):
    """The running host that is fullest afterwards. At most floor(1.7 OPT) equal hosts.

    References
    ----------
    G. Dósa, J. Sgall, "Optimal analysis of Best Fit bin packing", ICALP 2014.
    """

    ratio = (1.7, 0.0)

    def score(self, need: Floats, book: Book, random: np.random.Generator) -> Floats:
        """See :meth:`OneByOne.score`."""
        return _residual(need, book)


@PLACEMENTS.register("worst-fit")
class WorstFit(OneByOne):
    """The running host that is emptiest: spreads the load over the hosts that are on. At most 2 OPT equal hosts.

    References
    ----------
    D. S. Johnson, "Near-optimal bin packing algorithms", thesis, MIT, 1973.
    """

    ratio = (2.0, 0.0)

    def score(self, need: Floats, book: Book, random: np.random.Generator) -> Floats:
        """See :meth:`OneByOne.score`."""
        return -_residual(need, book)


class _Decreasing(OneByOne):
    def order(self, guests: Guests, hosts: Hosts) -> Integers:
        return decreasing_order(guests, hosts)


@PLACEMENTS.register("first-fit-decreasing")
class FirstFitDecreasing(_Decreasing, FirstFit):
    """First fit, largest guests first. At most 11/9 OPT + 6/9 equal hosts.

    References
    ----------
    G. Dósa, "The tight bound of First Fit Decreasing bin-packing algorithm is FFD(I) <= 11/9 OPT(I) + 6/9", 2007.
    """

    ratio = (11 / 9, 6 / 9)


@PLACEMENTS.register("best-fit-decreasing")
class BestFitDecreasing(_Decreasing, BestFit):
    """Best fit, largest guests first. At most 11/9 OPT + 4 equal hosts, and never more than 3/2 OPT.

    References
    ----------
    D. S. Johnson et al., "Worst-case performance bounds for simple one-dimensional packing algorithms", SIAM J.
    Comput. 3(4), 1974; D. Simchi-Levi, "New worst-case results for the bin-packing problem", 1994 (3/2).
    """

    ratio = (1.5, 0.0)


@PLACEMENTS.register("worst-fit-decreasing")
class WorstFitDecreasing(_Decreasing, WorstFit):
    """Worst fit, largest guests first. At most 2 OPT equal hosts, as for every fit that opens a host last."""

    ratio = (2.0, 0.0)


@PLACEMENTS.register("power-aware-best-fit-decreasing")
class PowerAwareBestFitDecreasing(OneByOne):
    """The host whose power grows least, most demanding guests first (PABFD); waking a host costs its idle power.

    References
    ----------
    A. Beloglazov, R. Buyya, CCPE 24(13), 2012, algorithm 2 — with the present load as the baseline, and without
    the reference simulator's free idle power.
    """

    opens_last = False

    def choose(self, guests: Guests, i: int, book: Book, random: np.random.Generator) -> int:
        """The same host as by the scores of all, from what is kept of earlier guests."""
        if type(self).score is not PowerAwareBestFitDecreasing.score or guests.together[i]:
            return super().choose(guests, i, book, random)
        return book.follower(Growths).cheapest(guests, i)

    def order(self, guests: Guests, hosts: Hosts) -> Integers:
        """See :meth:`OneByOne.order`."""
        cpu = guests.need[:, CPU]
        return np.array(sorted(range(len(guests)), key=lambda i: (-cpu[i], guests.names[i])), dtype=np.int64)

    def score(self, need: Floats, book: Book, random: np.random.Generator) -> Floats:
        """See :meth:`OneByOne.score`."""
        hosts = book.hosts
        capacity = hosts.capacity[:, CPU]
        load = 1 - book.free[:, CPU] / capacity
        return watts_at(hosts.watts, load + need[CPU] / capacity) - book.watts(load)


@PLACEMENTS.register("dot-product")
class DotProduct(_Decreasing):
    """The running host whose free room points most in the direction of the need (vector packing).

    Score: the dot product of need and free room, both as shares of the host, is largest.

    References
    ----------
    R. Panigrahy et al., "Heuristics for vector bin packing", 2011, section 3.3; A. Singh et al., "Server-storage
    virtualization: integration and load balancing in data centers", SC 2008 (VectorDot).
    """

    def score(self, need: Floats, book: Book, random: np.random.Generator) -> Floats:
        """See :meth:`OneByOne.score`."""
        capacity = book.hosts.capacity
        dot: Floats = -(need / capacity * (book.free / capacity)).sum(axis=1)
        return dot


@PLACEMENTS.register("l2-norm")
class L2Norm(_Decreasing):
    """The running host whose free room differs least from the need: the sum of squares is smallest.

    References
    ----------
    R. Panigrahy et al., "Heuristics for vector bin packing", 2011, section 3.3.
    """

    def score(self, need: Floats, book: Book, random: np.random.Generator) -> Floats:
        """See :meth:`OneByOne.score`."""
        distance: Floats = (((book.free - need) / book.hosts.capacity) ** 2).sum(axis=1)
        return distance


@PLACEMENTS.register("random")
class RandomFit(OneByOne):
    """Any running host with room, with equal chances, else any host: the control of an experiment."""

    def score(self, need: Floats, book: Book, random: np.random.Generator) -> Floats:
        """See :meth:`OneByOne.score`."""
        return random.random(len(book.hosts))


def load_placement(name: str, options: Mapping[str, object] | None = None, path: str = "placement") -> Placement:
    """A new policy by name; ``options`` are its keyword arguments, ``path`` is where an error says the name is."""
    from virtsim.cluster.policies import exact, orchestration  # noqa: F401 - they register themselves

    return PLACEMENTS.get(name, path)(**(options or {}))
