"""A small data centre in which anything may happen, in any order, to see whether a policy ever loses a guest."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from virtsim.cluster.fleet import GuestFleet, HostFleet
from virtsim.cluster.plant import HostState, Plant
from virtsim.cluster.policies.consolidation import Consolidation, DynamicConsolidation, Situation, check_moves
from virtsim.cluster.policies.placement import Placement, PowerAwareBestFitDecreasing, watts_at
from virtsim.cluster.policies.tables import CPU, MEMORY, Guests, Hosts, check_answer
from virtsim.cluster.scenario import GuestGroup, HostGroup
from virtsim.cluster.traces.traces import Traces
from virtsim.core.spec import Size
from virtsim.core.units import NS_PER_S

_HOSTS, _GUESTS = 5, 10
_STEP_S = 300


class ConsolidationMachine(RuleBasedStateMachine):
    """Guests arrive and depart, loads change, hosts fail and return, the policy consolidates; invariants are watched.

    Subclass it with policies of your own; ``MyMachine.TestCase`` is a test:

        class MyMachine(ConsolidationMachine):
            placement = MyPlacement
            consolidation = MyConsolidation
        TestMine = MyMachine.TestCase

    Watched: every guest that is alive is on one host or waits; nothing is on a failed host; memory and anti-affinity
    are kept; the energy of each host is what its power was, added up by hand, and nothing for a failed one; work lost
    is not more than work asked for.
    """

    placement: ClassVar[Any] = PowerAwareBestFitDecreasing
    consolidation: ClassVar[Any] = DynamicConsolidation

    @initialize()
    def build(self) -> None:
        """Five hosts of two kinds, ten guests of three."""
        groups = [
            HostGroup(name="small", count=3, cores=2, core_mips=50, memory=Size(100), power="hp-proliant-ml110-g4"),
            HostGroup(name="large", count=2, cores=4, core_mips=50, memory=Size(200), power="hp-proliant-ml110-g5"),
        ]
        kinds = [
            GuestGroup(name="web", count=4, core_mips=50, memory=Size(30)),
            GuestGroup(name="pair", count=2, core_mips=50, memory=Size(20), apart="pair"),
            GuestGroup(name="big", count=4, cores=2, core_mips=50, memory=Size(60), reserved=0.2),
        ]
        traces = Traces("none", [f"g{i}" for i in range(_GUESTS)], np.zeros((_GUESTS, 1)), NS_PER_S)
        self.fleet, self.own = HostFleet.of(groups), GuestFleet.of(kinds, traces)
        self.plant = Plant(self.fleet, self.own, slowdown=0.1, penalty=10.0)
        self.plant.state[:] = HostState.ON
        self.plant.refresh_all()
        self.alive: set[int] = set()
        self.waiting: set[int] = set()
        self.by_hand = np.zeros(_HOSTS)
        self.past = np.zeros((_HOSTS, 1))
        self.guest_past = np.zeros((_GUESTS, 1))
        self.placer: Placement = self.placement()
        self.mover: Consolidation = self.consolidation()
        self.random = np.random.Generator(np.random.PCG64(1))

    # -- what may happen ----------------------------------------------------------------------------------

    @rule(guest=st.integers(0, _GUESTS - 1))
    def arrive(self, guest: int) -> None:
        """A guest appears, and all that wait are placed."""
        if guest not in self.alive:
            self.alive.add(guest)
            self.waiting.add(guest)
            self._place()

    @precondition(lambda self: self.alive)
    @rule(data=st.data())
    def depart(self, data: Any) -> None:
        """A guest goes."""
        guest = data.draw(st.sampled_from(sorted(self.alive)))
        self.alive.discard(guest)
        self.waiting.discard(guest)
        if self.plant.host_of[guest] >= 0:
            self.plant.detach(guest)
            self.plant.running[guest] = False
        self._done()

    @precondition(lambda self: self.alive)
    @rule(data=st.data(), load=st.sampled_from([0.0, 0.05, 0.2, 0.5, 0.8, 1.0]))
    def load_changes(self, data: Any, load: float) -> None:
        """A guest asks for more or less."""
        guest = data.draw(st.sampled_from(sorted(self.alive)))
        host = int(self.plant.host_of[guest])
        if host >= 0:
            self.plant.touch(host)
        self.plant.use[guest] = load
        self._done()

    @rule(host=st.integers(0, _HOSTS - 1))
    def host_fails(self, host: int) -> None:
        """A host fails; its guests wait for another one."""
        if self.plant.state[host] == HostState.FAILED:
            return
        self.plant.set_state(host, HostState.FAILED)
        for guest in list(self.plant.on[host]):
            self.plant.detach(guest)
            self.plant.running[guest] = False
            self.waiting.add(guest)
        self._place()

    @rule(host=st.integers(0, _HOSTS - 1))
    def host_returns(self, host: int) -> None:
        """A failed host is repaired."""
        if self.plant.state[host] == HostState.FAILED:
            self.plant.set_state(host, HostState.ON)
            self._place()

    @rule()
    def consolidate(self) -> None:
        """A decision; its moves happen at once."""
        placed = np.flatnonzero(self.plant.host_of >= 0)
        situation = Situation(
            guests=self._guests(placed),
            hosts=self._hosts(),
            place=self.plant.host_of[placed].copy(),
            demand=self.plant.demand(placed),
            host_history=self.past.copy(),
            guest_history=self.guest_past[placed],
        )
        for number, host in check_moves(
            self.mover.decide(situation, self.random), situation, type(self.mover).__name__
        ):
            guest = int(placed[number])
            self.plant.detach(guest)
            self.plant.attach(guest, host)
        self._done()

    @rule()
    def time_passes(self) -> None:
        """Nothing happens for five minutes."""
        self._done()

    # -- how it happens -----------------------------------------------------------------------------------

    def _place(self) -> None:
        waiting = np.array(sorted(self.waiting), dtype=np.int64)
        guests, hosts = self._guests(waiting), self._hosts()
        answer = check_answer(self.placer.place(guests, hosts, self.random), guests, hosts, type(self.placer).__name__)
        for guest, host in zip(waiting.tolist(), answer.tolist()):
            if host >= 0:
                self.plant.attach(guest, host)
                self.plant.running[guest] = True
                self.waiting.discard(guest)
        self._done()

    def _guests(self, rows: np.ndarray) -> Guests:
        index = rows.tolist()
        return Guests([self.own.names[i] for i in index], self.plant.needs(rows), [self.own.apart[i] for i in index])

    def _hosts(self) -> Hosts:
        placed = np.flatnonzero(self.plant.host_of >= 0)
        used = np.zeros_like(self.fleet.capacity)
        np.add.at(used, self.plant.host_of[placed], self.plant.needs(placed))
        words = [frozenset(self.own.apart[g] for g in on if self.own.apart[g]) for on in self.plant.on]
        return Hosts(
            self.fleet.names,
            self.fleet.capacity,
            used,
            self.plant.usable(),
            self.plant.state == HostState.ON,
            self.fleet.watts,
            words,
        )

    def _done(self) -> None:
        """End of the instant; then five minutes pass, and energy is added up by hand."""
        self.plant.flush()
        placed = np.flatnonzero(self.plant.host_of >= 0)
        wanted = np.bincount(self.plant.host_of[placed], self.plant.demand(placed), minlength=_HOSTS)
        load = wanted / self.fleet.capacity[:, CPU]
        watts = watts_at(self.fleet.watts, np.minimum(load, 1.0))
        self.by_hand += np.where(self.plant.state == HostState.FAILED, 0.0, watts) * _STEP_S
        self.past = np.concatenate([self.past, load[:, None]], axis=1)[:, -12:]
        self.guest_past = np.concatenate([self.guest_past, self.plant.use[:, None]], axis=1)[:, -12:]
        self.plant.now += _STEP_S * NS_PER_S
        self.plant.settle_all()

    # -- what must hold -----------------------------------------------------------------------------------

    @invariant()
    def no_guest_is_lost(self) -> None:
        """Alive guests are on exactly one host or wait; others are nowhere."""
        found = [guest for on in self.plant.on for guest in on]
        assert len(found) == len(set(found)), f"a guest is on two hosts: {found}"
        assert set(found) | self.waiting == self.alive, "a guest was lost, or one that departed is still here"
        assert not set(found) & self.waiting, "a guest waits and has a host"
        for host, on in enumerate(self.plant.on):
            assert all(self.plant.host_of[guest] == host for guest in on), "the two lists disagree"

    @invariant()
    def nothing_on_a_failed_host(self) -> None:
        """A failed host is empty."""
        for host in np.flatnonzero(self.plant.state == HostState.FAILED).tolist():
            assert not self.plant.on[host], f"guests on the failed host {self.fleet.names[host]}"

    @invariant()
    def memory_is_kept(self) -> None:
        """No host has more memory given out than it has."""
        for host, on in enumerate(self.plant.on):
            memory = sum(float(self.own.memory[guest]) for guest in on)
            assert memory <= self.fleet.capacity[host, MEMORY], f"{memory} bytes on {self.fleet.names[host]}"

    @invariant()
    def apart_is_kept(self) -> None:
        """Guests that must be apart are."""
        for on in self.plant.on:
            words = [self.own.apart[guest] for guest in on if self.own.apart[guest]]
            assert len(words) == len(set(words)), f"guests of {words} share a host"

    @invariant()
    def energy_is_conserved(self) -> None:
        """Host by host, the energy is what was added up by hand."""
        assert np.allclose(self.plant.energy_j, self.by_hand, rtol=1e-9, atol=1e-6)

    @invariant()
    def work_is_conserved(self) -> None:
        """Lost work is part of the work asked for."""
        lost = self.plant.work_stolen + self.plant.work_migrating + self.plant.work_paging
        assert (lost <= self.plant.work_asked * (1 + 1e-9) + 1e-6).all()
        assert (lost >= -1e-6).all()
