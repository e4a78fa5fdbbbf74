"""What a consolidation policy must keep."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from virtsim.cluster.policies.situation import Situation, check_moves
from virtsim.cluster.policies.tables import CPU
from virtsim.core.errors import ModelError
from virtsim.testing.laws import LawBroken, fresh_random, law, require

# pytest shows where the user asked, and not the way from there.
__tracebackhide__ = True


def _moves(policy: Any, situation: Situation, law_name: str = "moves-are-possible") -> list[tuple[int, int]]:
    try:
        moves = check_moves(policy.decide(situation, fresh_random()), situation, type(policy).__name__)
    except ModelError as problem:
        raise LawBroken(f"{type(policy).__name__} breaks {law_name!r}: {problem}") from None
    return [(move.guest, move.host) for move in moves]


@law("moves-are-possible", "consolidation")
def moves_are_possible(policy: Any, situation: Situation) -> None:
    """Moves name guests and hosts that exist, no guest twice, keep all capacities, and keep apart what must be."""
    _moves(policy, situation)


@law("moves-change-something", "consolidation")
def moves_change_something(policy: Any, situation: Situation) -> None:
    """No guest is moved to the host it is on."""
    still = [guest for guest, host in _moves(policy, situation) if situation.place[guest] == host]
    require(not still, "moves-change-something", policy, f"guests {still} are moved to where they are")


@law("fixed-guests-stay", "consolidation")
def fixed_guests_stay(policy: Any, situation: Situation) -> None:
    """A guest that may not be moved is not moved."""
    n = len(situation.guests)
    _moves(policy, replace(situation, movable=np.arange(n) % 2 == 0), "fixed-guests-stay")


@law("same-seed-same-moves", "consolidation")
def same_seed_same_moves(policy: Any, situation: Situation) -> None:
    """The same situation and seed give the same moves."""
    require(_moves(policy, situation) == _moves(policy, situation), "same-seed-same-moves", policy, _story(situation))


@law("names-do-not-matter", "consolidation")
def names_do_not_matter(policy: Any, situation: Situation) -> None:
    """With the hosts' names exchanged, the same guests move to the same hosts."""
    m = len(situation.hosts)
    renamed = replace(situation, hosts=replace(situation.hosts, names=[f"zz{i}" for i in range(m, 0, -1)]))
    require(_moves(policy, situation) == _moves(policy, renamed), "names-do-not-matter", policy, _story(situation))


#: Decisions after which a policy must have come to rest under a steady load.
ROUNDS_TO_REST = 40


@law("steady-load-comes-to-rest", "consolidation")
def steady_load_comes_to_rest(policy: Any, situation: Situation) -> None:
    """Under a load that never changes, the policy sooner or later moves nobody any more."""
    samples = situation.host_history.shape[1]
    for _ in range(ROUNDS_TO_REST):
        moves = _moves(policy, situation)
        if not moves:
            return
        situation = after(situation, moves, samples)
    require(
        False,
        "steady-load-comes-to-rest",
        policy,
        f"{len(moves)} moves in decision {ROUNDS_TO_REST}: {_story(situation)}",
    )


def after(situation: Situation, moves: list[tuple[int, int]], samples: int) -> Situation:
    """The situation at the next decision if every guest goes on asking for what it asks for now."""
    place = situation.place.copy()
    for guest, host in moves:
        place[guest] = host
    hosts, guests = situation.hosts, situation.guests
    used = np.zeros_like(hosts.used)
    np.add.at(used, place, guests.need)
    load = np.bincount(place, situation.demand, minlength=len(hosts)) / hosts.capacity[:, CPU]
    history = np.concatenate([situation.host_history, load[:, None]], axis=1)[:, -samples:]
    past = np.concatenate([situation.guest_history, situation.guest_history[:, -1:]], axis=1)[:, -samples:]
    words = [
        frozenset(guests.apart[g] for g in np.flatnonzero(place == h).tolist() if guests.apart[g])
        for h in range(len(hosts))
    ]
    busy = np.bincount(place, minlength=len(hosts)) > 0
    return replace(
        situation,
        hosts=replace(hosts, used=used, running=busy, apart=words),
        place=place,
        host_history=history,
        guest_history=past,
    )


def _story(situation: Situation) -> str:
    guests = situation.guests
    on = [(guests.names[i], *guests.need[i].tolist(), int(situation.place[i])) for i in range(len(guests))]
    return f"guests (name, CPU, memory, host) {on}, hosts {situation.hosts.capacity.tolist()}"
