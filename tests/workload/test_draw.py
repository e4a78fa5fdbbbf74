"""Distributions: text form, moments, and the transform itself."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from virtsim.core.streams import SplitMix64, Streams
from virtsim.workload.draw import KINDS, LONGEST_NS, Draw

DURATIONS = st.integers(0, LONGEST_NS)
DRAWS = st.one_of(
    DURATIONS.map(lambda d: Draw("constant", (d,))),
    st.tuples(DURATIONS, DURATIONS).map(lambda t: Draw("uniform", (min(t), max(t)))),
    DURATIONS.map(lambda d: Draw("exponential", (d,))),
    st.tuples(DURATIONS, st.floats(0, 100)).map(lambda t: Draw("lognormal", (t[0],), t[1])),
    st.tuples(DURATIONS, st.floats(1.01, 100)).map(lambda t: Draw("pareto", (t[0],), t[1])),
    st.tuples(DURATIONS, st.floats(1, 100)).map(lambda t: Draw("hyperexponential", (t[0],), t[1])),
    st.lists(DURATIONS, min_size=1, max_size=20).map(lambda d: Draw("empirical", tuple(d))),
)
LIMIT = 4.9


@given(DRAWS)
def test_a_draw_survives_its_text(draw):
    back = Draw.parse(str(draw))
    assert back == draw
    assert (back.kind, back.durations_ns, back.shape) == (draw.kind, draw.durations_ns, draw.shape)
    assert hash(back) == hash(draw)


@given(DRAWS, st.integers(0, 2**64 - 1))
def test_every_sample_is_a_possible_duration(draw, seed):
    rng = SplitMix64(seed)
    for _ in range(10):
        value = draw.sample(rng)
        assert type(value) is int
        assert 0 <= value <= LONGEST_NS
        if draw.kind == "uniform":
            assert draw.durations_ns[0] <= value <= draw.durations_ns[1]
        if draw.kind in ("constant", "empirical"):
            assert value in draw.durations_ns


class Extreme:
    """A generator at the ends of [0, 1): every transform must stay finite there."""

    def __init__(self, value):
        self.value = value

    def uniform(self):
        return self.value


@given(DRAWS, st.sampled_from([0.0, 1 - 2**-53, 0.5, 2**-53]))
def test_the_ends_of_the_unit_interval_are_harmless(draw, value):
    assert 0 <= draw.sample(Extreme(value)) <= LONGEST_NS


MOMENTS = [
    ("uniform(1ms, 3ms)", 2e6, 1 / math.sqrt(3) / 2),
    ("exponential(2ms)", 2e6, 1.0),
    ("lognormal(2ms, 0.5)", 2e6, 0.5),
    ("pareto(2ms, 4.5)", 2e6, 1 / math.sqrt(4.5 * 2.5)),
    ("hyperexponential(2ms, 1.5)", 2e6, 1.5),
    ("empirical(1ms, 1ms, 4ms)", 2e6, math.sqrt(2) / 2),
]


@pytest.mark.parametrize(("text", "mean_ns", "variation"), MOMENTS)
def test_the_mean_is_the_stated_one(text, mean_ns, variation, record_property):
    """z = (sample mean - mean) / (stated deviation / sqrt(n)), n = 40000; abs(z) < 4.9 unless the mean is wrong."""
    draw, n = Draw.parse(text), 40_000
    rng = SplitMix64(Streams(11).seed64("draws", text))
    values = [draw.sample(rng) for _ in range(n)]
    z = (sum(values) / n - mean_ns) / (mean_ns * variation / math.sqrt(n))
    record_property("z", z)
    print(f"{text}: mean {sum(values) / n:.0f} of {mean_ns:.0f} ns, z = {z:+.2f}, n = {n}")
    assert draw.mean_ns == mean_ns
    assert abs(z) < LIMIT


@pytest.mark.parametrize(
    ("text", "distribution"),
    [
        ("uniform(1ms, 3ms)", stats.uniform(1e6, 2e6)),
        ("exponential(2ms)", stats.expon(scale=2e6)),
        ("lognormal(2ms, 0.5)", stats.lognorm(math.sqrt(math.log(1.25)), scale=2e6 / math.sqrt(1.25))),
        ("pareto(2ms, 2.5)", stats.pareto(2.5, scale=2e6 * 1.5 / 2.5)),
    ],
)
def test_the_distribution_is_the_stated_one(text, distribution):
    """Kolmogorov and Smirnov on 10000 values of 1 ns resolution; p > 1e-6."""
    rng = SplitMix64(Streams(12).seed64("draws", text))
    draw = Draw.parse(text)
    p = stats.kstest([draw.sample(rng) for _ in range(10_000)], distribution.cdf).pvalue
    print(f"{text}: Kolmogorov-Smirnov p = {p:.3f}, n = 10000")
    assert p > 1e-6


def test_the_hyperexponential_has_balanced_means():
    """Each branch carries half of the mean: p·m1 = (1-p)·m2."""
    p, first, second = Draw.parse("hyperexponential(2ms, 3)").coefficients()
    assert p * first == pytest.approx((1 - p) * second) == pytest.approx(1e6)
    second_moment = 2 * (p * first**2 + (1 - p) * second**2)
    assert math.sqrt(second_moment - 4e12) / 2e6 == pytest.approx(3)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("weibull(1ms)", "not a distribution; known: uniform"),
        ("constant(1ms)", "not a distribution"),
        ("uniform(1ms)", "takes 2 duration"),
        ("uniform(2ms, 1ms)", "low <= high"),
        ("exponential(1ms, 2ms)", "takes 1 duration"),
        ("exponential()", "not a duration"),
        ("lognormal(1ms)", "a duration and a number"),
        ("lognormal(1ms, x)", "must be a number"),
        ("lognormal(1ms, nan)", "between 0 and 100"),
        ("lognormal(1ms, -1)", "between 0 and 100"),
        ("pareto(1ms, 1)", "between 1.01 and 100"),
        ("hyperexponential(1ms, 0.5)", "between 1 and 100"),
        ("hyperexponential(1ms, inf)", "between 1 and 100"),
        ("empirical()", "not a duration"),
        ("exponential(80000d)", "2\\*\\*60 ns"),
        ("exponential(1ms", "not a duration"),
        ("1ms)", "unknown unit"),
        ("5", "no unit"),
    ],
)
def test_bad_texts_are_refused(text, reason):
    with pytest.raises(ValueError, match=reason):
        Draw.parse(text)


@given(st.text(max_size=60) | st.text("abeilnoprux(),. 0123456789mnus", max_size=40))
def test_any_text_is_read_or_refused(text):
    try:
        draw = Draw.parse(text)
    except ValueError:
        return
    assert draw.kind in KINDS
