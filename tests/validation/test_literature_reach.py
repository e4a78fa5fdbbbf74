"""What a paper's micro rows could say of a macro row: a linear programme, against mixes that are known."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from virtsim.platform.host import load_host
from virtsim.validation.literature import unit_ns, validate_literature
from virtsim.validation.literature_cards import Paper, load_paper
from virtsim.validation.literature_reach import reach

PAPER = load_paper("xen-2003")
HOST = load_host(PAPER.host)
MICRO = [row for row in PAPER.rows if row.level == "micro"]
TUPLE = next(row for row in PAPER.rows if row.benchmark == "OSDB-OLTP")
CALL = next(i for i, row in enumerate(MICRO) if row.benchmark == "null call")


@pytest.fixture(scope="module")
def results():
    return validate_literature(["xen-2003", "adams-agesen-2006"]).results


@settings(max_examples=30, deadline=None)
@given(
    counts=st.lists(st.floats(0, 100), min_size=len(MICRO), max_size=len(MICRO)),
    idle=st.floats(0.0, 2.0),
)
def test_a_mix_of_the_micro_rows_is_always_within_reach(counts, idle):
    counts[CALL] += sum(counts) + 1  # More calls than switches.
    times = {
        stack: sum(x * unit_ns(row, row.published[stack], HOST) for x, row in zip(counts, MICRO, strict=True)) / 1e3
        for stack in TUPLE.published
    }
    waiting = idle * times["linux"]
    published = {stack: time + waiting for stack, time in times.items()}
    row = TUPLE.replace(unit="us", rate=False, published=published)
    for stack, (low, high) in reach(row, PAPER, HOST).items():
        assert low <= published[stack] * (1 + 1e-6), stack
        assert published[stack] <= high * (1 + 1e-6), stack


def _two_rows(macro):
    """A row of a call (10, 20 and 30 us) and one of a fault (1, 11 and 51 us)."""
    data = PAPER.to_builtins()
    values = {"linux": 1.0, "uml": 1.0, "vmware": 1.0}
    call = {**data["rows"][0], "published": {"linux": 10.0, "uml": 20.0, "vmware": 30.0}, "calibration": []}
    fault = next(row for row in data["rows"] if row["benchmark"] == "page fault")
    fault = {**fault, "published": {"linux": 1.0, "uml": 11.0, "vmware": 51.0}, "calibration": []}
    row = TUPLE.to_builtins() | {"unit": "us", "rate": False, "published": values | macro}
    return Paper.from_builtins({**data, "rows": [call, fault, row]}, "paper.toml")


def test_two_rows_reach_from_the_one_to_the_other():
    """10 us more on the fitted stack are one call (20 us more on the other) or one fault (50), if there is time."""
    paper = _two_rows({"linux": 100.0, "uml": 110.0})
    assert reach(paper.rows[2], paper, HOST)["vmware"] == pytest.approx((120.0, 150.0))
    tight = _two_rows({"linux": 5.5, "uml": 15.5})  # Half a call and half a fault take all the time there is.
    assert reach(tight.rows[2], tight, HOST)["vmware"] == pytest.approx((5.5 + 35.0, 5.5 + 50.0))


def test_a_value_that_no_mix_gives_the_fitted_stack_has_no_reach():
    paper = _two_rows({"linux": 0.5, "uml": 15.5})  # 15 us more at the least are 1.5 faults of 1 us each.
    assert all(math.isnan(value) for value in reach(paper.rows[2], paper, HOST)["vmware"])
    assert reach(MICRO[0], PAPER, HOST) == {}


def test_two_published_values_are_beyond_all_mixes(results):
    beyond = {(r.benchmark, r.stack) for r in results if r.beyond_reach}
    assert beyond == {("OSDB-OLTP", "vmware"), ("SPEC WEB99", "vmware")}
    switch_us = HOST.price("world_switch") / 1e3
    for benchmark, left_us, switches in (("OSDB-OLTP", 2100, 770), ("SPEC WEB99", 1300, 480)):
        r = next(r for r in results if (r.benchmark, r.stack) == (benchmark, "vmware"))
        left = 1e6 / r.published - 1e6 / r.reach_low
        assert left == pytest.approx(left_us, rel=0.03)
        assert left / switch_us == pytest.approx(switches, rel=0.03)
        assert f"{left_us / 1e3:.1f} ms are left" in r.why
        assert f"{switches} world switches" in r.why


def test_the_report_says_what_mixes_reach():
    text = str(validate_literature(["xen-2003"]))
    assert "No mix of the paper's micro rows gives it: they reach 341.9 to 1628." in text
    assert text.count("No mix of the paper's micro rows") == 2
