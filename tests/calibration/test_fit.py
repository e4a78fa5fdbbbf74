"""The fit, on measurements made up from known prices."""

from __future__ import annotations

import numpy as np
import pytest

from virtsim.calibration.fit import Row, fit
from virtsim.core.errors import CalibrationError

PLANTED = {"call": 190.0, "copy": 0.02, "page": 240.0, "fork": 52_000.0}
MIXTURES = {
    "null": {"call": 1},
    "read-1": {"call": 1, "copy": 1, "step": 1},
    "read-4k": {"call": 1, "copy": 4096},
    "read-64k": {"call": 1, "copy": 65536, "page": 15},
    "fork": {"call": 3, "fork": 1},
    "mixed": {"call": 10, "copy": 20_000, "page": 4, "fork": 1},
}
KNOWN = {"step": 10.0}


def rows(noise: float, runs: int, seed: int) -> list[Row]:
    rng = np.random.Generator(np.random.PCG64(seed))
    prices = {**PLANTED, **KNOWN}
    made = []
    for name, totals in MIXTURES.items():
        cost = sum(count * prices[primitive] for primitive, count in totals.items())
        made.append(Row(name, totals, list(cost * (1 + noise * rng.standard_normal(runs)))))
    return made


def test_without_noise_the_planted_prices_come_back():
    found = fit(rows(0.0, 3, 0), list(PLANTED), KNOWN)
    for name, value in PLANTED.items():
        assert found.prices[name].value == pytest.approx(value, rel=1e-6)
    assert max(abs(error) for error in found.residuals.values()) < 1e-9
    assert not found.unknown


def test_intervals_are_those_of_a_single_run():
    """H0: a price fitted to one fresh run of everything lies in the 90 % interval with probability 0.9.

    200 fresh runs of four prices against intervals from 60 runs; the bounds 0.84 and 0.96 are more than
    four standard errors (0.011, independent prices) from 0.9 and leave room for the interval's own error.
    """
    found = fit(rows(0.02, 60, 1), list(PLANTED), KNOWN, resamples=400, seed=2)
    inside = total = 0
    for seed in range(200):
        single = fit(rows(0.02, 1, 1000 + seed), list(PLANTED), KNOWN, resamples=2)
        for name in PLANTED:
            price = found.prices[name]
            inside += price.low <= single.prices[name].value <= price.high
            total += 1
    print(f"coverage {inside / total:.3f} of {total}")
    assert 0.84 <= inside / total <= 0.96


def test_primitives_that_always_come_together_are_unknown_with_the_reason():
    made = [Row("a", {"x": 1, "y": 2}, [100.0]), Row("b", {"x": 2, "y": 4, "z": 1}, [230.0])]
    found = fit(made, ["x", "y", "z", "w"], {"x": 10.0, "y": 45.0})
    assert set(found.unknown) == {"w"} | (set(found.unknown) & {"x", "y"})
    assert len(found.unknown) == 2
    assert "no measured workload" in found.unknown["w"]
    assert any("cannot be told apart" in reason for reason in found.unknown.values())
    assert found.prices["z"].value == pytest.approx(30.0, rel=1e-6)


def test_prices_are_not_negative():
    found = fit([Row("a", {"x": 1}, [100.0]), Row("b", {"x": 1, "y": 1}, [90.0])], ["x", "y"], {})
    assert found.prices["y"].value >= 0
    assert found.prices["x"].value == pytest.approx(95, rel=0.06)


def test_a_primitive_without_a_price_is_an_error():
    with pytest.raises(CalibrationError, match="needs a price of 'y'"):
        fit([Row("a", {"x": 1, "y": 1}, [100.0])], ["x"], {})
    with pytest.raises(CalibrationError, match="nothing to fit"):
        fit([], ["x"], {})
