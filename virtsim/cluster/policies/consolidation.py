"""Consolidation: which guests move where, at one decision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from virtsim.cluster.policies.overload import OverloadDetector, StaticThreshold
from virtsim.cluster.policies.placement import Placement, PowerAwareBestFitDecreasing
from virtsim.cluster.policies.plan import Plan
from virtsim.cluster.policies.selection import MinimumMigrationTime, Selection, check_pick
from virtsim.cluster.policies.situation import Move, Situation
from virtsim.cluster.policies.tables import Mask
from virtsim.cluster.policies.targets import Targets
from virtsim.core.errors import SpecError
from virtsim.core.registry import Registry

#: The law that a policy led by trends does not keep.
UNREST = "steady-load-comes-to-rest"


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
    steady load and a detector that looks at loads, not trends, the number of running hosts can only fall, so the
    policy comes to rest. A detector that extrapolates takes the step that its own moves make for a trend, relieves the
    host that was just filled, and may go on like this for ever.

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
        #: Laws of :mod:`virtsim.testing` that it is known not to keep.
        self.breaks = frozenset({UNREST}) if getattr(self.overload, "extrapolates", False) else frozenset[str]()

    def decide(self, situation: Situation, random: np.random.Generator) -> list[Move]:
        """See :class:`Consolidation`."""
        plan = Plan(situation)
        over = np.asarray(self.overload.overloaded(situation.host_history), dtype=bool) & situation.hosts.running
        moves = self._relieve(plan, over, random)
        return moves + self._empty(plan, over, random)

    def _relieve(self, plan: Plan, over: Mask, random: np.random.Generator) -> list[Move]:
        leaving: list[int] = []
        for host in np.flatnonzero(over).tolist():
            staying = plan.movable_on(host)
            while staying and self._fires(plan, host):
                guest = staying.pop(self._pick(plan, staying, host, random))
                plan.take_away(guest)
                leaving.append(guest)
        if not leaving:
            return []
        targets = Targets(plan, ~over & plan.situation.hosts.available)
        moves = self._place(plan, leaving, targets, random)
        moved = {move.guest for move in moves}
        for guest in leaving:
            if guest not in moved:
                plan.put(guest, int(plan.situation.place[guest]))
        return moves

    def _pick(self, plan: Plan, guests: list[int], host: int, random: np.random.Generator) -> int:
        candidates = plan.candidates(guests, host)
        return check_pick(self.selection.pick(candidates, random), candidates, type(self.selection).__name__)

    def _fires(self, plan: Plan, host: int) -> bool:
        return bool(self.overload.overloaded(plan.history(np.array([host])))[0])

    def _place(
        self, plan: Plan, guests: list[int], targets: Targets, random: np.random.Generator, whole: bool = False
    ) -> list[Move]:
        """Place guests so that no target would be overloaded; who would overload it is tried again elsewhere.

        As many as possible; with ``whole``, no more are tried once one has no place.
        """
        moves: list[Move] = []
        waiting = list(guests)
        while waiting and targets.any_open():
            answer = targets.places(self.placement, plan.situation.guests.rows(waiting), random)
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
                    targets.close(int(answer[i]))
                else:
                    moves.append(Move(guest, host))
            waiting = again
        return moves

    def _empty(self, plan: Plan, over: Mask, random: np.random.Generator) -> list[Move]:
        situation = plan.situation
        load = situation.host_history[:, -1]
        count = np.bincount(situation.place, minlength=len(situation.hosts))
        fixed = over | (plan.received > 0) | situation.receiving
        candidates = np.flatnonzero((count > 0) & ~fixed & situation.hosts.running & (load <= self.underload))
        able = situation.hosts.running & ~over & situation.hosts.available & (plan.count > 0)
        # Of those that could take guests at first, the emptied ones no longer have any.
        targets = Targets(plan, able, only_occupied=True)
        moves: list[Move] = []
        failures = 0
        for host in candidates[np.argsort(load[candidates], kind="stable")].tolist():
            if failures >= self.patience:
                break
            guests = plan.all_on(host)
            if plan.received[host] or not situation.movable[guests].all():
                continue
            targets.reopen(but=host)
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
