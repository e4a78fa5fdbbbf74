"""Horizontal auto-scaling, step by step."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtsim.cluster.policies.autoscale import HorizontalAutoscaler, ScaledService
from virtsim.core.errors import SpecError
from virtsim.core.units import NS_PER_S

STEP = 60 * NS_PER_S


@pytest.mark.parametrize(
    ("replicas", "utilisation", "wanted"),
    [(3, 0.8, 3), (3, 0.86, 3), (3, 0.9, 4), (4, 0.4, 2), (2, 1.9, 4), (8, 1.0, 10), (5, 0.0, 1)],
)
def test_wanted_replicas(replicas: int, utilisation: float, wanted: int) -> None:
    """``ceil(replicas * utilisation / 0.8)``, no change within 10 %, at most doubled, between 1 and 10."""
    assert HorizontalAutoscaler().wanted(replicas, utilisation) == wanted


@pytest.mark.parametrize(
    ("serving", "utilisation", "starting", "wanted"),
    [
        # Twice the target with two on their way: with these idle, four are just right.
        (2, 1.6, 2, 4),
        # Three times: the two that start are not enough, 4 * 1.5.
        (2, 2.4, 2, 6),
        # With those that start it would be too many: they are waited for, not let go.
        (2, 1.0, 4, 6),
        # Fewer are wanted: those that start do not count.
        (3, 0.2, 1, 1),
        # Within the tolerance: all stay.
        (4, 0.85, 1, 5),
    ],
)
def test_replicas_that_start(serving: int, utilisation: float, starting: int, wanted: int) -> None:
    assert HorizontalAutoscaler().wanted(serving, utilisation, starting) == wanted


@pytest.mark.parametrize(("measured", "wanted"), [(0.2, 8), (0.1, 4), (0.05, 2), (0.109, 4), (0.111, 5), (0.091, 4)])
def test_the_ratio_decides(measured: float, wanted: int) -> None:
    """Kubernetes' documentation: twice what is desired doubles the replicas, half halves them, 10 % is nothing."""
    assert HorizontalAutoscaler(target=0.1).wanted(4, measured) == wanted


def test_what_starts_goes_first_when_fewer_are_wanted() -> None:
    service = ScaledService(HorizontalAutoscaler(stabilisation="0s"), start_ns=3 * STEP)
    replicas = [state.replicas for state in service.run([2.0, 0.2, 0.2, 0.2, 0.2, 0.2], STEP, replicas=2)]
    assert replicas == [2, 2, 1, 1, 1, 1]


def test_down_waits_for_the_stabilisation_window() -> None:
    service = ScaledService(HorizontalAutoscaler(stabilisation="180s"))
    demand = [4.0] * 4 + [0.8] * 6
    replicas = [state.replicas for state in service.run(demand, STEP, replicas=5)]
    # The demand falls in the fifth step; three steps of the window must pass before anything is let go.
    assert replicas == [5, 5, 5, 5, 5, 5, 5, 5, 1, 1]


def test_new_replicas_take_their_time() -> None:
    fast = ScaledService(HorizontalAutoscaler()).run([4.0] * 5, STEP, replicas=2)
    slow = ScaledService(HorizontalAutoscaler(), start_ns=2 * STEP).run([4.0] * 5, STEP, replicas=2)
    assert [state.replicas for state in fast] == [2, 4, 5, 5, 5]
    assert [state.replicas for state in slow][:4] == [2, 2, 2, 4]
    assert sum(state.unmet for state in slow) > sum(state.unmet for state in fast)


def test_cooldown_keeps_changes_apart() -> None:
    service = ScaledService(HorizontalAutoscaler(cooldown="180s", stabilisation="0s"))
    replicas = [state.replicas for state in service.run([1.0, 3.0, 6.0, 8.0, 8.0, 8.0, 8.0], STEP, replicas=1)]
    changes = [i for i in range(1, 7) if replicas[i] != replicas[i - 1]]
    assert all(b - a >= 3 for a, b in pairwise(changes))


@given(st.lists(st.floats(0, 20), min_size=1, max_size=40), st.integers(0, 5))
def test_replicas_stay_within_their_bounds(demand: list[float], start: int) -> None:
    service = ScaledService(HorizontalAutoscaler(least=2, most=7), start_ns=start * STEP)
    assert all(2 <= state.replicas <= 7 for state in service.run(demand, STEP))


def test_a_steady_demand_comes_to_rest() -> None:
    states = ScaledService(HorizontalAutoscaler()).run([5.3] * 60, STEP)
    assert len({state.replicas for state in states[-40:]}) == 1
    assert states[-1].unmet == 0


def test_errors() -> None:
    with pytest.raises(SpecError, match="least"):
        HorizontalAutoscaler(least=5, most=2)
    with pytest.raises(SpecError, match="demand"):
        ScaledService(HorizontalAutoscaler()).run([-1.0], STEP)
