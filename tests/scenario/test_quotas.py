"""Quotas inside quotas."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from virtsim import Group, Guest, Scenario, workloads
from virtsim.core.spec import CpuMax
from virtsim.scenario.quotas import LEAST_QUOTA_NS, cut_quotas, fit_quotas


def _nested(outer: str, guest: str, burst: str = "0us", stack: str = "container") -> Scenario:
    limits = {} if stack == "native" else {"cpu_max": guest, "cpu_burst": burst}
    inside = Guest(name="c", group="in", stack=stack, workload=workloads.spin(), **limits)
    groups = [Group(name="out", cpu_max=outer), Group(name="in", parent="out", cpu_max="50ms/100ms")]
    return Scenario(groups=groups, guests=[inside], duration="1s").checked()


def _part(limits: object) -> Fraction:
    return Fraction(limits.cpu_max.quota_ns, limits.cpu_max.period_ns)


def test_what_fits_stays() -> None:
    scenario = _nested("60ms/100ms", "5ms/10ms")
    assert fit_quotas(scenario) == scenario
    assert cut_quotas(scenario) == []


def test_what_does_not_fit_is_cut_to_whole_microseconds_and_its_burst_with_it() -> None:
    fitted = fit_quotas(_nested("12768us/100ms", "7559us/10ms", "6589us"))
    assert [group.cpu_max for group in fitted.groups] == [
        CpuMax(12_768_000, 100_000_000),
        CpuMax(12_768_000, 100_000_000),
    ]
    assert fitted.guests[0].cpu_max == CpuMax(1_276_000, 10_000_000)
    assert fitted.guests[0].cpu_burst == 1_276_000
    assert cut_quotas(_nested("12768us/100ms", "7559us/10ms")) == ["in", "c"]


def test_where_no_kernel_takes_so_little_of_so_short_a_period_it_is_that_of_the_group_around() -> None:
    assert fit_quotas(_nested("6ms/100ms", "2ms/5ms")).guests[0].cpu_max == CpuMax(6_000_000, 100_000_000)


def test_native_guests_have_no_group_to_be_cut() -> None:
    assert cut_quotas(_nested("60ms/100ms", "", stack="native")) == []


quotas = st.builds(
    lambda period_ms, percent: f"{max(1000, period_ms * percent * 10)}us/{period_ms}ms",
    st.sampled_from([5, 10, 50, 100, 200]),
    st.integers(1, 200),
)


@given(quotas, quotas)
def test_nothing_is_larger_than_what_is_around_and_fitting_again_changes_nothing(outer: str, guest: str) -> None:
    fitted = fit_quotas(_nested(outer, guest))
    out, inner = fitted.groups
    assert _part(fitted.guests[0]) <= _part(inner) <= _part(out)
    assert min(one.cpu_max.quota_ns for one in (*fitted.groups, *fitted.guests)) >= LEAST_QUOTA_NS
    assert fit_quotas(fitted) == fitted
