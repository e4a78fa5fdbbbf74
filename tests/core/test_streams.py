"""Random streams: the reference values, and independence of names, replications and neighbours."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from virtsim.core.streams import SplitMix64, Streams

NAMES = st.text(max_size=30)
LIMIT = 4.9


def test_splitmix64_gives_the_reference_values():
    """The first values for the seed 1234567, as published with the reference implementation's ports."""
    rng = SplitMix64(1234567)
    assert [rng.next() for _ in range(5)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


@given(st.integers(0, 2**64 - 1))
def test_splitmix64_stays_in_its_range(seed):
    rng = SplitMix64(seed)
    for _ in range(20):
        assert 0 <= rng.next() < 2**64
        assert 0.0 <= rng.uniform() < 1.0


def test_the_uniforms_are_uniform():
    """Kolmogorov and Smirnov, n = 20000; fails for one seed in a million if they are."""
    rng = SplitMix64(Streams(1).seed64("tests", "uniform"))
    p = stats.kstest([rng.uniform() for _ in range(20_000)], "uniform").pvalue
    print(f"Kolmogorov-Smirnov p = {p:.3f}, n = 20000")
    assert p > 1e-6


@given(st.integers(0, 2**63 - 1), st.integers(0, 10**6), NAMES, NAMES)
def test_a_stream_is_a_function_of_its_names(root, replication, entity, purpose):
    assert Streams(root, replication).seed64(entity, purpose) == Streams(root, replication).seed64(entity, purpose)
    left, right = (Streams(root, replication).generator(entity, purpose).integers(2**62, size=3) for _ in range(2))
    assert list(left) == list(right)


def test_no_two_streams_of_a_large_scenario_are_the_same():
    seeds = {
        Streams(root, replication).seed64(f"guests.g{i}.tasks.t", purpose)
        for root in (0, 1)
        for replication in range(5)
        for i in range(50)
        for purpose in ("arrivals", "service")
    }
    assert len(seeds) == 2 * 5 * 50 * 2


def series(streams, entity, purpose="service", n=20_000):
    rng = SplitMix64(streams.seed64(entity, purpose))
    return np.array([rng.uniform() for _ in range(n)])


@pytest.mark.parametrize(
    ("what", "left", "right"),
    [
        ("entities", (Streams(7), "guests.a", "service"), (Streams(7), "guests.b", "service")),
        ("purposes", (Streams(7), "guests.a", "service"), (Streams(7), "guests.a", "arrivals")),
        ("replications", (Streams(7, 0), "guests.a", "service"), (Streams(7, 1), "guests.a", "service")),
        ("roots", (Streams(7), "guests.a", "service"), (Streams(8), "guests.a", "service")),
    ],
)
def test_streams_are_not_correlated(what, left, right, record_property):
    """z = r·sqrt(n) for the correlation r at lags -2 to 2; n = 20000, abs(z) < 4.9 at each lag."""
    x, y = series(*left) - 0.5, series(*right) - 0.5
    worst = max(
        (
            abs(
                float(np.corrcoef(x[max(0, lag) : len(x) + min(0, lag)], y[max(0, -lag) : len(y) - max(0, lag)])[0, 1])
            ),
            lag,
        )
        for lag in range(-2, 3)
    )
    z = worst[0] * math.sqrt(len(x))
    record_property("z", z)
    print(f"{what}: largest |z| = {z:.2f} at lag {worst[1]}, n = {len(x)}")
    assert z < LIMIT
