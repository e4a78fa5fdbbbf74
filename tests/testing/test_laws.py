"""Every shipped policy keeps its laws, or declares that it does not; broken ones: ``test_every_law.py``."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from virtsim.cluster.migration import CLARK_2005, Strategy
from virtsim.cluster.policies.consolidation import DynamicConsolidation, Stay
from virtsim.cluster.policies.overload import DETECTORS, load_detector
from virtsim.cluster.policies.placement import PLACEMENTS, FirstFit, load_placement
from virtsim.cluster.policies.selection import SELECTIONS, load_selection
from virtsim.cluster.policies.situation import Move
from virtsim.testing import (
    ConsolidationMachine,
    LawBroken,
    check_consolidation,
    check_detector,
    check_migration,
    check_placement,
    check_selection,
)

load_placement("exact")


@pytest.mark.parametrize("name", list(PLACEMENTS))
def test_placement(name: str) -> None:
    check_placement(lambda: load_placement(name))


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
    check_consolidation(lambda: DynamicConsolidation(placement=load_placement(name)))


def test_staying_keeps_all_laws() -> None:
    check_consolidation(Stay)


@pytest.mark.parametrize(
    "strategy", [*(Strategy(kind=kind) for kind in ("pre-copy", "post-copy", "stop-and-copy")), CLARK_2005]
)
def test_migration(strategy: Strategy) -> None:
    check_migration(strategy)


class QuietMachine(ConsolidationMachine):
    """The shipped policies in a data centre in which anything happens."""


QuietMachine.TestCase.settings = settings(
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestShippedPolicies = QuietMachine.TestCase


# -- what is caught beside broken policies (``test_every_law.py``) ---------------------------------------------


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
