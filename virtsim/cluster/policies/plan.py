"""The cluster as it will be after the moves that a decision has made so far."""

from __future__ import annotations

import numpy as np

from virtsim.cluster.policies.selection import Candidates
from virtsim.cluster.policies.situation import Situation, other_words
from virtsim.cluster.policies.tables import CPU, Floats, Integers


class Plan:
    """The situation as it will be after the moves so far."""

    def __init__(self, situation: Situation) -> None:
        self.situation = situation
        hosts = situation.hosts
        self.used = hosts.used.copy()
        self.place = situation.place.copy()
        self.extra = np.zeros(len(hosts))
        self.count = np.bincount(situation.place, minlength=len(hosts))
        self.received = np.zeros(len(hosts), dtype=np.int64)
        #: Hosts in the order in which they changed.
        self.changed: list[int] = []
        self._speed = hosts.capacity[:, CPU]
        order = np.argsort(situation.place, kind="stable")
        self._sorted = order
        self._starts = np.searchsorted(situation.place[order], np.arange(len(hosts) + 1))
        self.has_words = any(situation.guests.apart)
        self.words: dict[int, list[str]] = {host: list(words) for host, words in other_words(situation).items()}
        if self.has_words:
            for guest, host in enumerate(situation.place.tolist()):
                if word := situation.guests.apart[guest]:
                    self.words.setdefault(host, []).append(word)

    def all_on(self, host: int) -> list[int]:
        """Guests on a host before any move of this decision, and still there."""
        here = self._sorted[self._starts[host] : self._starts[host + 1]].tolist()
        return [guest for guest in here if self.place[guest] == host]

    def movable_on(self, host: int) -> list[int]:
        """Those of them that may be moved."""
        return [guest for guest in self.all_on(host) if self.situation.movable[guest]]

    def take_away(self, guest: int) -> None:
        """Take a guest off its host."""
        host = int(self.place[guest])
        self._change(guest, host, -1)
        self.place[guest] = -1
        if self.has_words and (word := self.situation.guests.apart[guest]):
            self.words[host].remove(word)

    def put(self, guest: int, host: int) -> None:
        """Give a guest that was taken away a host."""
        self._change(guest, host, 1)
        self.place[guest] = host
        if self.has_words and (word := self.situation.guests.apart[guest]):
            self.words.setdefault(host, []).append(word)

    def _change(self, guest: int, host: int, sign: int) -> None:
        self.used[host] += sign * self.situation.guests.need[guest]
        self.extra[host] += sign * self.situation.demand[guest] / self._speed[host]
        self.count[host] += sign
        self.changed.append(host)
        if host != self.situation.place[guest]:
            self.received[host] += sign

    def history(self, hosts: Integers) -> Floats:
        """Load of hosts with what was planned counted as if it had been so all the time."""
        past: Floats = self.situation.host_history[hosts] + self.extra[hosts][:, None]
        return np.maximum(past, 0.0)

    def candidates(self, guests: list[int], host: int) -> Candidates:
        """These guests of a host as a selection policy sees them."""
        situation = self.situation
        return Candidates(
            tuple(situation.guests.names[i] for i in guests),
            situation.demand[guests],
            situation.guests.need[guests, 1],
            situation.guest_history[guests],
            float(situation.bandwidth[host]),
        )
