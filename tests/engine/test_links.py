"""Max-min fair links: the textbook's cases, and the property that defines max-min fairness."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtsim.core.errors import ModelError
from virtsim.engine.environment import Environment
from virtsim.engine.links import FairLinks

GB = 1_000_000_000


def test_one_link_is_shared_equally():
    env = Environment()
    net = FairLinks(env, {"wire": GB})
    first, second = net.transfer(1000, ["wire"]), net.transfer(3000, ["wire"])
    env.run()
    assert (first.end_ns, second.end_ns) == (2000, 4000)


def test_the_parking_lot():
    """Three links in a row, one long flow and a short one on each: everyone gets half."""
    env = Environment()
    net = FairLinks(env, {"a": GB, "b": GB, "c": GB // 2})
    long = net.transfer(10_000, ["a", "b", "c"])
    short = {name: net.transfer(10_000, [name]) for name in "abc"}
    assert long.rate_hz == pytest.approx(GB / 4)
    assert short["c"].rate_hz == pytest.approx(GB / 4)
    assert short["a"].rate_hz == short["b"].rate_hz == pytest.approx(3 * GB / 4)
    env.run()
    assert abs(long.end_ns - 40_000) <= 1


def test_links_that_share_nothing_do_not_touch_each_other():
    env = Environment()
    net = FairLinks(env, {"a": GB, "b": GB})
    left = net.transfer(5000, ["a"])
    sequence = net._sequence
    net.transfer(5000, ["b"])
    assert net._sequence == sequence + 1, "only the new transfer was given a rate"
    assert left.rate_hz == GB


def test_a_withdrawn_transfer_leaves_its_rate_to_the_others():
    env = Environment()
    net = FairLinks(env, {"a": GB})
    first, second = net.transfer(1000, ["a"]), net.transfer(1000, ["a"])
    env.run(until=1000)
    net.withdraw(first)
    env.run()
    assert (first.end_ns, second.end_ns) == (None, 1500)
    with pytest.raises(ModelError, match="not under way"):
        net.withdraw(first)


@pytest.mark.parametrize(("size", "links"), [(-1, ["a"]), (1.5, ["a"]), (1, []), (1, ["nowhere"])])
def test_bad_transfers_are_refused(size, links):
    with pytest.raises(ModelError):
        FairLinks(Environment(), {"a": 1}).transfer(size, links)


def test_a_link_without_capacity_is_refused():
    with pytest.raises(ModelError, match="capacity"):
        FairLinks(Environment(), {"a": 0})


NETWORKS = st.tuples(
    st.lists(st.integers(10**6, 10**10), min_size=1, max_size=5),
    st.lists(
        st.tuples(st.integers(0, 10**6), st.integers(0, 10**5), st.sets(st.integers(0, 4), min_size=1)),
        min_size=1,
        max_size=12,
    ),
)


@given(NETWORKS)
def test_every_transfer_has_a_bottleneck(network):
    """Max-min fair exactly when each flow crosses a full link on which nobody is faster (Bertsekas, Gallager)."""
    capacities, plan = network
    env = Environment()
    net = FairLinks(env, {str(i): capacity for i, capacity in enumerate(capacities)})
    flows = []

    def check():
        alive = [flow for flow in flows if flow.due_ns is not None]
        load = {i: sum(flow.rate for flow in alive if str(i) in flow.links) for i in range(len(capacities))}
        for i in range(len(capacities)):
            assert load[i] <= net._capacity[str(i)]
        for flow in alive:
            assert any(
                # Full but for what does not divide among its flows.
                net._capacity[name] - load[int(name)] <= len(alive) ** 2
                and all(other.rate <= flow.rate + len(alive) for other in alive if name in other.links)
                for name in flow.links
            )

    for arrival, size, links in plan:
        way = sorted({str(i % len(capacities)) for i in links})

        def start(_, size=size, way=way):
            flows.append(net.transfer(size, way))
            check()
            flows[-1].callbacks.append(lambda _: check())

        env.delay(arrival).callbacks.append(start)
    env.run()
    assert all(flow.end_ns is not None for flow in flows)
    for flow in flows:
        fastest = min(capacities[int(name)] for name in flow.links)
        assert flow.end_ns - flow.start_ns >= flow.size_bytes * 1e9 / fastest - 1
