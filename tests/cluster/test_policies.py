"""Placement, bounds, exact placement, detectors: exact small cases."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from virtsim.cluster.policies.bounds import column_bound, dual_bound, lower_bound, volume_bound
from virtsim.cluster.policies.curves import watts_at
from virtsim.cluster.policies.exact import ExactPlacement
from virtsim.cluster.policies.overload import LocalRegression, RobustLocalRegression, load_detector
from virtsim.cluster.policies.placement import PLACEMENTS, load_placement
from virtsim.cluster.policies.situation import Move, Situation, check_moves
from virtsim.cluster.policies.tables import Guests, Hosts, check_answer
from virtsim.core.errors import ModelError, SpecError
from virtsim.testing.placement_laws import optimal_bins


def random() -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(1))


def flat(*sizes: float) -> Guests:
    return Guests([f"g{i}" for i in range(len(sizes))], np.array([(size, 1.0) for size in sizes]))


def bins(n: int, size: float = 10.0) -> Hosts:
    return Hosts([f"h{i}" for i in range(n)], np.tile([size, 1000.0], (n, 1)))


@pytest.mark.parametrize(
    ("policy", "places"),
    [
        ("first-fit", [0, 0, 1, 0, 1]),
        ("best-fit", [0, 0, 1, 0, 1]),
        ("worst-fit", [0, 0, 1, 1, 0]),
        ("first-fit-decreasing", [0, 1, 0, 1, 1]),
    ],
)
def test_textbook_fits(policy: str, places: list[int]) -> None:
    """Sizes 4, 4, 6, 2, 1 into bins of 10."""
    guests = flat(4, 4, 6, 2, 1)
    assert load_placement(policy).place(guests, bins(5), random()).tolist() == places


def test_worst_fit_opens_no_host_while_one_has_room() -> None:
    assert load_placement("worst-fit").place(flat(1, 1, 1, 1), bins(4), random()).tolist() == [0, 0, 0, 0]
    assert load_placement("spread").place(flat(1, 1, 1, 1), bins(4), random()).tolist() == [0, 1, 2, 3]
    assert load_placement("bin-pack").place(flat(1, 1, 1, 1), bins(4), random()).tolist() == [0, 0, 0, 0]


def test_affinity_and_anti_affinity() -> None:
    guests = Guests(["a", "b", "c"], np.ones((3, 2)), apart=["x", "x", ""], together=["", "y", "y"])
    for name in PLACEMENTS:
        places = load_placement(name).place(guests, bins(3), random()).tolist()
        assert places[0] != places[1], name
        if name not in ("exact",):
            assert places[1] == places[2], name


def test_power_aware_takes_the_cheapest_watts() -> None:
    """A waking host costs its idle power; a running one only its slope."""
    watts = np.array([np.linspace(100, 110, 11), np.linspace(50, 250, 11), np.linspace(60, 70, 11)])
    hosts = Hosts(["a", "b", "c"], np.tile([10.0, 10.0], (3, 1)), np.array([[0, 0], [1, 1], [0, 0.0]]), watts=watts)
    assert load_placement("power-aware-best-fit-decreasing").place(flat(1), hosts, random()).tolist() == [1]
    assert load_placement("power-aware-best-fit-decreasing").place(flat(4), hosts, random()).tolist() == [2]


def test_watts_between_the_points() -> None:
    assert watts_at(np.array([[0.0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]]), np.array([0.255])).tolist() == [25.5]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=8))
def test_bounds_hold_and_exact_is_exact(sizes: list[int]) -> None:
    guests, hosts = flat(*[float(size) for size in sizes]), bins(len(sizes), 50.0)
    best = optimal_bins([float(size) for size in sizes], 50.0)
    assert volume_bound(guests, hosts) <= lower_bound(guests, hosts) <= best
    assert dual_bound(np.array(sizes) / 50) <= best
    assert column_bound(guests, hosts, 2.0) <= best
    packing = ExactPlacement(5.0).pack(guests, hosts)
    assert (packing.hosts, packing.bound) == (best, best)


def test_two_shares_that_make_a_whole_are_one_host() -> None:
    """32 and 68 of 100 fit, although 1 - 0.32 is less than 0.68 in floating point."""
    for capacity in (7.0, 100.0, 2660.0):
        for small in range(int(capacity) + 1):
            guests = flat(float(small), capacity - small)
            assert lower_bound(guests, bins(2, capacity)) == 1, (small, capacity)


@settings(deadline=None)
@given(st.lists(st.integers(1, 100), min_size=1, max_size=8))
def test_the_quick_bound_is_never_more_than_the_optimum(sizes: list[int]) -> None:
    values = [float(size) for size in sizes]
    assert lower_bound(flat(*values), bins(len(sizes), 100.0)) <= optimal_bins(values, 100.0)


def test_column_bound_beats_the_quick_ones() -> None:
    """Twelve guests of 34 % fit in pairs only, which volume does not see."""
    guests = Guests([f"g{i}" for i in range(12)], np.full((12, 2), 34.0))
    hosts = Hosts([f"h{i}" for i in range(12)], np.tile([100.0, 100.0], (12, 1)))
    assert lower_bound(guests, hosts) < column_bound(guests, hosts)
    packing = ExactPlacement(10.0).pack(guests, hosts)
    assert packing.proven
    assert packing.hosts == column_bound(guests, hosts)


def test_the_default_solver_is_the_one_that_proves_more() -> None:
    """What the bench measured decides, and the figure in the documentation is the bench's."""
    result = json.loads((Path(__file__).parents[1] / "bench" / "bench_exact.json").read_text())
    proven = result["proven"]
    for solver, count in proven.items():
        assert count == sum(row[solver] is not None for row in result["rows"])
    assert ExactPlacement().solver == max(proven, key=proven.get)
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "run-a-cluster.md").read_text()
    assert f"HiGHS proves {proven['highs']} and CP-SAT {proven['cp-sat']} of {result['instances']}" in page


def test_cp_sat_agrees_with_highs() -> None:
    pytest.importorskip("ortools", reason="OR-Tools is an optional dependency (virtsim[optimise])")
    numbers = random()
    for _ in range(5):
        needs = numbers.integers(10, 40, (12, 2)).astype(float)
        guests = Guests([f"g{i}" for i in range(12)], needs)
        hosts = Hosts([f"h{i}" for i in range(12)], np.tile([100.0, 100.0], (12, 1)))
        assert ExactPlacement(5.0).pack(guests, hosts).hosts == ExactPlacement(5.0, "cp-sat").pack(guests, hosts).hosts


@pytest.mark.parametrize("name", ["thr", "mad", "iqr", "lr", "lrr"])
def test_detectors_fall_back_while_the_past_is_short(name: str) -> None:
    history = np.array([[0.75], [0.65]])
    expected = [False, False] if name == "thr" else [True, False]
    assert load_detector(name).overloaded(history).tolist() == expected


def test_regression_foresees_a_rise() -> None:
    rising = np.linspace(0.4, 0.78, 12)[None, :]
    assert LocalRegression().predict(rising[:, -10:])[0] == pytest.approx(0.78 + 0.38 / 11)
    assert LocalRegression().overloaded(rising).tolist() == [False]
    assert LocalRegression().overloaded(rising + 0.05).tolist() == [True]


def test_the_robust_regression_really_is() -> None:
    """One spike in ten samples: the plain line follows it, the robust one does not."""
    history = np.full((1, 10), 0.3)
    history[0, 8] = 0.95
    assert LocalRegression().predict(history)[0] > 0.45
    assert RobustLocalRegression().predict(history)[0] == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ([0, 5], "guest 'g1' on host number 5, which does not exist"),
        ([0], "one whole number a guest"),
        ([0.0, 1.0], "one whole number a guest"),
        ("ab", "one whole number a guest"),
        ([2, 0], "host 'h2', which is not available"),
        ([0, 0], r"put 12 MIPS of CPU on host 'h0', which has 10 left"),
        ([0, -2], "host number -2"),
    ],
)
def test_answers_of_policies_are_checked(answer: object, said: str) -> None:
    hosts = Hosts(["h0", "h1", "h2"], np.tile([10.0, 10.0], (3, 1)), available=np.array([True, True, False]))
    with pytest.raises(ModelError, match=said):
        check_answer(answer, flat(6, 6), hosts, "Mine")


def test_moves_of_policies_are_checked() -> None:
    hosts = Hosts(["h0", "h1"], np.tile([10.0, 10.0], (2, 1)), np.array([[8, 2.0], [6, 1]]))
    situation = Situation(
        guests=Guests(["a", "b", "c"], np.array([(4, 1), (4, 1), (6, 1.0)])),
        hosts=hosts,
        place=np.array([0, 0, 1]),
        demand=np.array([4, 4, 6.0]),
        host_history=np.array([[0.8], [0.6]]),
        guest_history=np.full((3, 1), 0.5),
        movable=np.array([True, True, False]),
    )
    assert check_moves([Move(0, 1)], situation, "Mine") == [(0, 1)]
    for answer, said in (
        ([(0, 1), (0, 1)], "moves guest 'a' twice"),
        ([(9, 1)], "guest number 9, which does not exist"),
        ([(0, 7)], "host number 7, which does not exist"),
        ([(2, 0)], "guest 'c', which may not move now"),
        ([(0, 1), (1, 1)], "put 8 MIPS of CPU on host 'h1', which has 4 left"),
        ([0, 1], r"must return pairs"),
    ):
        with pytest.raises(ModelError, match=said):
            check_moves(answer, situation, "Mine")


def test_unknown_names_list_the_known() -> None:
    with pytest.raises(SpecError, match="did you mean 'first-fit'"):
        load_placement("first-fitt")
    with pytest.raises(SpecError, match="has no memory"):
        Hosts(["h1"], np.array([[10.0, 0.0]]))
