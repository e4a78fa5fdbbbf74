import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtsim.core.errors import SpecError
from virtsim.core.streams import Streams
from virtsim.workload.arrivals import Arrivals

SECOND = 10**9


@pytest.mark.parametrize(
    "text", ["closed(5ms)", "closed(exponential(5ms))", "poisson(800/s)", "periodic(10ms)", "file(a b.txt)"]
)
def test_text_form(text):
    arrivals = Arrivals.parse(text)
    assert str(arrivals) == text
    assert Arrivals.parse(str(arrivals)) == arrivals
    assert arrivals.open == (not text.startswith("closed"))


def test_spaces_do_not_matter():
    assert Arrivals.parse(" poisson( 800/s ) ") == Arrivals.parse("poisson(800/s)")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("800/s", "not an arrival process"),
        ("bursty(800/s)", "known: closed, poisson, periodic, file"),
        ("poisson(0/s)", "out of range"),
        ("poisson(800)", "no unit"),
        ("periodic(0s)", "more than 0"),
        ("periodic(exponential(1ms))", "not a duration"),
        ("closed(x)", "not a duration"),
        ("file()", "needs the path"),
        ("file(a\0b)", "needs the path"),
    ],
)
def test_bad_texts_are_refused(text, reason):
    with pytest.raises(ValueError, match=reason):
        Arrivals.parse(text)


def test_periodic_arrivals_are_exact():
    assert list(Arrivals.parse("periodic(10ms)").times_ns(0, 35_000_000)) == [10_000_000, 20_000_000, 30_000_000]
    assert list(Arrivals.parse("periodic(10ms)").times_ns(0, 20_000_000)) == [10_000_000, 20_000_000]


@given(st.integers(0, 2**64 - 1), st.integers(0, 3 * SECOND))
def test_a_longer_run_has_the_same_first_arrivals(seed, until_ns):
    arrivals = Arrivals.parse("poisson(50/s)")
    short, long = (list(arrivals.times_ns(seed, end)) for end in (until_ns, 3 * SECOND))
    assert long[: len(short)] == short
    assert long == sorted(long)
    assert all(time > until_ns for time in long[len(short) :])


def test_poisson_counts(record_property):
    """Counts in 400 runs of 1 s at 100/s: mean and variance are 100; z of the mean, χ² of the dispersion.

    The index of dispersion times 399 is chi-square with 399 degrees of freedom, so its z is near normal.
    """
    counts = [
        len(list(Arrivals.parse("poisson(100/s)").times_ns(Streams(3, r).seed64("a", "b"), SECOND))) for r in range(400)
    ]
    mean = sum(counts) / 400
    z_mean = (mean - 100) / math.sqrt(100 / 400)
    dispersion = sum((count - mean) ** 2 for count in counts) / 399 / mean
    z_dispersion = (dispersion - 1) / math.sqrt(2 / 399)
    record_property("z", [z_mean, z_dispersion])
    print(f"poisson(100/s), n = 400: mean {mean:.2f}, z = {z_mean:+.2f}")
    print(f"dispersion {dispersion:.3f}, z = {z_dispersion:+.2f}")
    assert abs(z_mean) < 4.9
    assert abs(z_dispersion) < 4.9


def test_arrivals_from_a_file(tmp_path):
    (tmp_path / "a.txt").write_text("# measured\n1ms\n\n2.5ms  # a pause\n2.5ms\n1s\n")
    arrivals = Arrivals.parse("file(a.txt)")
    assert list(arrivals.times_ns(0, 10_000_000, tmp_path)) == [1_000_000, 2_500_000, 2_500_000]
    with pytest.raises(ValueError, match="no gap"):
        _ = arrivals.gap


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1ms\nx\n", "line 2: 'x' is not a duration"),
        (b"2ms\n1ms\n", "line 2: arrival times must ascend"),
        (b"\xff", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_bad_files_are_one_line_errors(tmp_path, content, message):
    if content is not None:
        (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(SpecError) as caught:
        Arrivals.parse("file(a.txt)").read_file(tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
