"""Run the laws of a kind against a policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from virtsim.cluster.migration import Strategy
from virtsim.testing import (  # noqa: F401 - they register themselves
    consolidation_laws,
    detector_laws,
    migration_laws,
    placement_laws,
    selection_laws,
)
from virtsim.testing.laws import LAWS, Law, LawBroken
from virtsim.testing.strategies import candidates, clusters, guests, histories, hosts, migrations
from virtsim.testing.witnesses import WITNESSES

# pytest shows where the user asked, and not the way from there.
__tracebackhide__ = True

__all__ = [
    "LawBroken",
    "check_consolidation",
    "check_detector",
    "check_migration",
    "check_placement",
    "check_selection",
]

#: Examples that are tried to see whether a law that a policy declares as broken really can be.
SEARCH_EXAMPLES = 3000


def check_placement(policy: Any, examples: int | None = None) -> None:
    """Check that a placement policy keeps its laws.

    Parameters
    ----------
    policy : class, callable or object
        A policy, or what makes one without arguments. Laws that it is known not to keep are named in its
        ``breaks``; they are checked to be breakable, and all others to hold.
    examples : int, optional
        Examples for each law; by default what the Hypothesis profile says.

    Raises
    ------
    LawBroken
        Names the law, and shows the smallest instance that Hypothesis found.
    """
    packing = st.tuples(guests(most=7, apart=False), hosts(equal=True, empty=True))
    general = st.tuples(guests(), hosts())
    tight = st.tuples(guests(most=7, apart=False, largest=60), hosts(most=3, empty=True))
    instances = {law.name: packing if law.kind == "packing" else general for law in LAWS.values()}
    instances["capacity-helps"] = tight
    # Of sizes that do not fit well together, so that an order makes a difference.
    instances["within-ratio"] = st.tuples(
        guests(most=9, apart=False, smallest=15, largest=60), hosts(most=1, empty=True)
    )
    _check_all(policy, ("placement", "packing"), instances, examples)


def check_detector(detector: Any, examples: int | None = None) -> None:
    """Check that an overload detector keeps its laws; as :func:`check_placement`."""
    instances: dict[str, Any] = dict.fromkeys(LAWS, st.tuples(histories()))
    _check_all(detector, ("detector",), instances, examples)


def check_selection(selection: Any, examples: int | None = None) -> None:
    """Check that a selection policy keeps its laws; as :func:`check_placement`."""
    instances: dict[str, Any] = dict.fromkeys(LAWS, st.tuples(candidates()))
    _check_all(selection, ("selection",), instances, examples)


def check_consolidation(policy: Any, examples: int | None = None) -> None:
    """Check that a consolidation policy keeps its laws; as :func:`check_placement`."""
    instances: dict[str, Any] = dict.fromkeys(LAWS, st.tuples(clusters()))
    _check_all(policy, ("consolidation",), instances, examples)


def check_migration(strategy: Any, examples: int | None = None) -> None:
    """Check that a migration keeps its laws; as :func:`check_placement`.

    Parameters
    ----------
    strategy : Strategy, or object with a method ``plan(memory, dirtying, bandwidth)``
        What moves a guest; the method gives a :class:`~virtsim.cluster.migration.MigrationPlan`.
    examples : int, optional
        Examples for each law; by default what the Hypothesis profile says.
    """
    instances: dict[str, Any] = dict.fromkeys(LAWS, migrations())
    _check_all(strategy, ("migration",), instances, examples)


def _settings(examples: int | None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The current profile; a check of several laws may take its time over an example."""
    changes: dict[str, Any] = {"max_examples": examples} if examples is not None else {}
    return settings(
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
        database=None,
        report_multiple_bugs=False,
        **changes,
    )


def _make(policy: Any) -> Any:
    """A fresh policy from a class or factory; an object is used as it is."""
    methods = ("place", "overloaded", "pick", "decide", "plan")
    ready = isinstance(policy, Strategy) or any(hasattr(type(policy), name) for name in methods)
    return policy if ready else policy()


def _laws(kinds: tuple[str, ...]) -> Iterator[Law]:
    yield from (law for law in LAWS.values() if law.kind in kinds)


def _check_all(
    policy: Any, kinds: tuple[str, ...], instances: dict[str, st.SearchStrategy[Any]], examples: int | None
) -> None:
    declared = frozenset(getattr(_make(policy), "breaks", frozenset()))
    known = {law.name for law in _laws(kinds)}
    if not declared <= known:
        raise LawBroken(
            f"{policy!r} declares unknown laws {sorted(declared - known)}; known: {', '.join(sorted(known))}"
        )
    groups: dict[int, list[Law]] = {}
    for one in _laws(kinds):
        if one.name in declared:
            find_counterexample(policy, one, instances[one.name])
        else:
            groups.setdefault(id(instances[one.name]), []).append(one)
    for laws in groups.values():
        _check_laws(policy, laws, instances[laws[0].name], examples)


def _check_laws(policy: Any, laws: list[Law], instances: st.SearchStrategy[Any], examples: int | None) -> None:
    """Check laws of the same instances: every example is put to each of them."""

    @_settings(examples)
    @given(instances)
    def check(instance: tuple[Any, ...]) -> None:
        for one in laws:
            one.check(_make(policy), *instance)

    check()


def find_counterexample(policy: Any, one: Law, instances: st.SearchStrategy[Any]) -> tuple[Any, ...]:
    """An instance on which a policy breaks a law that it declares: a known one, or the smallest of a search.

    Raises
    ------
    LawBroken
        If none is found: then the policy keeps the law as far as anyone can see, and should not declare it.
    """

    def breaks(instance: tuple[Any, ...]) -> bool:
        try:
            one.check(_make(policy), *instance)
        except LawBroken:
            return True
        return False

    for witness in WITNESSES.get(one.name, []):
        if breaks(witness):
            return witness
    plan = settings(
        max_examples=SEARCH_EXAMPLES,
        deadline=None,
        database=None,
        derandomize=False,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    try:
        return find(instances, breaks, settings=plan, random=_fixed_random())
    except NoSuchExample:
        raise LawBroken(
            f"{_make(policy).__class__.__name__} declares that it breaks {one.name!r}, but no instance was found in "
            f"{SEARCH_EXAMPLES}; take it out of `breaks`"
        ) from None


def _fixed_random() -> Any:
    """Hypothesis wants a ``random.Random``; a fixed one makes the search the same every time."""
    import random

    return random.Random(20110303)
