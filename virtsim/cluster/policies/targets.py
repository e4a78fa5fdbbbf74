"""Hosts that may get guests in a part of a decision."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from virtsim.cluster.policies.book import Book
from virtsim.cluster.policies.placement import OneByOne, Placement
from virtsim.cluster.policies.plan import Plan
from virtsim.cluster.policies.tables import Guests, Integers, Mask, check_answer

# Hosts that are looked at together for one with room: most often one of the first has some.
_PART = 512


class Targets:
    """Hosts that may get guests in a part of a plan: a placement policy sees them, and no others.

    Their table and the book of what is placed are kept from one question to the next, and brought up to date only
    where the plan has changed.

    Parameters
    ----------
    only_occupied : bool
        Whether hosts may get guests only while they have some.

    Attributes
    ----------
    rows : ndarray
        Their numbers.
    """

    def __init__(self, plan: Plan, allowed: Mask, only_occupied: bool = False) -> None:
        self._plan = plan
        self._only_occupied = only_occupied
        self.rows: Integers = np.flatnonzero(allowed)
        self._row = np.full(len(allowed), -1, dtype=np.int64)
        self._row[self.rows] = np.arange(len(self.rows))
        self._closed: set[int] = set()
        self._seen = len(plan.changed)
        hosts = plan.situation.hosts.rows(self.rows)
        used = plan.used[self.rows]
        self._free = (hosts.capacity - used).T.copy()
        self._on = hosts.running
        apart = [frozenset(plan.words.get(host, ())) for host in self.rows.tolist()] if plan.has_words else []
        occupied = plan.count[self.rows] > 0
        available = occupied.copy() if only_occupied else np.ones(len(self.rows), dtype=bool)
        self._hosts = hosts.with_state(np.maximum(used, 0.0), available, self._on | occupied, apart)
        self._apart = apart
        self._book: Book | None = None

    def close(self, row: int) -> None:
        """Let a host get no more guests until further notice."""
        self._closed.add(row)
        self._update([row])

    def reopen(self, but: int) -> None:
        """Let all hosts get guests again, except for the one with the number ``but``."""
        rows = [*self._closed, int(self._row[but])]
        self._closed = {rows[-1]}
        self._update(row for row in rows if row >= 0)

    def any_open(self) -> bool:
        """Whether a host may get guests."""
        self._follow()
        return bool(self._hosts.available.any())

    def places(self, placement: Placement, guests: Guests, random: np.random.Generator) -> Integers:
        """Where a policy puts guests, by row; the hosts stay as they are."""
        self._follow()
        name = type(placement).__name__
        if not isinstance(placement, OneByOne) or type(placement).place is not OneByOne.place:
            state = self._hosts
            hosts = state.with_state(state.used.copy(), state.available.copy(), state.running.copy(), list(self._apart))
            return check_answer(placement.place(guests, hosts, random), guests, hosts, name)
        if self._book is None:
            self._book = Book(self._hosts)
        answer = check_answer(placement.place_into(guests, self._book, random), guests, self._hosts, name)
        self._update(dict.fromkeys(row for row in answer.tolist() if row >= 0))
        return answer

    def could_take(self, guests: list[int]) -> bool:
        """Whether the largest guest fits on any of them at all: most hosts that cannot be emptied fail here."""
        self._follow()
        need = self._plan.situation.guests.need[guests].max(axis=0)
        for start in range(0, len(self.rows), _PART):
            some = slice(start, start + _PART)
            able = (self._free[0, some] >= need[0]) & (self._free[1, some] >= need[1]) & self._hosts.available[some]
            if able.any():
                return True
        return False

    def _follow(self) -> None:
        """Bring up to date what the plan has changed."""
        changed = self._plan.changed
        if self._seen < len(changed):
            rows = dict.fromkeys(int(self._row[host]) for host in changed[self._seen :])
            self._seen = len(changed)
            self._update(row for row in rows if row >= 0)

    def _update(self, rows: Iterable[int]) -> None:
        plan, hosts = self._plan, self._hosts
        for row in rows:
            host = int(self.rows[row])
            for column, used in enumerate(plan.used[host].tolist()):
                self._free[column, row] = hosts.capacity[row, column] - used
                hosts.used[row, column] = max(used, 0.0)
            occupied = plan.count[host] > 0
            hosts.available[row] = row not in self._closed and (occupied or not self._only_occupied)
            hosts.running[row] = self._on[row] or occupied
            if plan.has_words:
                self._apart[row] = frozenset(plan.words.get(host, ()))
            if self._book is not None:
                self._book.reread(row)
