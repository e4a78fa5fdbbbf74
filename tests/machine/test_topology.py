"""What a card's topology does to a run: threads that share a core, and the way between memory nodes."""

from __future__ import annotations

import pytest

import virtsim as vs
from virtsim.core.parameter import Parameter
from virtsim.platform.host import reference_card

MS = 1_000_000


def share(value: float) -> Parameter:
    return Parameter(value=value, unit="1", source="assumed for the test", date="2026", status="assumed")


def delay(value: float) -> Parameter:
    return Parameter(value=value, unit="ns", source="assumed for the test", date="2026", status="assumed")


def two_sockets(**timing: Parameter):
    """The reference card with two sockets of two cores of two threads: CPUs 0 1 | 2 3 and 4 5 | 6 7; nothing else
    costs anything."""
    card = reference_card()
    topology = card.topology.replace(
        cpus=8, threads_per_core=2, cpus_per_cache=4, numa_nodes=2, numa_distances=[[10, 30], [30, 10]],
        smt_speed=share(0.625),
    )  # fmt: skip
    return card.scaled(0).with_prices({"compute": share(1)}, topology=topology, timing=card.timing.replace(**timing))


def completion_ns(cpus: str) -> list[float]:
    """Two tasks of 50 ms of work each, kept to some CPUs."""
    guests = [vs.Guest(name, vs.workloads.spin(work="50ms")) for name in ("a", "b")]
    run = vs.simulate(vs.Scenario(guests=guests, duration="2s", cpus=cpus), host=two_sockets())
    return [run.value(f"{name}/spin", "completion_time") for name in ("a", "b")]


@pytest.mark.parametrize(("cpus", "expected_ms"), [("0-1", 80), ("0,2", 50), ("0,4", 50), ("0-3", 50), ("0-7", 50)])
def test_two_hogs_are_slower_on_the_threads_of_one_core_and_avoid_that_where_they_can(cpus, expected_ms):
    """50 ms of work take 50 / 0.625 = 80 ms beside each other on one core."""
    assert completion_ns(cpus) == pytest.approx([expected_ms * MS] * 2, abs=2)


@pytest.mark.parametrize(("cpus", "moved_ns"), [("0-1", 0), ("0,2", 1_000), ("0,4", 6_000)])
def test_what_moving_costs_is_cpu_time(cpus, moved_ns):
    """Three tasks of 200 ms on two CPUs take turns: each move costs by distance, to another node 4 us * 30 / 20."""
    card = two_sockets(migration_same_cache=delay(1_000), migration_other_node=delay(4_000))
    card = card.replace(topology=card.topology.replace(smt_speed=None))
    guests = [vs.Guest(name, vs.workloads.spin(work="200ms")) for name in ("a", "b", "c")]
    run = vs.simulate(vs.Scenario(guests=guests, duration="2s", cpus=cpus), host=card)
    moves = [run.value(f"{guest.name}/spin", "migrations") for guest in guests]
    assert sum(moves) >= 3
    for guest, count in zip(guests, moves, strict=True):
        assert run.value(f"{guest.name}/spin", "cpu_time") == 200 * MS + count * moved_ns


@pytest.mark.parametrize(("cpus", "expected_ms"), [("0-1", 80), ("0,2", 50)])
def test_vcpus_on_the_threads_of_a_core_slow_their_guests_down(cpus, expected_ms):
    guests = [vs.Guest(name, vs.workloads.spin(work="50ms"), stack="kvm", vcpus=1) for name in ("a", "b")]
    run = vs.simulate(vs.Scenario(guests=guests, duration="2s", cpus=cpus), host=two_sockets())
    for name in ("a", "b"):
        assert run.value(f"{name}/spin", "completion_time") == pytest.approx(expected_ms * MS, rel=0.001)
