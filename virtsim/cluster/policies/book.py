"""The state of a placement in progress."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import numpy as np

from virtsim.cluster.policies.curves import watts_at
from virtsim.cluster.policies.tables import CPU, MEMORY, ROUNDING, Floats, Guests, Hosts, Integers, Mask


class Follower(Protocol):
    """What is kept up to date with a book."""

    def follow(self, host: int) -> None:
        """A host's entry has changed."""
        ...


_Kept = TypeVar("_Kept", bound=Follower)


class Book:
    """The state of a placement in progress: who is where so far.

    Attributes
    ----------
    free : ndarray, shape (m, 2)
        What is left.
    opened : ndarray of bool
        Hosts that run, or have got a guest.
    """

    def __init__(self, hosts: Hosts) -> None:
        self.hosts = hosts
        self.free = hosts.free
        self.slack = hosts.capacity * ROUNDING
        # A row each, so that a column is read in one go.
        self._room = (self.free + self.slack).T.copy()
        self.opened = hosts.running.copy()
        # What was put here; words are looked up only for guests that have some.
        self._apart: dict[int, set[str]] = {}
        self._together: dict[int, set[str]] = {}
        self._watts: Floats | None = None
        self._changed: dict[int, None] = {}
        self._followers: dict[object, Follower] = {}

    def follower(self, kind: Callable[[Book], _Kept]) -> _Kept:
        """One of this kind that goes with the book; made when it is first asked for."""
        if kind not in self._followers:
            self._followers[kind] = kind(self)
        return self._followers[kind]  # type: ignore[return-value]

    def fits(self, guests: Guests, i: int) -> Mask:
        """Hosts that may take guest ``i`` now."""
        need = guests.need[i]
        mask: Mask = self._room[CPU] >= need[CPU]
        mask &= self._room[MEMORY] >= need[MEMORY]
        mask &= self.hosts.available
        if guests.speed[i] > 0:
            mask &= self.hosts.speed >= guests.speed[i]
        word = guests.apart[i]
        if word:
            mask &= ~_with_word(word, self.hosts.apart, self._apart)
        return mask

    def fits_on(self, guests: Guests, i: int, hosts: Integers) -> Mask:
        """Which of these hosts may take guest ``i`` now."""
        mask = self.room_on(guests, i, hosts)
        word = guests.apart[i]
        if word:
            there, put = self.hosts.apart, self._apart
            mask &= [word not in there[host] and word not in put.get(host, ()) for host in hosts.tolist()]
        return mask

    def room_on(self, guests: Guests, i: int, hosts: Integers) -> Mask:
        """Which of these hosts have room for guest ``i`` now, whoever is there."""
        need = guests.need[i]
        mask: Mask = self._room[CPU, hosts] >= need[CPU]
        mask &= self._room[MEMORY, hosts] >= need[MEMORY]
        mask &= self.hosts.available[hosts]
        if guests.speed[i] > 0:
            mask &= self.hosts.speed[hosts] >= guests.speed[i]
        return mask

    def has_room(self, guests: Guests, i: int, host: int) -> bool:
        """Whether this host has room for guest ``i`` now, whoever is there."""
        cpu, memory = guests.need[i].tolist()
        return bool(
            self._room[CPU, host] >= cpu
            and self._room[MEMORY, host] >= memory
            and self.hosts.available[host]
            and (guests.speed[i] <= 0 or self.hosts.speed[host] >= guests.speed[i])
        )

    def likes(self, guests: Guests, i: int) -> Mask | None:
        """Hosts with guests that ``i`` wants to be with; None if it has no such wish."""
        word = guests.together[i]
        return _with_word(word, self.hosts.together, self._together) if word else None

    def watts(self, load: Floats) -> Floats:
        """Power of all hosts at their present ``load``, W; kept, and found anew only where something changed."""
        if self._watts is None:
            self._watts = np.where(self.opened, watts_at(self.hosts.watts, load), 0.0)
        elif self._changed:
            some = np.array(list(self._changed))
            self._watts[some] = np.where(self.opened[some], watts_at(self.hosts.watts[some], load[some]), 0.0)
        self._changed.clear()
        return self._watts

    def put(self, guests: Guests, i: int, host: int) -> None:
        """Place guest ``i``."""
        self.free[host] -= guests.need[i]
        self.opened[host] = True
        if guests.apart[i]:
            self._apart.setdefault(host, set()).add(guests.apart[i])
        if guests.together[i]:
            self._together.setdefault(host, set()).add(guests.together[i])
        self._tell(host)

    def reread(self, host: int) -> None:
        """Forget what was put on a host, and take what its table says now."""
        self.free[host] = self.hosts.capacity[host] - self.hosts.used[host]
        self.opened[host] = self.hosts.running[host]
        self._apart.pop(host, None)
        self._together.pop(host, None)
        self._tell(host)

    def _tell(self, host: int) -> None:
        for column in (CPU, MEMORY):
            self._room[column, host] = self.free[host, column] + self.slack[host, column]
        self._changed[host] = None
        for follower in self._followers.values():
            follower.follow(host)


def _with_word(word: str, there: Sequence[frozenset[str]], put: dict[int, set[str]]) -> Mask:
    """Hosts on which a guest with this word is."""
    mask: Mask = np.array([word in words for words in there], dtype=bool)
    mask[[host for host, words in put.items() if word in words]] = True
    return mask
