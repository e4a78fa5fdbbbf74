"""Output analysis, against series whose mean, start and correlation are known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtsim.core.errors import SpecError
from virtsim.core.streams import Streams
from virtsim.results.statistics import (
    batch_means,
    look_ahead,
    mean_interval,
    paired_difference,
    replicate_until,
    replications_needed,
    warmup_cut,
)

NUMBERS = st.floats(-1e9, 1e9)


def autoregressive(rng, n, phi):
    """Stationary AR(1) with mean 0 and variance 1."""
    noise = rng.standard_normal(n) * math.sqrt(1 - phi * phi)
    series = np.empty(n)
    series[0] = rng.standard_normal()
    for i in range(1, n):
        series[i] = phi * series[i - 1] + noise[i]
    return series


def test_the_textbook_interval():
    """Law 2015, example 4.26: ten values, 90 % interval 1.34 ± 0.24."""
    values = [1.20, 1.50, 1.68, 1.89, 0.95, 1.49, 1.58, 1.55, 0.50, 1.09]
    interval = mean_interval(values, confidence=0.90)
    assert interval.mean == pytest.approx(1.343)
    assert interval.half_width == pytest.approx(0.24, abs=0.005)
    assert interval.std**2 == pytest.approx(0.17, abs=0.005)


def test_intervals_hold_the_mean_as_often_as_they_say(record_property):
    """4000 intervals of 90 %: the number that hold the mean is binomial; |z| < 4.9."""
    rng = Streams(1).generator("tests", "coverage")
    held = sum(
        low <= 3.0 <= high
        for _, low, high, *_ in (mean_interval(rng.normal(3.0, 2.0, 8), confidence=0.9) for _ in range(4000))
    )
    z = (held - 3600) / math.sqrt(4000 * 0.9 * 0.1)
    record_property("z", z)
    print(f"coverage {held / 4000:.3f} of 0.9, z = {z:+.2f}, n = 4000")
    assert abs(z) < 4.9


def test_one_value_says_nothing_about_the_spread():
    interval = mean_interval([5.0])
    assert (interval.mean, interval.low, interval.high, interval.n) == (5.0, -math.inf, math.inf, 1)
    assert math.isnan(interval.std)
    assert interval.relative_half_width == math.inf


def test_equal_values_are_known_exactly():
    interval = mean_interval([0.0, 0.0, 0.0])
    assert (interval.low, interval.high, interval.relative_half_width) == (0.0, 0.0, 0.0)
    assert mean_interval([-1.0, 1.0]).relative_half_width == math.inf


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: mean_interval([]), "values"),
        (lambda: mean_interval([1.0, math.nan]), "values"),
        (lambda: mean_interval([1.0, 2.0], confidence=1.0), "confidence"),
        (lambda: mean_interval([[1.0, 2.0]]), "values"),
        (lambda: paired_difference([1.0], [1.0, 2.0]), "baseline"),
        (lambda: batch_means([1.0] * 10, batches=1), "batches"),
        (lambda: batch_means([1.0] * 10, batches=20), "series"),
        (lambda: replications_needed([1.0], precision=0), "precision"),
    ],
)
def test_bad_input_names_the_field(call, field):
    with pytest.raises(SpecError) as caught:
        call()
    assert caught.value.path == field


@given(st.lists(NUMBERS, min_size=2, max_size=30), st.floats(0.5, 0.99))
def test_more_confidence_is_a_wider_interval(values, confidence):
    narrow, wide = mean_interval(values, confidence), mean_interval(values, confidence + 0.005)
    assert wide.half_width >= narrow.half_width
    assert narrow.low <= narrow.mean <= narrow.high


# -- warm-up ---------------------------------------------------------------------------------------


def test_a_start_that_is_off_is_cut():
    """A bias of ten standard deviations that fades with a time constant of 50 values."""
    rng = Streams(2).generator("tests", "warm-up")
    for _ in range(20):
        series = rng.normal(0, 1, 3000) + 10 * np.exp(-np.arange(3000) / 50)
        warmup = warmup_cut(series)
        assert warmup.reliable
        assert 50 <= warmup.cut <= 600
        assert abs(series[warmup.cut :].mean()) < abs(series.mean())


def test_a_series_without_a_start_is_hardly_cut():
    rng = Streams(3).generator("tests", "no warm-up")
    cuts = [warmup_cut(rng.normal(5, 1, 2000)).cut for _ in range(50)]
    assert np.median(cuts) <= 200


def test_a_series_that_never_settles_is_not_reliable():
    assert not warmup_cut(np.concatenate([np.arange(900.0), np.full(100, 2000.0)])).reliable
    assert warmup_cut([1.0] * 10) == (0, False)


@given(st.lists(st.integers(0, 1000), min_size=50, max_size=200), st.integers(-(10**6), 10**6))
def test_the_cut_does_not_depend_on_the_units_origin(values, shift):
    assert warmup_cut(values) == warmup_cut([value + shift for value in values])


@given(st.lists(st.integers(0, 100), min_size=50, max_size=150))
def test_the_cut_is_the_definition(values):
    """Against the formula written out, quadratic."""
    means = [sum(values[i : i + 5]) / 5 for i in range(0, len(values) // 5 * 5, 5)]

    def statistic(d):
        kept = means[d:]
        centre = sum(kept) / len(kept)
        return sum((mean - centre) ** 2 for mean in kept) / len(kept) ** 2

    best = min(range(len(means) - 5), key=statistic)
    cut = warmup_cut(values)
    if cut.reliable:
        assert statistic(cut.cut // 5) <= statistic(best) + 1e-9
    else:
        assert cut.cut == len(means) // 2 * 5


# -- precision -------------------------------------------------------------------------------------


def test_replications_stop_at_the_precision():
    rng = Streams(4).generator("tests", "precision")
    outcome = replicate_until(lambda i: rng.normal(100, 10), precision=0.02)
    assert outcome.reached
    assert outcome.interval.relative_half_width < 0.025
    # About (1.96 * 10 / 2)^2 = 96 are needed.
    assert 40 < len(outcome.values) < 200


def test_replications_stop_at_the_limit():
    rng = Streams(4).generator("tests", "limit")
    outcome = replicate_until(lambda i: rng.normal(0, 1), precision=0.01, n_max=20)
    assert (outcome.reached, len(outcome.values)) == (False, 20)


def test_a_lucky_streak_does_not_count():
    lucky = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    assert replications_needed(lucky, 0.05) is None, "five more must agree"
    assert replications_needed([*lucky, 9.0, 1.0, 1.0, 1.0, 1.0, 1.0], 0.05) is None
    assert replications_needed([1.0] * 10, 0.05) == 5
    assert (look_ahead(100), look_ahead(400)) == (5, 20)


# -- pairs and batches -----------------------------------------------------------------------------


def test_common_random_numbers_narrow_the_interval():
    rng = Streams(5).generator("tests", "pairs")
    common = rng.normal(0, 10, 30)
    ours, theirs = 101 + common + rng.normal(0, 1, 30), 100 + common + rng.normal(0, 1, 30)
    paired = paired_difference(ours, theirs)
    apart = paired_difference(ours, rng.permutation(theirs))
    assert paired.correlation > 0.9
    assert paired.interval.half_width < apart.interval.half_width / 3
    assert paired.significant
    assert not apart.significant


def test_constant_systems_have_no_correlation():
    paired = paired_difference([2.0, 2.0], [1.0, 1.0])
    assert math.isnan(paired.correlation)
    assert paired.significant


def test_batch_means_cover_where_the_naive_interval_does_not(record_property):
    """AR(1) with φ = 0.9: 400 intervals of 90 % from 20 batches of 100, against the naive ones.

    The batches are still a little correlated, so the coverage lies slightly below; 0.84 is 4 binomial
    standard deviations below 0.9.
    """
    rng = Streams(6).generator("tests", "batches")
    held = naive = independent = 0
    for _ in range(400):
        series = autoregressive(rng, 2000, 0.9)
        batches = batch_means(series, batches=20, confidence=0.9)
        held += batches.interval.low <= 0 <= batches.interval.high
        independent += batches.independent
        plain = mean_interval(series, 0.9)
        naive += plain.low <= 0 <= plain.high
    record_property("coverage", held / 400)
    print(f"batch means {held / 400:.3f}, naive {naive / 400:.3f} of 0.9; independent {independent / 400:.2f}")
    assert held / 400 > 0.84
    assert naive / 400 < 0.5
    assert independent / 400 > 0.8


def test_short_batches_are_found_to_be_correlated():
    series = autoregressive(Streams(7).generator("tests", "short"), 1000, 0.95)
    assert not batch_means(series, batches=200).independent


def test_a_remainder_is_left_out_at_the_front():
    batches = batch_means([100.0, *[1.0, 3.0] * 10], batches=10)
    assert (batches.interval.mean, batches.batch_size, batches.lag1) == (2.0, 2, 0.0)
