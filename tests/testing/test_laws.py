"""Every shipped policy keeps its laws, and broken ones are caught."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from virtsim.cluster.migration import CLARK_2005, Strategy
from virtsim.cluster.policies.consolidation import DynamicConsolidation, Move, Stay
from virtsim.cluster.policies.overload import DETECTORS, load_detector
from virtsim.cluster.policies.placement import PLACEMENTS, BestFit, FirstFit, load_placement
from virtsim.cluster.policies.selection import SELECTIONS, load_selection
from virtsim.testing import (
    LAWS,
    ConsolidationMachine,
    LawBroken,
    check_consolidation,
    check_detector,
    check_migration,
    check_placement,
    check_selection,
)

load_placement("exact")

#: The exact policy asks a solver now and then.
EXAMPLES = {"exact": 30}


@pytest.mark.parametrize("name", list(PLACEMENTS))
def test_placement(name: str) -> None:
    check_placement(lambda: load_placement(name), EXAMPLES.get(name))


@pytest.mark.parametrize("name", list(DETECTORS))
def test_detector(name: str) -> None:
    check_detector(lambda: load_detector(name))


@pytest.mark.parametrize("name", list(SELECTIONS))
def test_selection(name: str) -> None:
    check_selection(lambda: load_selection(name))


@pytest.mark.parametrize("detector", list(DETECTORS))
def test_consolidation(detector: str) -> None:
    check_consolidation(lambda: DynamicConsolidation(overload=load_detector(detector)))


@pytest.mark.parametrize("name", [name for name in PLACEMENTS if name not in ("exact",)])
def test_consolidation_with_every_placement(name: str) -> None:
    check_consolidation(lambda: DynamicConsolidation(placement=load_placement(name)), 25)


def test_staying_keeps_all_laws() -> None:
    check_consolidation(Stay, 20)


@pytest.mark.parametrize("strategy", [Strategy(kind="pre-copy"), Strategy(kind="post-copy"), CLARK_2005])
def test_migration(strategy: Strategy) -> None:
    check_migration(strategy)


class QuietMachine(ConsolidationMachine):
    """The shipped policies in a data centre in which anything happens."""


QuietMachine.TestCase.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestShippedPolicies = QuietMachine.TestCase


# -- five broken policies ---------------------------------------------------------------------------------


class Overbooks(FirstFit):
    """Looks at CPU only."""

    def place(self, guests, hosts, random):
        left = hosts.free[:, 0].copy()
        places = np.full(len(guests), -1)
        for i, need in enumerate(guests.need[:, 0].tolist()):
            fits = np.flatnonzero((left >= need) & hosts.available)
            if fits.size:
                places[i] = fits[0]
                left[fits[0]] -= need
        return places


class ForgetsTheLast(BestFit):
    """Answers for all guests but one."""

    def place(self, guests, hosts, random):
        return super().place(guests, hosts, random)[:-1] if len(guests) > 1 else super().place(guests, hosts, random)


class LikesNames(FirstFit):
    """Takes the host whose name sorts first."""

    def score(self, need, book, random):
        order = sorted(range(len(book.hosts)), key=lambda h: book.hosts.names[h])
        score = np.empty(len(order))
        score[order] = np.arange(len(order))
        return score


class IgnoresGroups(FirstFit):
    """Has not heard of anti-affinity."""

    def place(self, guests, hosts, random):
        from dataclasses import replace

        return super().place(replace(guests, apart=("",) * len(guests)), hosts, random)


class NeverRests(DynamicConsolidation):
    """Moves a guest to and fro for ever."""

    def decide(self, situation, random):
        for guest in range(len(situation.guests)):
            for host in range(len(situation.hosts)):
                free = situation.hosts.free[host]
                fits = (free >= situation.guests.need[guest]).all() and situation.hosts.available[host]
                free_to_go = situation.movable[guest] and not situation.guests.apart[guest]
                if host != situation.place[guest] and fits and free_to_go:
                    return [Move(guest, host)]
        return []


class WakesTheDead(FirstFit):
    """Uses hosts that failed."""

    def place(self, guests, hosts, random):
        from dataclasses import replace

        return super().place(guests, replace(hosts, available=np.ones(len(hosts), dtype=bool)), random)


@pytest.mark.parametrize(
    ("policy", "law"),
    [
        (Overbooks, "room-is-kept"),
        (ForgetsTheLast, "answers-for-all"),
        (LikesNames, "host-names-do-not-matter"),
        (IgnoresGroups, "apart-is-kept"),
        (WakesTheDead, "only-where-allowed"),
    ],
)
def test_broken_placements_are_caught(policy: type, law: str) -> None:
    with pytest.raises(LawBroken, match=f"{policy.__name__} breaks '{law}'"):
        check_placement(policy)


def test_a_policy_that_never_rests_is_caught() -> None:
    with pytest.raises(LawBroken, match="NeverRests breaks 'steady-load-comes-to-rest'"):
        check_consolidation(NeverRests)


class Forgetful(ConsolidationMachine):
    """A machine whose consolidation names a guest that does not exist."""

    class consolidation:
        def decide(self, situation, random):
            return [Move(len(situation.guests), 0)]


def test_the_machine_catches_a_wrong_move() -> None:
    from hypothesis.stateful import run_state_machine_as_test

    from virtsim.core.errors import ModelError

    with pytest.raises(ModelError, match="does not exist"):
        run_state_machine_as_test(Forgetful, settings=QuietMachine.TestCase.settings)


def test_a_false_confession_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A law that a policy declares as broken must be breakable."""
    monkeypatch.setattr("virtsim.testing.checks.SEARCH_EXAMPLES", 50)

    class Modest(Stay):
        breaks = frozenset({"moves-are-possible"})

    with pytest.raises(LawBroken, match="declares that it breaks 'moves-are-possible', but no instance was found"):
        check_consolidation(Modest, 5)


def test_unknown_laws_are_refused() -> None:
    class Typo(FirstFit):
        breaks = frozenset({"capacity-helpz"})

    with pytest.raises(LawBroken, match="unknown laws"):
        check_placement(Typo)


def test_a_cheating_migration_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    import virtsim.testing.checks as checks
    from virtsim.cluster.migration import MigrationPlan

    monkeypatch.setattr(checks, "plan_migration", lambda *_: MigrationPlan([], 1.0, 0.0, 0, 0.0))
    with pytest.raises(LawBroken, match="fewer bytes were sent"):
        check_migration(Strategy())


def test_laws_are_documented() -> None:
    for law in LAWS.values():
        assert law.meaning.endswith("."), law.name
