"""Hypothesis strategies for hosts, guests, clusters, demand and failures.

Needs and capacities are whole numbers in floats, so that sums are exact and an example means what it shows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from virtsim.cluster.migration import Dirtying, DirtyPages
from virtsim.cluster.policies.selection import Candidates
from virtsim.cluster.policies.situation import Situation
from virtsim.cluster.policies.tables import CPU, Guests, Hosts
from virtsim.cluster.scenario import Failures
from virtsim.cluster.traces.traces import Traces
from virtsim.core.spec import Duration, Size
from virtsim.core.units import NS_PER_S

#: Kinds of host that strategies mix: CPU (MIPS), memory (bytes), idle and full power (W).
HOST_KINDS = ((100, 100, 100.0, 200.0), (100, 200, 60.0, 250.0), (200, 100, 90.0, 120.0))
_WORDS = ("", "", "", "a", "b")


@st.composite
def guests(draw: Any, most: int = 10, apart: bool = True, largest: int = 100, smallest: int = 0) -> Guests:
    """Up to ``most`` guests, some of which must be apart; ``smallest`` is the least that one needs of the CPU."""
    n = draw(st.integers(0, most))
    needs = draw(st.lists(st.tuples(st.integers(smallest, largest), st.integers(1, largest)), min_size=n, max_size=n))
    words = draw(st.lists(st.sampled_from(_WORDS), min_size=n, max_size=n)) if apart else [""] * n
    return Guests([f"g{i}" for i in range(n)], np.array(needs, dtype=float).reshape(n, 2), words)


@st.composite
def hosts(draw: Any, most: int = 10, equal: bool = False, empty: bool = False) -> Hosts:
    """Up to ``most`` hosts; some are of one kind, some carry load already, some are not available."""
    m = draw(st.integers(1, most))
    if equal:
        kinds = [draw(st.sampled_from(HOST_KINDS))] * m
    else:
        kinds = draw(st.lists(st.sampled_from(HOST_KINDS), min_size=m, max_size=m))
    capacity = np.array([kind[:2] for kind in kinds], dtype=float)
    watts = np.array([np.linspace(kind[2], kind[3], 11) for kind in kinds])
    if empty:
        return Hosts([f"h{i}" for i in range(m)], capacity, watts=watts)
    loads = draw(st.lists(st.sampled_from([0, 0, 0, 10, 50, 100]), min_size=m, max_size=m))
    available = draw(st.lists(st.sampled_from([True, True, True, False]), min_size=m, max_size=m))
    used = np.minimum(np.array(loads, dtype=float)[:, None], capacity)
    words = [frozenset("a") if load and draw(st.booleans()) else frozenset[str]() for load in loads]
    return Hosts(
        [f"h{i}" for i in range(m)], capacity, used, np.array(available), np.array(loads) > 0, watts, apart=words
    )


@st.composite
def clusters(draw: Any, most_guests: int = 12, most_hosts: int = 8, samples: int = 12) -> Situation:
    """A cluster at a decision: guests on hosts that have room for them, and a past that led to the present."""
    m = draw(st.integers(2, most_hosts))
    kinds = draw(st.lists(st.sampled_from(HOST_KINDS), min_size=m, max_size=m))
    capacity = np.array([kind[:2] for kind in kinds], dtype=float)
    watts = np.array([np.linspace(kind[2], kind[3], 11) for kind in kinds])
    available = np.ones(m, dtype=bool)
    if draw(st.booleans()):
        available[draw(st.integers(0, m - 1))] = False
    names, needs, places, words = [], [], [], []
    memory_left = capacity[:, 1].copy()
    taken: set[tuple[str, int]] = set()
    for i in range(draw(st.integers(0, most_guests))):
        host = draw(st.sampled_from(np.flatnonzero(available).tolist()))
        memory = draw(st.integers(1, 60))
        word = draw(st.sampled_from(_WORDS))
        if memory > memory_left[host] or (word and (word, host) in taken):
            continue
        taken.add((word, host))
        memory_left[host] -= memory
        names.append(f"g{i}")
        needs.append((float(draw(st.integers(0, 70))), float(memory)))
        places.append(host)
        words.append(word)
    n = len(names)
    need = np.array(needs, dtype=float).reshape(n, 2)
    place = np.array(places, dtype=np.int64)
    used = np.zeros_like(capacity)
    np.add.at(used, place, need)
    past = np.array(
        draw(st.lists(st.lists(st.integers(0, 4), min_size=samples, max_size=samples), min_size=n, max_size=n)),
        dtype=float,
    ).reshape(n, samples)
    past = np.minimum(past / 4, 1.0)
    past[:, -1:] = np.minimum(need[:, :1] / 70, 1.0)
    demand_past = past * 70
    history = np.zeros((m, samples))
    np.add.at(history, place, demand_past)
    history /= capacity[:, :1]
    history[:, -1] = used[:, CPU] / capacity[:, CPU]
    busy = np.bincount(place, minlength=m) > 0
    sets: list[frozenset[str]] = [
        frozenset(word for word, host in zip(words, places) if word and host == h) for h in range(m)
    ]
    return Situation(
        guests=Guests(names, need, words),
        hosts=Hosts([f"h{h}" for h in range(m)], capacity, used, available, busy, watts, apart=sets),
        place=place,
        demand=need[:, CPU].copy(),
        host_history=history,
        guest_history=past,
    )


@st.composite
def demand_traces(draw: Any, guests: int = 5, samples: int = 24, step_s: int = 300) -> Traces:
    """Demand of some guests: steady, jumping, or at its limit."""
    levels = st.sampled_from([0.0, 0.05, 0.1, 0.3, 0.5, 0.9, 1.0])
    rows = []
    for _ in range(guests):
        kind = draw(st.sampled_from(("steady", "jumping")))
        if kind == "steady":
            rows.append([draw(levels)] * samples)
        else:
            rows.append(draw(st.lists(levels, min_size=samples, max_size=samples)))
    return Traces("drawn", [f"vm{i}" for i in range(guests)], np.array(rows), step_s * NS_PER_S)


@st.composite
def failures(draw: Any, host_names: tuple[str, ...] = ("h-0", "h-1"), within_s: int = 7200, most: int = 3) -> Failures:
    """Hosts that fail at given times and come back."""
    events = draw(
        st.lists(
            st.tuples(st.sampled_from(host_names), st.integers(1, within_s), st.integers(1, within_s)), max_size=most
        )
    )
    return Failures(at=[(name, Duration(at * NS_PER_S), Duration(repair * NS_PER_S)) for name, at, repair in events])


@st.composite
def migrations(draw: Any) -> tuple[int, Dirtying, float]:
    """A guest's memory, how it writes to it, and the bandwidth of the link."""
    memory = draw(st.integers(1 << 20, 1 << 34))
    written = draw(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1e9)), max_size=3))
    share = max(1.0, sum(size for size, _ in written))
    sets = [DirtyPages(size=Size(int(memory * size / share)), rate=Size(int(rate))) for size, rate in written]
    return memory, Dirtying(sets=sets), draw(st.floats(1e6, 2e10))


@st.composite
def histories(draw: Any, most: int = 6, samples: int = 20) -> np.ndarray:
    """Loads of hosts over time, shape (hosts, samples), in steps of 1 %."""
    m = draw(st.integers(1, most))
    rows = draw(st.lists(st.lists(st.integers(0, 120), min_size=samples, max_size=samples), min_size=m, max_size=m))
    return np.array(rows, dtype=float) / 100


@st.composite
def candidates(draw: Any, most: int = 6, samples: int = 20) -> Candidates:
    """Guests of one overloaded host, no two alike."""
    n = draw(st.integers(1, most))
    memory = draw(st.lists(st.integers(1, 10_000), min_size=n, max_size=n, unique=True))
    use = draw(st.lists(st.integers(0, 100), min_size=n, max_size=n, unique=True))
    past = draw(st.lists(st.lists(st.integers(0, 100), min_size=samples, max_size=samples), min_size=n, max_size=n))
    history = np.array(past, dtype=float) / 100
    history[:, -1] = np.array(use) / 100
    return Candidates(tuple(f"g{i}" for i in range(n)), history[:, -1] * 1000, np.array(memory, dtype=float), history)
