import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtsim.engine.environment import Environment
from virtsim.engine.probes import StationProbe, Tally, TimeAverage
from virtsim.engine.stations import FifoStation


@given(st.lists(st.integers(-(2**62), 2**62), min_size=2, max_size=50))
def test_a_tally_is_exact(values):
    tally = Tally()
    for value in values:
        tally.add(value)
    assert tally.total == sum(values)
    assert (tally.minimum, tally.maximum, tally.count) == (min(values), max(values), len(values))
    assert tally.mean == sum(values) / len(values)
    assert tally.variance == pytest.approx(float(statistics.variance(values)), rel=1e-12)


def test_an_empty_tally_has_no_mean():
    tally = Tally()
    assert math.isnan(tally.mean)
    tally.add(3)
    assert math.isnan(tally.variance)


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(-5, 5)), max_size=30))
def test_a_time_average_integrates_on_change(steps):
    env = Environment()
    level = TimeAverage(env, 7)
    area, now, current, seen = 0, 0, 7, [7]
    for delay, change in steps:
        if delay:
            env.run(until=env.now + delay)
        area, now = area + current * delay, now + delay
        level.add(change)
        current += change
        seen.append(current)
    assert level.integral == area
    assert (level.minimum, level.maximum, level.level) == (min(seen), max(seen), current)
    assert math.isnan(level.mean) if now == 0 else level.mean == area / now


def test_a_probe_can_forget_the_warm_up():
    env = Environment()
    probe = StationProbe(env)
    station = FifoStation(env, probe=probe)
    station.serve(100)
    env.run(until=60)
    probe.clear()
    env.run(until=160)
    assert probe.busy.integral == 40
    assert probe.busy.mean == 0.4
    assert (probe.sojourn_ns.count, probe.waiting_ns.count) == (1, 0)
