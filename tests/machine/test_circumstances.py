"""A run of the model begins at the phases that a real one had."""

from types import SimpleNamespace

import pytest

from virtsim import Guest, Scenario, workloads
from virtsim.core.units import NS_PER_MS as MS
from virtsim.machine import simulate
from virtsim.machine.circumstances import Circumstances
from virtsim.platform.host import reference_card

CARD = reference_card()
TICK_NS = CARD.kernel.tick_ns


def test_a_manifest_tells_ticks_and_periods_by_name():
    run = SimpleNamespace(
        manifest={
            "tick": {"period_ns": 4 * MS, "passed_ns": 1_041_838},
            "begin_cpus": {"b/spin": 1},
            "cgroups": {"period_phase_ns": {"guest-a": 5, "group-pod": 6, "group-pod/guest-my-b": 7}},
        }
    )
    assert Circumstances.of(run, 4 * MS) == (1_041_838, {"a": 5, "pod": 6, "my-b": 7}, {"b/spin": 1})
    assert Circumstances.of(run, MS).tick_passed_ns is None, "another kernel's ticks are not this card's"
    assert Circumstances.of(SimpleNamespace(manifest={}), MS) == Circumstances()


@pytest.mark.parametrize("begins_ms", [0, 7, 33])
def test_a_group_is_refilled_when_its_period_begins(begins_ms):
    """What is used at once is the first quota; then the group waits for its period, and for no other's."""
    guests = [
        Guest(name="a", cpu_max="10ms/50ms", workload=workloads.spin()),
        Guest(name="b", cpu_max="10ms/40ms", cpus="1", workload=workloads.spin()),
    ]
    scenario = Scenario(guests=guests, duration="200ms", cpus="0-1")
    begins = {"a": 3 * MS, "b": begins_ms * MS}
    run = simulate(scenario, host=CARD, circumstances=Circumstances(0, begins), timeline=True)
    starts = [piece.start_ns for piece in run.slices if piece.guest == "b" and piece.end_ns - piece.start_ns > MS]
    late_ns = max(CARD.timing.idle_exit_quantiles, default=CARD.timing.ns("idle_exit"))
    assert len(starts) >= 3
    for start_ns in starts[1:]:
        assert (start_ns - begins["b"]) % (40 * MS) <= late_ns


def test_ticks_come_when_they_are_said_to():
    """Two hogs hand over at ticks."""
    guests = [Guest(name=name, workload=workloads.spin()) for name in "ab"]
    scenario = Scenario(guests=guests, duration="100ms", cpus="0")
    run = simulate(scenario, host=CARD, circumstances=Circumstances(TICK_NS // 3), timeline=True)
    ends = [piece.end_ns for piece in run.slices][:-1]
    assert len(ends) >= 10
    assert {end_ns % TICK_NS for end_ns in ends} == {TICK_NS - TICK_NS // 3}


def test_processes_begin_where_they_are_said_to():
    """Two of three hogs begin on CPU 1, where the kernel would not have put both; the third is placed."""
    guests = [Guest(name=name, workload=workloads.spin()) for name in "abc"]
    scenario = Scenario(guests=guests, duration="3ms", cpus="0-1")
    begins = Circumstances(0, begin_cpus={"a/spin": 1, "b/spin": 1, "c/spin": 5})
    run = simulate(scenario, host=CARD, circumstances=begins, timeline=True)
    first = {piece.guest: piece.cpu for piece in reversed(run.slices)}
    assert first == {"a": 1, "c": 0}, "b waits for a's turn to end; CPU 5 is none that c may use"
