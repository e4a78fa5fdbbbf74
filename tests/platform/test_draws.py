"""Prices drawn from their intervals: what is common cancels, and the quantiles are those of the card."""

import numpy as np
import pytest

from virtsim.core.parameter import Parameter
from virtsim.platform.draws import PriceDraws, likely
from virtsim.platform.expand import price
from virtsim.platform.host import load_host
from virtsim.platform.stack import load_stack

HOST = load_host("xeon-8269cy-linux-4.19")
N = 4000


@pytest.fixture(scope="module")
def draws():
    return PriceDraws(HOST, N, seed=7)


def test_the_first_is_the_best_estimate_and_a_price_is_drawn_once(draws):
    totals = load_stack("kvm-nested").expand("page_fault").totals
    assert draws.cost(totals)[0] == pytest.approx(price(totals, HOST))
    assert draws.cost({"vm_exit": 2.0}) == pytest.approx(2 * draws.price("vm_exit"))
    assert draws.price("vm_exit") is draws.price("vm_exit")


@pytest.mark.parametrize("primitive", ["hypercall", "vm_exit", "mode_switch"])
def test_a_draw_has_the_quantiles_of_the_interval(draws, primitive):
    """H0: each end of the card's 90 % interval is passed with probability 0.05; n = 4000, alpha = 0.001 a side."""
    low, high = HOST.prices[primitive].interval
    sample = draws.price(primitive)[1:]
    for beyond in ((sample < low).mean(), (sample > high).mean()):
        z = (beyond - 0.05) / np.sqrt(0.05 * 0.95 / N)
        print(f"{primitive}: z = {z:.2f}")
        assert abs(z) < 3.3


def test_an_interval_that_reaches_zero_is_cut_off_there():
    wide = Parameter(value=100.0, unit="ns", low=0.0, high=400.0, source="test", date="2026")
    host = HOST.with_prices({"tlb_flush": wide})
    sample = PriceDraws(host, N, seed=7).price("tlb_flush")[1:]
    assert sample.min() == 0.0
    assert np.median(sample) == pytest.approx(100.0, rel=0.1)


def test_what_is_common_to_both_sides_cancels(draws):
    native = draws.cost(load_stack("native").expand("stat").totals)
    twice = draws.cost({name: 2 * times for name, times in load_stack("native").expand("stat").totals.items()})
    ratio = likely(twice / native)
    assert ratio == pytest.approx((2.0, 2.0, 2.0))
    apart = PriceDraws(HOST, N, seed=8).cost(load_stack("native").expand("stat").totals)
    independent = likely(2 * apart / native)
    assert independent.high > 1.05 * independent.value


def test_an_exact_price_stays_and_the_others_are_drawn_as_before(draws):
    fixed = PriceDraws(HOST, N, seed=7, exact=("compute",))
    assert set(fixed.price("compute")) == {HOST.price("compute")}
    assert np.array_equal(fixed.price("vm_exit"), draws.price("vm_exit"))


def test_draws_without_a_value_are_left_out():
    assert likely(np.array([1.0, np.nan, 2.0, 2.0])) == (1.0, 2.0, 2.0)
    assert likely(np.array([1.0, np.nan])) == (1.0, 1.0, 1.0)
