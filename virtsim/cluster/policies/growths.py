"""What a guest would add to the power of each host, kept for needs that are asked for again and again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from virtsim.cluster.policies.curves import watts_of, watts_on
from virtsim.cluster.policies.shelves import Shelves
from virtsim.cluster.policies.tables import CPU, MEMORY, Floats, Guests, Integers

if TYPE_CHECKING:
    from virtsim.cluster.policies.book import Book

# Hosts of a kind from which on a need that is new is better looked for on shelves than on all hosts.
_MANY = 4000
# Needs that are kept at once.
_KEPT = 128
# Hosts up to which one by one is quicker than all at once.
_FEW = 10


@dataclass
class _Kept:
    """Growth of each host's power with one need, W, infinite without room; as of so many changes."""

    growth: Floats
    seen: int


class Growths:
    """The hosts of a placement in progress, by what a guest would add to their power.

    Needs repeat, because demand is measured in whole percent and guests are placed in the order of their needs. What a
    need adds to each host is therefore kept, and found anew only for hosts that have changed since. What is chosen is
    what a look at every host would choose, to the bit, the first of equals included.

    Parameters
    ----------
    book : Book
        The state of the placement; what changes there is followed.
    """

    def __init__(self, book: Book) -> None:
        self._book = book
        self._points = book.hosts.watts.ravel()
        self._speed = book.hosts.capacity[:, CPU].copy()
        self._everyone = np.arange(len(book.hosts))
        self._changed: list[int] = []
        self._kept: dict[tuple[float, float, float], _Kept] = {}
        self._new: set[tuple[float, float, float]] = set()

    def follow(self, host: int) -> None:
        """A host's entry has changed."""
        self._changed.append(host)

    def cheapest(self, guests: Guests, i: int) -> int:
        """The host with room whose power grows least with guest ``i``, the first of equals; -1 if none has room."""
        need = (float(guests.need[i, CPU]), float(guests.need[i, MEMORY]), float(guests.speed[i]))
        kept = self._kept.get(need)
        if kept is None and need not in self._new and len(self._speed) >= _MANY:
            self._new.add(need)
            shelves = self._book.follower(Shelves)
            if len(self._speed) >= _MANY * shelves.kinds:
                return shelves.cheapest(guests, i)
        growth = self._keep(guests, i, need) if kept is None else self._renew(guests, i, kept)
        if guests.apart[i]:
            growth = np.where(self._book.fits(guests, i), growth, np.inf)
        host = int(growth.argmin())
        return host if growth[host] < np.inf else -1

    def _keep(self, guests: Guests, i: int, need: tuple[float, float, float]) -> Floats:
        if len(self._kept) >= _KEPT:
            self._kept.clear()
        kept = self._kept[need] = _Kept(self._growth(guests, i, self._everyone), len(self._changed))
        return kept.growth

    def _renew(self, guests: Guests, i: int, kept: _Kept) -> Floats:
        changed = dict.fromkeys(self._changed[kept.seen :])
        if len(changed) > _FEW:
            hosts = np.array(list(changed))
            kept.growth[hosts] = self._growth(guests, i, hosts)
        else:
            for host in changed:
                kept.growth[host] = self._growth_of(guests, i, host)
        kept.seen = len(self._changed)
        return kept.growth

    def _growth(self, guests: Guests, i: int, hosts: Integers) -> Floats:
        """What the guest adds to the power of these hosts, W, whoever it must be apart from."""
        book, speed, row = self._book, self._speed[hosts], hosts * 11
        load = 1 - book.free[hosts, CPU] / speed
        growth = watts_on(self._points, row, load + guests.need[i, CPU] / speed)
        growth -= np.where(book.opened[hosts], watts_on(self._points, row, load), 0.0)
        growth[~book.room_on(guests, i, hosts)] = np.inf
        return growth

    def _growth_of(self, guests: Guests, i: int, host: int) -> float:
        """The same on one host, in the same steps."""
        book = self._book
        if not book.has_room(guests, i, host):
            return np.inf
        speed = float(self._speed[host])
        load = 1 - float(book.free[host, CPU]) / speed
        curve = book.hosts.watts[host].tolist()
        growth = watts_of(curve, load + float(guests.need[i, CPU]) / speed)
        return growth - watts_of(curve, load) if book.opened[host] else growth
