"""Units: both ways, exact, and strict."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtsim.core import units

INT63 = st.integers(0, 2**63 - 1)


@given(INT63)
def test_durations_survive_their_text(value):
    assert units.parse_duration(units.format_duration(value)) == value


@given(INT63)
def test_sizes_survive_their_text(value):
    assert units.parse_size(units.format_size(value)) == value


@given(st.floats(1e-9, 1e11, allow_nan=False))
def test_rates_survive_their_text(value):
    assert units.parse_rate(units.format_rate(value)) == value


@given(st.sets(st.integers(0, 9999), min_size=1, max_size=40))
def test_cpu_lists_survive_their_text(cpus):
    ordered = tuple(sorted(cpus))
    assert units.parse_cpu_list(units.format_cpu_list(ordered)) == ordered


@given(st.integers(0, 10**5), st.integers(0, 999), st.sampled_from(list(units.DURATION_NS)))
def test_decimals_are_exact(whole, thousandths, unit):
    """``"1.001h"`` is what the decimal number says, rounded half to even; no binary fraction comes between."""
    exact = (whole + Fraction(thousandths, 1000)) * units.DURATION_NS[unit]
    low = math.floor(exact)
    expected = low if exact - low < Fraction(1, 2) or (exact - low == Fraction(1, 2) and low % 2 == 0) else low + 1
    assert units.parse_duration(f"{whole}.{thousandths:03d}{unit}") == expected


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("250us", 250_000),
        ("250 us", 250_000),
        ("1.5ms", 1_500_000),
        ("1e3us", 1_000_000),
        ("1_000ns", 1000),
        ("0s", 0),
        ("2.5ns", 2),
        ("3.5ns", 4),
        ("1d", 86_400 * 10**9),
        ("µs".join(["7", ""]), 7000),
    ],
)
def test_durations(text, ns):
    assert units.parse_duration(text) == ns


@pytest.mark.parametrize(
    ("text", "size"), [("4KiB", 4096), ("4kB", 4000), ("1GiB", 2**30), ("1GB", 10**9), ("7B", 7), ("0.5KiB", 512)]
)
def test_sizes(text, size):
    assert units.parse_size(text) == size


@pytest.mark.parametrize(("text", "hz"), [("800/s", 800.0), ("1.5/ms", 1500.0), ("60/min", 1.0), ("1/us", 1e6)])
def test_rates(text, hz):
    assert units.parse_rate(text) == pytest.approx(hz)


@pytest.mark.parametrize("text", ["30ms/100ms", "30%", "30.0 %", "0.03s / 0.1s"])
def test_one_bandwidth_in_many_ways(text):
    assert units.parse_cpu_max(text) == (30_000_000, 100_000_000)


@pytest.mark.parametrize(
    ("parse", "text", "reason"),
    [
        (units.parse_duration, "5", "no unit"),
        (units.parse_duration, "5 parsecs", "unknown unit 'parsecs'"),
        (units.parse_duration, "-5ms", "negative"),
        (units.parse_duration, "1e99s", "too large"),
        (units.parse_duration, "1e9d", "too large"),
        (units.parse_duration, "nans", "not a duration"),
        (units.parse_duration, "infs", "not a duration"),
        (units.parse_duration, "", "not a duration"),
        (units.parse_duration, "٣ms", "not a duration"),
        (units.parse_duration, "1ms\n2ms", "not a duration"),
        (units.parse_duration, "9" * 100 + "s", "not a duration"),
        (units.parse_duration, "1MS", "unknown unit"),
        (units.parse_size, "1kb", "unknown unit"),
        (units.parse_size, "-1B", "negative"),
        (units.parse_rate, "0/s", "out of range"),
        (units.parse_rate, "1e13/s", "out of range"),
        (units.parse_rate, "-1/s", "out of range"),
        (units.parse_rate, "5", "no unit"),
        (units.parse_cpu_max, "30ms", "quota/period"),
        (units.parse_cpu_max, "30ms/2s", "period must be 1ms to 1s"),
        (units.parse_cpu_max, "30ms/0s", "period must be 1ms to 1s"),
        (units.parse_cpu_max, "1us/100ms", "quota must be at least 1ms"),
        (units.parse_cpu_max, "1500001ns/100ms", "whole microseconds"),
        (units.parse_cpu_max, "x%", "not a percentage"),
        (units.parse_cpu_max, "nan%", "percentage"),
        (units.parse_cpu_max, "inf%", "percentage"),
        (units.parse_cpu_max, "1e9999999%", "unknown unit"),
        (units.parse_cpu_max, "-5%", "negative"),
        (units.parse_cpu_max, "0.5%", "quota must be at least 1ms"),
        (units.parse_cpu_max, "33.33333%", "whole microseconds"),
        (units.parse_cpu_list, "", "not a list of CPUs"),
        (units.parse_cpu_list, "0,", "not a list of CPUs"),
        (units.parse_cpu_list, "3-1", "runs backwards"),
        (units.parse_cpu_list, "0-99999", "not a list of CPUs"),
        (units.parse_cpu_list, "a", "not a list of CPUs"),
        (units.parse_frequency, "2.5", "no unit"),
    ],
)
def test_bad_texts_are_refused_with_a_reason(parse, text, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        parse(text)
    assert len(str(caught.value)) < 300


PARSERS = [
    units.parse_duration,
    units.parse_size,
    units.parse_rate,
    units.parse_frequency,
    units.parse_cpu_max,
    units.parse_cpu_list,
]


@given(st.sampled_from(PARSERS), st.text(max_size=80) | st.text("0123456789.eE+-_/%, munsKiMGB", max_size=20))
def test_any_text_is_read_or_refused(parse, text):
    try:
        value = parse(text)
    except ValueError:
        return
    assert value is not None


@given(st.floats(0, 1e18))
def test_durations_for_people_are_near(value):
    number, unit = units.show_duration(value).split()
    assert float(number) * units.DURATION_NS[unit] == pytest.approx(value, rel=0.006)
