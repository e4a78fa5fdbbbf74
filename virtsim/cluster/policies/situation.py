"""The cluster as a consolidation policy sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import index
from typing import NamedTuple

import numpy as np

from virtsim.cluster.policies.tables import Floats, Guests, Hosts, Integers, Mask, check_answer
from virtsim.core.errors import ModelError


class Move(NamedTuple):
    """A guest, by number, and the number of the host it shall go to."""

    guest: int
    host: int


@dataclass(frozen=True)
class Situation:
    """The cluster at a decision.

    Attributes
    ----------
    guests : Guests
        All guests that run; ``need`` has what they ask for now, and not less than what is reserved for them.
    hosts : Hosts
        All hosts; ``used`` is the sum of their guests' needs.
    place : ndarray
        Host number of each guest.
    demand : ndarray, MIPS
        CPU that each guest asks for now.
    host_history : ndarray, shape (hosts, samples)
        CPU demand on each host as a share of its speed, the present last.
    guest_history : ndarray, shape (guests, samples)
        CPU demand of each guest as a share of its limit.
    movable : ndarray of bool
        Guests that may be moved (not those under way, or that moved a moment ago).
    receiving : ndarray of bool
        Hosts to which a guest is on its way.
    bandwidth : ndarray, bytes per second
        Link of each host.
    """

    guests: Guests
    hosts: Hosts
    place: Integers
    demand: Floats
    host_history: Floats
    guest_history: Floats
    movable: Mask = field(default_factory=lambda: np.zeros(0, dtype=bool))
    receiving: Mask = field(default_factory=lambda: np.zeros(0, dtype=bool))
    bandwidth: Floats = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        n, m = len(self.guests), len(self.hosts)
        if len(self.movable) != n:
            object.__setattr__(self, "movable", np.ones(n, dtype=bool))
        if len(self.receiving) != m:
            object.__setattr__(self, "receiving", np.zeros(m, dtype=bool))
        if len(self.bandwidth) != m:
            object.__setattr__(self, "bandwidth", np.full(m, 125e6))


def other_words(situation: Situation) -> dict[int, set[str]]:
    """Anti-affinity words on hosts that no guest of the situation brings there: of guests that start or arrive."""
    hosts, guests = situation.hosts, situation.guests
    if not any(hosts.apart):
        return {}
    left = {host: set(words) for host, words in enumerate(hosts.apart) if words}
    for guest, host in enumerate(situation.place.tolist()):
        if guests.apart[guest]:
            left.get(host, set()).discard(guests.apart[guest])
    return {host: words for host, words in left.items() if words}


def check_moves(answer: object, situation: Situation, policy: str) -> list[Move]:
    """The answer of a consolidation policy, or an error that says what is wrong with it.

    Raises
    ------
    ModelError
        If a move names a guest or host that does not exist, the same guest twice, a guest that may not move, or
        puts more on a host than it has.
    """
    guests, hosts = situation.guests, situation.hosts
    try:
        moves = [Move(index(guest), index(host)) for guest, host in answer]  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        raise ModelError(
            f"consolidation policy {policy!r} must return pairs (guest number, host number); it returned {answer!r:.80}"
        ) from None
    seen: set[int] = set()
    place = situation.place.copy()
    for guest, host in moves:
        if not 0 <= guest < len(guests):
            raise ModelError(
                f"consolidation policy {policy!r} moves guest number {guest}, which does not exist; "
                f"there are {len(guests)}"
            )
        name = guests.names[guest]
        if not 0 <= host < len(hosts):
            raise ModelError(
                f"consolidation policy {policy!r} moves guest {name!r} to host number {host}, which does not exist; "
                f"there are {len(hosts)}"
            )
        if guest in seen:
            raise ModelError(
                f"consolidation policy {policy!r} moves guest {name!r} twice; move it once, to where it shall be"
            )
        if not situation.movable[guest]:
            raise ModelError(
                f"consolidation policy {policy!r} moves guest {name!r}, which may not move now; look at movable"
            )
        seen.add(guest)
        place[guest] = host
    if moves:
        moved = [move.guest for move in moves]
        base = hosts.used.copy()
        np.subtract.at(base, situation.place[moved], guests.need[moved])
        words: list[frozenset[str]] = []
        if any(guests.apart):
            others = other_words(situation)
            sets: list[set[str]] = [others.get(host, set()) for host in range(len(hosts))]
            for guest in range(len(guests)):
                if guest not in seen and guests.apart[guest]:
                    sets[int(situation.place[guest])].add(guests.apart[guest])
            words = [frozenset(one) for one in sets]
        rest = hosts.with_state(np.maximum(base, 0.0), hosts.available, hosts.running, words)
        check_answer([move.host for move in moves], guests.rows(moved), rest, policy)
    return moves
