"""The simulation itself, looked at after every instant: the laws of a data centre hold in it, whatever happens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from virtsim.cluster import (
    ClusterScenario,
    Dirtying,
    DirtyPages,
    GuestGroup,
    HorizontalAutoscaler,
    HostGroup,
    Policy,
    Strategy,
    Traces,
)
from virtsim.cluster.plant import HostState
from virtsim.cluster.policies.placement import load_placement
from virtsim.cluster.policies.tables import CPU, MEMORY
from virtsim.cluster.scenario import Failures
from virtsim.cluster.simulate import consolidation_of
from virtsim.cluster.simulation import Simulation
from virtsim.core.units import NS_PER_S
from virtsim.testing import failures

STEP = 300 * NS_PER_S
SAMPLES = 16


class Watched(Simulation):
    """Checks itself at the end of every instant in which something changed."""

    def __init__(self, *arguments: Any) -> None:
        self.returning: dict[int, int] = {}
        super().__init__(*arguments)
        self.by_hand = np.zeros(len(self.hosts.names))
        self.power = np.zeros(len(self.hosts.names))
        self.since = self.looks = 0

    def _come_back(self, guest: int, after_ns: int) -> Iterator[Any]:
        self.returning[guest] = self.returning.get(guest, 0) + 1
        yield from super()._come_back(guest, after_ns)
        self.returning[guest] -= 1

    def _flush(self, event: Any) -> None:
        super()._flush(event)
        self.look()

    def _samples(self) -> Iterator[Any]:
        # A sample changes all loads without an event of its own.
        for event in super()._samples():
            self.meter()
            yield event

    def meter(self) -> None:
        """Add up energy by hand, from the states and loads that have been."""
        self.by_hand += self.power * (self.env.now - self.since) / NS_PER_S
        self.since = self.env.now
        state, hosts = self.plant.state, self.hosts
        for h in range(len(hosts.names)):
            self.power[h] = {
                HostState.ON: np.interp(self.plant.load[h] * 10, range(11), hosts.watts[h]),
                HostState.WAKING: hosts.watts[h, -1],
                HostState.STOPPING: hosts.watts[h, 0],
                HostState.ASLEEP: hosts.asleep_watts[h],
                HostState.OFF: hosts.off_watts[h],
                HostState.FAILED: 0.0,
            }[int(state[h])]

    def look(self) -> None:
        """All laws, now."""
        self.looks += 1
        self.meter()
        plant = self.plant
        found = [guest for on in plant.on for guest in on]
        assert len(found) == len(set(found)), "a guest is on two hosts"
        assert set(found) == set(np.flatnonzero(plant.host_of >= 0).tolist())
        for guest, name in enumerate(self.guests.names):
            places = [guest in self.waiting, plant.host_of[guest] >= 0]
            if not self.alive[guest]:
                assert not any(places), f"{name} has departed and is still here"
            else:
                assert sum(places) == 1 or (not any(places) and self.returning.get(guest)), f"{name} was lost: {places}"
            if plant.running[guest]:
                assert plant.state[plant.host_of[guest]] == HostState.ON, f"{name} runs on a host that is not on"
        for h, on in enumerate(plant.on):
            if plant.state[h] in (HostState.OFF, HostState.ASLEEP, HostState.FAILED):
                assert not on, f"{self.hosts.names[h]} is in state {plant.state[h]} and has guests"
            here = [*on, *(guest for guest in self.moves.incoming[h] if guest not in on)]
            memory = self.hosts.capacity[h, MEMORY] * self.scenario.memory_overcommit
            assert self.guests.memory[here].sum() <= memory * (1 + 1e-9), f"memory of {self.hosts.names[h]}"
            kept = (self.guests.reserved * self.guests.factor)[here].sum()
            assert kept <= self.hosts.capacity[h, CPU] * self.scenario.cpu_overcommit * (1 + 1e-9)
            words = [self.guests.apart[guest] for guest in here if self.guests.apart[guest]]
            assert len(words) == len(set(words)), f"{words} on {self.hosts.names[h]}"
        for service in self.services.all:
            alive = int(self.alive[service.guests].sum())
            assert service.rules.least <= service.replicas <= service.rules.most
            assert alive == service.replicas, f"{alive} replicas are there, {service.replicas} should be"


@st.composite
def scenarios(draw: Any) -> ClusterScenario:
    """Five hosts of two kinds, single guests, a pair that must be apart, big ones, and a service."""
    start, image, storage = (draw(st.sampled_from(values)) for values in (("0s", "40s"), ("0B", "2GB"), ("0B", "20MB")))
    writes = Dirtying(sets=[DirtyPages(size="64MiB", rate=draw(st.sampled_from(["1MB", "200MB"])))])
    common = {"start": start, "image": image, "storage": storage, "dirtying": writes}
    rules = HorizontalAutoscaler(
        least=1, most=4, target=0.6, stabilisation="120s", period=draw(st.sampled_from(["15s", "300s"]))
    )
    groups = [
        GuestGroup(name="web", count=4, core_mips=1000, memory="1GiB", stack="container", **common),
        GuestGroup(name="pair", count=2, core_mips=1000, memory="512MiB", apart="pair", stack="kvm", **common),
        GuestGroup(name="big", count=2, cores=2, core_mips=1000, memory="2GiB", reserved=0.2, stack="kvm", **common),
        GuestGroup(
            name="service", core_mips=1000, memory="1GiB", apart=draw(st.sampled_from(["", "s"])), scaling=rules
        ),
    ]
    power = "hp-proliant-ml110-g4"
    return ClusterScenario(
        hosts=[
            HostGroup(name="h", count=3, cores=2, core_mips=1000, memory="4GiB", power=power),
            HostGroup(name="k", count=2, cores=4, core_mips=1000, memory="4GiB", power="hp-proliant-ml110-g5"),
        ],
        guests=groups,
        policy=Policy(
            overload="thr",
            settling="0s",
            placement=draw(st.sampled_from(["power-aware-best-fit-decreasing", "first-fit", "spread"])),
            idle_hosts=draw(st.sampled_from(["asleep", "off", "on"])),
            spare=draw(st.integers(0, 1)),
        ),
        failures=draw(failures(("h-0", "h-1", "k-0", "k-1"), within_s=SAMPLES * 300, most=5)),
        migration=Strategy(kind=draw(st.sampled_from(["pre-copy", "post-copy", "stop-and-copy"]))),
        concurrent_migrations=draw(st.integers(1, 3)),
        memory_overcommit=draw(st.sampled_from([1.0, 1.5])),
        cpu_overcommit=draw(st.sampled_from([1.0, 1.5])),
        restart=draw(st.sampled_from(["0s", "60s", "400s"])),
    )


@st.composite
def demands(draw: Any) -> Traces:
    """A row a guest, and one for the service, which is there the whole time."""
    levels = st.sampled_from([0.0, 0.1, 0.3, 0.6, 1.0])
    use = [draw(st.lists(levels, min_size=SAMPLES, max_size=SAMPLES)) for _ in range(9)]
    lives = st.tuples(st.integers(0, 5), st.integers(6, SAMPLES))
    spans = [*(draw(lives) for _ in range(8)), (0, SAMPLES)]
    memory = np.array([draw(st.lists(st.sampled_from([0.5, 1.0]), min_size=SAMPLES, max_size=SAMPLES)) for _ in use])
    return Traces(
        "drawn",
        [f"vm{i}" for i in range(9)],
        np.array(use),
        STEP,
        start_ns=np.array([first * STEP for first, _ in spans]),
        end_ns=np.array([last * STEP for _, last in spans]),
        memory_use=memory,
    )


@settings(
    max_examples=settings.default.max_examples if settings.default.max_examples > 100 else 40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(scenario=scenarios(), demand=demands())
def test_the_laws_hold_at_every_instant(scenario: ClusterScenario, demand: Traces) -> None:
    simulation = Watched(
        scenario, demand, load_placement(scenario.policy.placement), consolidation_of(scenario), 1, None
    )
    simulation.run()
    assert simulation.looks > SAMPLES
    simulation.by_hand += simulation.power * (simulation.env.now - simulation.since) / NS_PER_S
    assert simulation.plant.energy_j.tolist() == pytest.approx(simulation.by_hand.tolist(), rel=1e-9)
    lost = simulation.plant.work_stolen + simulation.plant.work_migrating + simulation.plant.work_paging
    assert (lost <= simulation.plant.work_asked * (1 + 1e-9) + 1e-6).all()


def test_a_failure_is_seen() -> None:
    """The watch is not blind: a guest that is put where it is not is noticed."""
    scenario = ClusterScenario(
        hosts=[HostGroup(name="h", count=2, cores=2, core_mips=1000, memory="4GiB", power="hp-proliant-ml110-g4")],
        guests=[GuestGroup(name="g", core_mips=1000, memory="1GiB")],
        failures=Failures(),
    )
    demand = Traces("t", ["g"], np.full((1, 3), 0.5), STEP)
    simulation = Watched(scenario, demand, load_placement("first-fit"), consolidation_of(scenario), 1, None)
    simulation.run()
    simulation.alive[0] = False
    with pytest.raises(AssertionError, match="g-0 has departed and is still here"):
        simulation.look()
