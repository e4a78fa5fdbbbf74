"""Every law has a name, a meaning, a policy that breaks it, a smallest counter-example, and its line on the page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.testing.broken import BROKEN, PAGE, Broken, breaks, page
from virtsim.cluster.policies.selection import Candidates
from virtsim.cluster.policies.tables import Guests, Hosts
from virtsim.testing import (
    LAWS,
    LawBroken,
    check_consolidation,
    check_detector,
    check_migration,
    check_placement,
    check_selection,
)

#: What was promised, and the laws that say it.
PROMISED = {
    "no guest is lost or duplicated": ["answers-for-all", "no-guest-is-lost"],
    "capacities are kept for what is reserved": ["room-is-kept", "memory-is-kept"],
    "nothing is on a host that is off": ["only-where-allowed", "nothing-on-a-host-that-is-off"],
    "anti-affinity is kept": ["apart-is-kept", "apart-stays-apart"],
    "the same seed gives the same": ["same-seed-same-answer", "same-seed-same-pick", "same-seed-same-moves"],
    "order and names of equal hosts do not matter": [
        "host-names-do-not-matter",
        "order-of-equals-does-not-matter",
        "names-do-not-matter",
    ],
    "never more hosts than one each, never fewer than the lower bound": ["not-more-hosts-than-guests"],
    "within the proven ratio of the optimum": ["within-ratio"],
    "a steady load comes to rest": ["steady-load-comes-to-rest"],
    "more capacity makes nothing infeasible": ["capacity-helps"],
    "energy is conserved": ["energy-is-conserved"],
    "pre-copy sends at least the memory": ["all-memory-is-sent"],
}
CHECKS = {
    "placement": check_placement,
    "packing": check_placement,
    "detector": check_detector,
    "selection": check_selection,
    "consolidation": check_consolidation,
    "migration": check_migration,
}
#: Each once; the anomaly of greedy placement is too rare to be met by chance, its witnesses are known ones.
POLICIES = {case.name: case for case in BROKEN if LAWS[case.law].kind in CHECKS and case.law != "capacity-helps"}


@pytest.mark.parametrize("promise", list(PROMISED))
def test_a_promised_law_exists(promise: str) -> None:
    for name in PROMISED[promise]:
        law = LAWS[name]
        assert law.name == name
        assert law.meaning.endswith(".")
        assert (law.check.__doc__ or "").strip() == law.meaning


def test_every_law_says_what_it_means() -> None:
    for law in LAWS.values():
        assert law.meaning.endswith("."), law.name


def test_every_law_has_a_policy_that_breaks_it() -> None:
    assert {case.law for case in BROKEN} == set(LAWS)


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case.law)
def test_the_counter_example_is_one(case: Broken) -> None:
    assert f"{case.name} breaks {case.law!r}" in breaks(case, case.instance)


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case.law)
def test_nothing_can_be_left_out_of_the_counter_example(case: Broken) -> None:
    for smaller in smaller_than(case.instance):
        assert not breaks(case, smaller), smaller


def smaller_than(instance: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """The same with a guest, a host or a step less."""
    match instance:
        case (Guests() as guests, Hosts() as hosts):
            for rows in without_one(len(guests)):
                yield guests.rows(rows), hosts
            for rows in without_one(len(hosts)):
                if rows:
                    yield guests, hosts.rows(np.array(rows))
        case (np.ndarray() as history,):
            for rows in without_one(len(history)):
                if rows:
                    yield (history[rows],)
        case (Candidates() as guests,):
            for rows in without_one(len(guests)):
                if rows:
                    names = tuple(guests.names[i] for i in rows)
                    yield (Candidates(names, guests.demand[rows], guests.memory[rows], guests.history[rows]),)
        case ((str(), *_), *_):
            for rows in without_one(len(instance)):
                yield tuple(instance[i] for i in rows)


def without_one(n: int) -> list[list[int]]:
    return [[i for i in range(n) if i != left_out] for left_out in range(n)]


@pytest.mark.parametrize("case", POLICIES.values(), ids=list(POLICIES))
def test_the_check_finds_the_broken_policy(case: Broken) -> None:
    """Hypothesis finds an instance by itself; a policy that breaks more laws than one is caught by any of them."""
    laws = "|".join(one.law for one in BROKEN if one.policy is case.policy)
    with pytest.raises(LawBroken, match=f"{case.name} breaks '({laws})'"):
        CHECKS[LAWS[case.law].kind](case.policy)


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == page(), "write it anew with: make golden"
