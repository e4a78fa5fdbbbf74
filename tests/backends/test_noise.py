"""Noise from two texts of /proc/stat."""

from __future__ import annotations

import pytest

from virtsim.backends.noise import NoiseLimits, measure

_BEFORE = "cpu  0 0 0 0 0 0 0 0 0 0\ncpu0 100 0 50 1000 0 5 5 3 0 0\ncpu1 100 0 50 1000 0 5 5 3 0 0\nintr 1\n"
_AFTER = "cpu  0 0 0 0 0 0 0 0 0 0\ncpu0 180 0 60 1000 0 5 5 8 0 0\ncpu1 100 0 50 1100 0 5 5 3 0 0\nintr 2\n"
_SECOND = 1_000_000_000


def test_shares_are_of_the_cpus_that_could_be_used() -> None:
    one = measure(_BEFORE, _AFTER, [0], _SECOND, 800_000_000, (1000, 1000), NoiseLimits())
    assert (one.steal_share, one.foreign_share) == pytest.approx((0.05, 0.1))
    both = measure(_BEFORE, _AFTER, None, _SECOND, 800_000_000, (1000, 1000), NoiseLimits())
    assert (both.steal_share, both.foreign_share) == pytest.approx((0.025, 0.05))


def test_each_limit_marks_a_run() -> None:
    loose = NoiseLimits(1, 1, 1)
    assert not measure(_BEFORE, _AFTER, [0], _SECOND, 0, (1000, 1000), loose).disturbed
    assert measure(_BEFORE, _AFTER, [0], _SECOND, 0, (1000, 1000), loose._replace(steal_share=0.02)).disturbed
    assert measure(_BEFORE, _AFTER, [0], _SECOND, 0, (1000, 1000), loose._replace(foreign_share=0.5)).disturbed
    assert measure(_BEFORE, _AFTER, [0], _SECOND, 0, (1000, 1200), loose._replace(speed_change=0.1)).disturbed


def test_what_the_clock_cannot_resolve_is_no_disturbance() -> None:
    """Two ticks of 10 ms on one CPU are within the counters' error, whatever the share."""
    after = _BEFORE.replace("cpu0 100 0 50 1000 0 5 5 3", "cpu0 102 0 50 1000 0 5 5 3")
    assert not measure(_BEFORE, after, [0], 50_000_000, 0, (1000, 1000), NoiseLimits()).disturbed
