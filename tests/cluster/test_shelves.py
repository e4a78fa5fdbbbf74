"""The search on shelves, and what is kept of earlier needs, find the host that a look at every host finds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from virtsim.cluster.policies import growths
from virtsim.cluster.policies.book import Book
from virtsim.cluster.policies.placement import OneByOne, PowerAwareBestFitDecreasing
from virtsim.cluster.policies.tables import Guests, Hosts


class LookAtAll(PowerAwareBestFitDecreasing):
    """The same policy by the scores of all hosts."""

    def choose(self, guests: Guests, i: int, book: Book, random: np.random.Generator) -> int:
        return OneByOne.choose(self, guests, i, book, random)


def generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def drawn_hosts(random: np.random.Generator, grid: int, words: bool, speeds: bool) -> Hosts:
    """Hosts of up to three kinds, used by multiples of ``1 / grid`` so that there are equals, or by anything."""
    m, kinds = int(random.integers(1, 120)), int(random.integers(1, 4))
    kind = random.integers(0, kinds, m)
    capacity = np.array([(10.0, 100.0), (20.0, 100.0), (36840.0, float(64 << 30))])[kind]
    curves = random.integers(50, 300, (kinds, 11)).astype(float)
    if random.random() < 0.7:
        curves.sort(axis=1)
    share = random.integers(0, grid + 1, (m, 2)) / grid if grid else 1.02 * random.random((m, 2))
    used = capacity * share * (random.random((m, 1)) < 0.7)
    return Hosts(
        [f"h{i}" for i in range(m)],
        capacity,
        used,
        random.random(m) < 0.9,
        (used > 0).any(axis=1) | (random.random(m) < 0.2),
        curves[kind],
        apart=[frozenset({"x"}) if random.random() < 0.1 else frozenset() for _ in range(m)] if words else (),
        speed=random.choice([1.0, 5.0, 9.0], m) if speeds else np.zeros(0),
    )


def drawn_guests(random: np.random.Generator, grid: int, words: bool, speeds: bool) -> Guests:
    n = int(random.integers(1, 60))
    size = random.integers(0, 9, n) / 8 if grid else random.random(n)
    memory = random.random(n) if random.random() < 0.5 else random.choice([0.1, 0.5, 1.0], n)
    need = np.stack([size * random.choice([1, 10, 12280]), memory * random.choice([1, 30, 4 << 30])], axis=1)
    return Guests(
        [f"g{i}" for i in range(n)],
        need,
        apart=random.choice(["", "", "", "x", "y"], n).tolist() if words else (),
        speed=random.choice([0.0, 1.0, 5.0], n) if speeds else np.zeros(0),
    )


@settings(max_examples=80)
@given(st.integers(0, 1 << 32), st.sampled_from([0, 1, 7, 30]), st.booleans(), st.booleans(), st.booleans())
def test_they_choose_what_a_look_at_all_hosts_chooses(
    seed: int, grid: int, words: bool, speeds: bool, shelves: bool
) -> None:
    random = generator(seed)
    hosts = drawn_hosts(random, grid, words, speeds)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(growths, "_MANY", 0 if shelves else 1 << 30)
        patch.setattr(growths, "_KEPT", 5)
        found, expected = Book(hosts), Book(hosts)
        for _ in range(3):
            guests = drawn_guests(random, grid, words, speeds)
            places = PowerAwareBestFitDecreasing().place_into(guests, found, random).tolist()
            assert places == LookAtAll().place_into(guests, expected, random).tolist()
            # As a decision does that takes back what it tried.
            for host in places[::2]:
                if host >= 0:
                    found.reread(host)
                    expected.reread(host)


def test_a_book_that_is_read_again_is_a_new_book() -> None:
    random = generator(4)
    hosts, guests = drawn_hosts(random, 7, True, False), drawn_guests(random, 7, True, False)
    book = Book(hosts)
    places = PowerAwareBestFitDecreasing().place_into(guests, book, random).tolist()
    assert max(places) >= 0
    for host in places:
        if host >= 0:
            book.reread(host)
    assert PowerAwareBestFitDecreasing().place_into(guests, book, random).tolist() == places
