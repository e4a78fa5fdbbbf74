"""A small data centre in which anything may happen, in any order, to see whether a policy ever loses a guest."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from virtsim.cluster.fleet import GuestFleet, HostFleet
from virtsim.cluster.plant import HostState, Plant
from virtsim.cluster.policies.consolidation import Consolidation, DynamicConsolidation
from virtsim.cluster.policies.curves import watts_at
from virtsim.cluster.policies.placement import Placement, PowerAwareBestFitDecreasing
from virtsim.cluster.policies.situation import Situation, check_moves
from virtsim.cluster.policies.tables import CPU, Guests, Hosts, check_answer
from virtsim.cluster.scenario import GuestGroup, HostGroup
from virtsim.cluster.traces.traces import Traces
from virtsim.core.spec import Size
from virtsim.core.units import NS_PER_S
from virtsim.testing import data_centre_laws  # noqa: F401 - they register themselves
from virtsim.testing.laws import LAWS

_HOSTS, _GUESTS = 5, 10
_STEP_S = 300
DATA_CENTRE = [one for one in LAWS.values() if one.kind == "data centre"]


class ConsolidationMachine(RuleBasedStateMachine):
    """Guests arrive and depart, loads change, hosts fail and return, the policy consolidates; invariants are watched.

    Subclass it with policies of your own; ``MyMachine.TestCase`` is a test:

        class MyMachine(ConsolidationMachine):
            placement = MyPlacement
            consolidation = MyConsolidation
        TestMine = MyMachine.TestCase

    Watched after every step: the laws of the kind ``data centre`` in :data:`~virtsim.testing.LAWS`.
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
        self.fleet, self.own = (
            HostFleet.of(groups),
            GuestFleet.of(kinds, traces, float(min(group.core_mips for group in groups))),
        )
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

    @rule(host=st.integers(0, _HOSTS - 1))
    def host_goes_off(self, host: int) -> None:
        """A host without guests is switched off, or put to sleep; a guest that is placed on it wakes it."""
        if self.plant.state[host] == HostState.ON and not self.plant.on[host]:
            self.plant.set_state(host, HostState.OFF if host % 2 else HostState.ASLEEP)
            self._done()

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
            self._put(guest, host)
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
                self._put(guest, host)
                self.plant.running[guest] = True
                self.waiting.discard(guest)
        self._done()

    def _put(self, guest: int, host: int) -> None:
        """Give a guest a host, which wakes up for it at once."""
        if self.plant.state[host] != HostState.ON:
            self.plant.set_state(host, HostState.ON)
        self.plant.attach(guest, host)

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
        state = self.plant.state
        self.by_hand[state == HostState.ON] += watts[state == HostState.ON] * _STEP_S
        for idle, idle_watts in ((HostState.ASLEEP, self.fleet.asleep_watts), (HostState.OFF, self.fleet.off_watts)):
            self.by_hand[state == idle] += idle_watts[state == idle] * _STEP_S
        self.past = np.concatenate([self.past, load[:, None]], axis=1)[:, -12:]
        self.guest_past = np.concatenate([self.guest_past, self.plant.use[:, None]], axis=1)[:, -12:]
        self.plant.now += _STEP_S * NS_PER_S
        self.plant.settle_all()

    # -- what must hold -----------------------------------------------------------------------------------

    @invariant()
    def laws_hold(self) -> None:
        """The laws of a data centre, :mod:`~virtsim.testing.data_centre_laws`."""
        for one in DATA_CENTRE:
            one.check(self)
