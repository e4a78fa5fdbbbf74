"""Hosts by kind and load, so that the one whose power grows least is found without a look at all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from virtsim.cluster.policies.curves import watts_of, watts_on
from virtsim.cluster.policies.tables import CPU, MEMORY, Floats, Guests, Integers

if TYPE_CHECKING:
    from virtsim.cluster.policies.book import Book
    from virtsim.cluster.policies.tables import Hosts

#: Shelves for the load of one kind of host; a multiple of ten, as power curves have a corner at each tenth.
_LEVELS = 40
# One more, for hosts on which nothing is: they are all equal, so that one stands for all.
_EMPTY = _LEVELS
_WIDTH = _LEVELS + 1
_NOWHERE = -1
_LOW = np.append(np.arange(_LEVELS) / _LEVELS, 0.0)
_HIGH = np.append(np.arange(1, _LEVELS + 1) / _LEVELS, 0.0)
_TENTHS = np.arange(11) / 10
# Hosts that are looked at in the first round at least; each later round takes so many times as many.
_FIRST_ROUND, _GROWTH = 100, 4
# Orders of shelves that are kept, by need.
_KEPT = 4096


class Shelves:
    """The hosts of a placement in progress, on shelves by their kind, whether they run, and their load.

    Between two corners of its curve a host's power grows linearly with its load. So the least growth of power that a
    guest can cause on a shelf is found from the shelf's ends and one corner, and hosts are looked at one by one only
    on shelves where it is not above the best found so far. What is chosen is what a look at every host would choose,
    to the bit, the first of equals included.

    Parameters
    ----------
    book : Book
        The state of the placement; what changes there is followed.
    """

    def __init__(self, book: Book) -> None:
        self._book = book
        hosts = book.hosts
        self._kind, first = _kinds(hosts)
        self._room_for = hosts.capacity[first].tolist()
        self._curves = hosts.watts[first].tolist()
        self._points = hosts.watts.ravel()
        self._margin = 1e-9 * float(np.abs(self._points).max(initial=1.0))
        self._speed = hosts.capacity[:, CPU].copy()
        self._load = 1 - book.free[:, CPU] / self._speed
        everyone = np.arange(len(hosts))
        self._watts = np.where(book.opened, watts_on(self._points, everyone * 11, self._load), 0.0)
        level = np.clip((self._load * _LEVELS).astype(np.int64), 0, _LEVELS - 1)
        level[(book.free == hosts.capacity).all(axis=1)] = _EMPTY
        self._shelf: Integers = (self._kind * 2 + book.opened) * _WIDTH + level
        self._shelf[~hosts.available] = _NOWHERE
        self._members: list[Integers] = [everyone[:0]] * (len(first) * 2 * _WIDTH)
        order = np.argsort(self._shelf, kind="stable")
        numbers, starts = np.unique(self._shelf[order], return_index=True)
        for number, part in zip(numbers.tolist(), np.split(order, starts[1:])):
            if number != _NOWHERE:
                self._members[number] = part
        self._stale: set[int] = set()
        self._orders: dict[float, list[tuple[float, int]]] = {}

    @property
    def kinds(self) -> int:
        """Number of different kinds of host."""
        return len(self._curves)

    def follow(self, host: int) -> None:
        """A host's entry has changed; it goes to where it belongs before the next search."""
        self._stale.add(host)

    def _sort_in(self, host: int) -> None:
        book = self._book
        kind, opened = int(self._kind[host]), bool(book.opened[host])
        speed, memory = self._room_for[kind]
        free = float(book.free[host, CPU])
        load = 1 - free / speed
        self._load[host] = load
        self._watts[host] = watts_of(self._curves[kind], load) if opened else 0.0
        if not book.hosts.available[host]:
            new = _NOWHERE
        else:
            empty = free == speed and float(book.free[host, MEMORY]) == memory
            level = _EMPTY if empty else min(max(int(load * _LEVELS), 0), _LEVELS - 1)
            new = (kind * 2 + opened) * _WIDTH + level
        old = int(self._shelf[host])
        if old == new:
            return
        self._shelf[host] = new
        if old != _NOWHERE:
            members = self._members[old]
            self._members[old] = members[members != host]
        if new != _NOWHERE:
            self._members[new] = np.append(self._members[new], host)

    def cheapest(self, guests: Guests, i: int) -> int:
        """The host with room whose power grows least with guest ``i``, the first of equals; -1 if none has room."""
        while self._stale:
            self._sort_in(self._stale.pop())
        need = float(guests.need[i, CPU])
        best, chosen, enough = np.inf, -1, _FIRST_ROUND
        round_, count = [], 0
        alike = not guests.apart[i]
        for bound, shelf in self._order(need):
            # No host of a later shelf can be as good as the best.
            if bound > best:
                break
            members = self._members[shelf]
            if not members.size:
                continue
            round_.append(members.min(keepdims=True) if alike and shelf % _WIDTH == _EMPTY else members)
            count += round_[-1].size
            if count >= enough:
                best, chosen = self._look(guests, i, np.concatenate(round_), best, chosen)
                round_, count, enough = [], 0, enough * _GROWTH
        if round_:
            best, chosen = self._look(guests, i, np.concatenate(round_), best, chosen)
        return chosen

    def _look(self, guests: Guests, i: int, hosts: Integers, best: float, chosen: int) -> tuple[float, int]:
        """The best of these hosts and of the best so far."""
        hosts = hosts[self._book.fits_on(guests, i, hosts)]
        if not hosts.size:
            return best, chosen
        load = self._load[hosts] + guests.need[i, CPU] / self._speed[hosts]
        growth = watts_on(self._points, hosts * 11, load)
        growth -= self._watts[hosts]
        least = float(growth.min())
        first = int(hosts[growth == least].min())
        return min((best, chosen), (least, first)) if chosen >= 0 else (least, first)

    def _order(self, need: float) -> list[tuple[float, int]]:
        """Shelves where a guest of this need may have room, by the least that the power of a host there grows by."""
        order = self._orders.get(need)
        if order is None:
            bound = self._bounds(need)
            shelves = np.argsort(bound)
            order = [(b, s) for b, s in zip(bound[shelves].tolist(), shelves.tolist()) if b < np.inf]
            if len(self._orders) >= _KEPT:
                self._orders.clear()
            self._orders[need] = order
        return order

    def _bounds(self, need: float) -> Floats:
        """What the power of a host on each shelf grows by at least, W; infinite where no host can have room."""
        parts = []
        for (speed, _), curve in zip(self._room_for, self._curves):
            share = need / speed
            # The load from which the guest takes a host to a corner of its curve, if it is on the shelf.
            corner = np.clip(np.ceil((_LOW + share) * 10) / 10 - share, _LOW, _HIGH)
            places = np.stack([_LOW, _HIGH, corner])
            after = np.interp(places + share, _TENTHS, curve)
            grown = after - np.interp(places, _TENTHS, curve)
            for least in (after.min(axis=0), grown.min(axis=0)):
                least[_LOW + share > 1 + 1e-6] = np.inf
                parts.append(least - self._margin)
        return np.concatenate(parts)


def _kinds(hosts: Hosts) -> tuple[Integers, Integers]:
    """A number for each host, equal where capacity, speed and power curve are; and the first host of each number."""
    columns = np.column_stack([hosts.capacity[:, CPU], hosts.capacity[:, MEMORY], hosts.speed, hosts.watts])
    if (columns == columns[:1]).all():
        return np.zeros(len(hosts), dtype=np.int64), np.zeros(min(1, len(hosts)), dtype=np.int64)
    _, first, kind = np.unique(columns, axis=0, return_index=True, return_inverse=True)
    return kind.ravel().astype(np.int64), first.astype(np.int64)
