"""Consolidation: which guests move where, at one decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import index
from typing import NamedTuple, Protocol

import numpy as np

from virtsim.cluster.policies.overload import OverloadDetector, StaticThreshold
from virtsim.cluster.policies.placement import Placement, PowerAwareBestFitDecreasing
from virtsim.cluster.policies.selection import Candidates, MinimumMigrationTime, Selection, check_pick
from virtsim.cluster.policies.tables import CPU, Floats, Guests, Hosts, Integers, Mask, check_answer
from virtsim.core.errors import ModelError, SpecError
from virtsim.core.registry import Registry


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


class Consolidation(Protocol):
    """What a consolidation policy is."""

    def decide(self, situation: Situation, random: np.random.Generator) -> Sequence[Move]:
        """Moves to make now; a guest at most once."""
        ...


CONSOLIDATIONS: Registry[type[Consolidation]] = Registry("consolidation policy")


@CONSOLIDATIONS.register("none")
class Stay:
    """Nobody moves."""

    def decide(self, situation: Situation, random: np.random.Generator) -> list[Move]:
        """See :class:`Consolidation`."""
        return []


@CONSOLIDATIONS.register("dynamic")
class DynamicConsolidation:
    """Relieve overloaded hosts, then empty the least loaded ones whose guests all fit elsewhere.

    A host takes a guest only if it would not be overloaded with it. A host is emptied only into hosts that run
    and are not emptied themselves, so that an emptied host is a host less; and only if it received nothing. With a
    steady load the number of running hosts can only fall, so the policy comes to rest.

    Parameters
    ----------
    placement : Placement
        Of the guests that move.
    overload : OverloadDetector
        Static threshold by default.
    selection : Selection
        Minimum migration time by default.
    underload : float
        Hosts above this load are not emptied.
    patience : int
        Hosts that cannot be emptied before the decision stops trying: fuller ones are harder to empty.

    References
    ----------
    A. Beloglazov, R. Buyya, CCPE 24(13), 2012, algorithms 1 and 2.
    """

    def __init__(
        self,
        placement: Placement | None = None,
        overload: OverloadDetector | None = None,
        selection: Selection | None = None,
        underload: float = 0.6,
        patience: int = 4,
    ) -> None:
        if not 0 <= underload <= 1:
            raise SpecError("underload", f"must lie between 0 and 1, not {underload!r}")
        self.placement = placement if placement is not None else PowerAwareBestFitDecreasing()
        self.overload = overload if overload is not None else StaticThreshold()
        self.selection = selection if selection is not None else MinimumMigrationTime()
        self.underload = underload
        self.patience = patience

    def decide(self, situation: Situation, random: np.random.Generator) -> list[Move]:
        """See :class:`Consolidation`."""
        plan = _Plan(situation)
        over = np.asarray(self.overload.overloaded(situation.host_history), dtype=bool) & situation.hosts.running
        moves = self._relieve(plan, over, random)
        return moves + self._empty(plan, over, random)

    def _relieve(self, plan: _Plan, over: Mask, random: np.random.Generator) -> list[Move]:
        leaving: list[int] = []
        for host in np.flatnonzero(over).tolist():
            staying = plan.movable_on(host)
            while staying and self._fires(plan, host):
                guest = staying.pop(self._pick(plan, staying, host, random))
                plan.take_away(guest)
                leaving.append(guest)
        if not leaving:
            return []
        targets = _Targets(plan, ~over & plan.situation.hosts.available)
        moves = self._place(plan, leaving, targets, random)
        moved = {move.guest for move in moves}
        for guest in leaving:
            if guest not in moved:
                plan.put(guest, int(plan.situation.place[guest]))
        return moves

    def _pick(self, plan: _Plan, guests: list[int], host: int, random: np.random.Generator) -> int:
        candidates = plan.candidates(guests, host)
        return check_pick(self.selection.pick(candidates, random), candidates, type(self.selection).__name__)

    def _fires(self, plan: _Plan, host: int) -> bool:
        return bool(self.overload.overloaded(plan.history(np.array([host])))[0])

    def _place(
        self, plan: _Plan, guests: list[int], targets: _Targets, random: np.random.Generator, whole: bool = False
    ) -> list[Move]:
        """Place guests so that no target would be overloaded; who would overload it is tried again elsewhere.

        As many as possible; with ``whole``, no more are tried once one has no place.
        """
        moves: list[Move] = []
        waiting = list(guests)
        while waiting and targets.open.any():
            table = plan.situation.guests.rows(waiting)
            hosts = targets.hosts()
            answer = check_answer(
                self.placement.place(table, hosts, random), table, hosts, type(self.placement).__name__
            )
            if whole and (answer < 0).any():
                return moves
            again: list[int] = []
            order = sorted(range(len(waiting)), key=lambda i: -plan.situation.demand[waiting[i]])
            for i in order:
                if answer[i] < 0:
                    continue
                guest, host = waiting[i], int(targets.rows[answer[i]])
                plan.put(guest, host)
                if self._fires(plan, host):
                    plan.take_away(guest)
                    again.append(guest)
                    targets.open[answer[i]] = False
                else:
                    moves.append(Move(guest, host))
            waiting = again
        return moves

    def _empty(self, plan: _Plan, over: Mask, random: np.random.Generator) -> list[Move]:
        situation = plan.situation
        load = situation.host_history[:, -1]
        count = np.bincount(situation.place, minlength=len(situation.hosts))
        fixed = over | (plan.received > 0) | situation.receiving
        candidates = np.flatnonzero((count > 0) & ~fixed & situation.hosts.running & (load <= self.underload))
        able = situation.hosts.running & ~over & situation.hosts.available & (plan.count > 0)
        targets = _Targets(plan, able)
        moves: list[Move] = []
        failures = 0
        for host in candidates[np.argsort(load[candidates], kind="stable")].tolist():
            if failures >= self.patience:
                break
            guests = plan.all_on(host)
            if plan.received[host] or not situation.movable[guests].all():
                continue
            # Of those that could take guests at first, the emptied ones no longer have any.
            np.greater(plan.count[targets.rows], 0, out=targets.open)
            targets.open &= targets.rows != host
            if not targets.could_take(guests):
                failures += 1
                continue
            for guest in guests:
                plan.take_away(guest)
            placed = self._place(plan, guests, targets, random, whole=True)
            if len(placed) == len(guests):
                moves += placed
                continue
            for move in placed:
                plan.take_away(move.guest)
            for guest in guests:
                plan.put(guest, host)
            failures += 1
        return moves


class _Plan:
    """The situation as it will be after the moves so far."""

    def __init__(self, situation: Situation) -> None:
        self.situation = situation
        hosts = situation.hosts
        self.used = hosts.used.copy()
        self.place = situation.place.copy()
        self.extra = np.zeros(len(hosts))
        self.count = np.bincount(situation.place, minlength=len(hosts))
        self.received = np.zeros(len(hosts), dtype=np.int64)
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
        return [guest for guest in self.all_on(host) if self.situation.movable[guest]]

    def take_away(self, guest: int) -> None:
        host = int(self.place[guest])
        self._change(guest, host, -1)
        self.place[guest] = -1
        if self.has_words and (word := self.situation.guests.apart[guest]):
            self.words[host].remove(word)

    def put(self, guest: int, host: int) -> None:
        self._change(guest, host, 1)
        self.place[guest] = host
        if self.has_words and (word := self.situation.guests.apart[guest]):
            self.words.setdefault(host, []).append(word)

    def _change(self, guest: int, host: int, sign: int) -> None:
        self.used[host] += sign * self.situation.guests.need[guest]
        self.extra[host] += sign * self.situation.demand[guest] / self._speed[host]
        self.count[host] += sign
        if host != self.situation.place[guest]:
            self.received[host] += sign

    def history(self, hosts: Integers) -> Floats:
        """Load of hosts with what was planned counted as if it had been so all the time."""
        past: Floats = self.situation.host_history[hosts] + self.extra[hosts][:, None]
        return np.maximum(past, 0.0)

    def candidates(self, guests: list[int], host: int) -> Candidates:
        situation = self.situation
        return Candidates(
            tuple(situation.guests.names[i] for i in guests),
            situation.demand[guests],
            situation.guests.need[guests, 1],
            situation.guest_history[guests],
            float(situation.bandwidth[host]),
        )


class _Targets:
    """Hosts that may get guests in a part of a plan: a placement policy sees them, and no others.

    Attributes
    ----------
    rows : ndarray
        Their numbers.
    open : ndarray of bool
        Which of them may take guests now.
    """

    def __init__(self, plan: _Plan, allowed: Mask) -> None:
        self._plan = plan
        self.rows: Integers = np.flatnonzero(allowed)
        self.open: Mask = np.ones(len(self.rows), dtype=bool)
        self._hosts = plan.situation.hosts.rows(self.rows)

    def hosts(self) -> Hosts:
        """The hosts as they will be."""
        plan = self._plan
        apart: Sequence[frozenset[str]] = ()
        if plan.has_words:
            apart = [frozenset(plan.words.get(host, ())) for host in self.rows.tolist()]
        running = self._hosts.running | (plan.count[self.rows] > 0)
        return self._hosts.with_state(np.maximum(plan.used[self.rows], 0.0), self.open.copy(), running, apart)

    def could_take(self, guests: list[int]) -> bool:
        """Whether the largest guest fits on any of them at all: most hosts that cannot be emptied fail here."""
        need = self._plan.situation.guests.need[guests].max(axis=0)
        free = self._hosts.capacity - self._plan.used[self.rows]
        return bool(((free[:, 0] >= need[0]) & (free[:, 1] >= need[1]) & self.open).any())


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
