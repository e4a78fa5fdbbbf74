"""A cluster over time, by the default rules: events where something happens, arrays where samples change."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import simpy
from simpy.events import Event

from virtsim.cluster.fleet import GuestFleet, HostFleet, topology_of
from virtsim.cluster.host_failures import HostFailures
from virtsim.cluster.images import Images
from virtsim.cluster.moves import Moves
from virtsim.cluster.network import Topology
from virtsim.cluster.plant import HostState, Plant
from virtsim.cluster.policies.consolidation import Consolidation
from virtsim.cluster.policies.placement import Placement
from virtsim.cluster.policies.situation import check_moves
from virtsim.cluster.policies.tables import CPU, Integers, check_answer
from virtsim.cluster.power_states import PowerStates
from virtsim.cluster.scaling import Services, spread_rows
from virtsim.cluster.scenario import ClusterScenario
from virtsim.cluster.storage import StorageTraffic, volume_link
from virtsim.cluster.traces.traces import Traces
from virtsim.cluster.view import View
from virtsim.core.errors import SpecError
from virtsim.core.streams import Streams
from virtsim.core.units import NS_PER_S
from virtsim.engine.environment import Environment
from virtsim.engine.links import FairLinks

_END_OF_INSTANT = 100
# A guest that was killed for its memory comes back no sooner: Kubernetes' back-off of crashing containers begins so.
_BACK_OFF_NS = 10 * NS_PER_S


class Simulation:
    """One run of a scenario by the rules ``virtsim``.

    Parameters
    ----------
    scenario : ClusterScenario
        What to run.
    traces : Traces
        Demand; one row a guest.
    placement, consolidation
        Policies; a user's own or shipped ones.
    seed : int
        Root seed.
    topology : Topology, optional
        A user's own network instead of the scenario's.
    """

    def __init__(
        self,
        scenario: ClusterScenario,
        traces: Traces,
        placement: Placement,
        consolidation: Consolidation,
        seed: int,
        topology: Topology | None = None,
    ) -> None:
        self.scenario, self.traces = scenario, spread_rows(scenario.guests, traces)
        self.placement, self.consolidation = placement, consolidation
        self.hosts = HostFleet.of(scenario.hosts)
        self.guests = GuestFleet.of(scenario.guests, self.traces, float(self.hosts.core_mips.min()))
        self.guests.check_against(self.hosts, scenario)
        self.plant = Plant(self.hosts, self.guests, scenario.migration_slowdown, scenario.paging_penalty)
        self.env = Environment()
        self.topology = topology if topology is not None else topology_of(scenario, self.hosts)
        self.topology.check_serves(
            self.hosts.names, any(self.guests.storage) or any(size for _, size in self.guests.image)
        )
        capacity = dict(self.topology.capacity)
        for name, link in zip(self.hosts.names, self.hosts.link.tolist()):
            # What migrations may take of a host's link together.
            capacity[f"{name}:migrations"] = max(1, int(link * scenario.network.migration_share))
        for name, rate in zip(self.guests.names, self.guests.storage):
            if rate:
                capacity[volume_link(name)] = rate
        self.links = FairLinks(self.env, capacity)
        self.storage = StorageTraffic(
            self.env, self.links, self.topology, self.guests.names, self.hosts.names, self.guests.storage
        )
        self.capacity = capacity
        streams = Streams(seed)
        self.random = streams.generator("policy", "choices")
        self.streams = streams
        n = len(self.guests.names)
        self.waiting: dict[int, None] = {}
        self.alive = np.zeros(n, dtype=bool)
        self.starting: dict[int, simpy.Process] = {}
        self.ran_ns, self.lived_ns = np.zeros((2, n), dtype=np.int64)
        self._running_since: Integers = np.zeros(n, dtype=np.int64)
        self._alive_since: Integers = np.zeros(n, dtype=np.int64)
        self.ever_placed = np.zeros(n, dtype=bool)
        self.counts = dict.fromkeys(
            ("migrations", "failed_migrations", "boots", "shutdowns", "state_changes", "oom_kills", "restarts"), 0
        )
        self.sums = dict.fromkeys(
            ("migrated_bytes", "migration_downtime_s", "migration_s", "images_pulled_bytes", "balloon_byte_s"), 0.0
        )
        self.series: dict[str, list[float]] = {
            name: []
            for name in ("time_s", "energy_kwh", "active_hosts", "migrations", "requested", "stolen", "watts", "load")
        }
        self.power_states, self.moves, self.failures = PowerStates(self), Moves(self), HostFailures(self)
        self.view, self.images = View(self), Images(self)
        self.services = Services(self, scenario.guests)
        self._flushing = False
        self._ballooned, self._ballooned_since = 0.0, 0
        self.duration_ns = int(scenario.duration) or traces.duration_ns
        if self.duration_ns > traces.duration_ns:
            raise SpecError("duration", "is longer than the traces; give a shorter one or longer traces")

    # -- the clock ----------------------------------------------------------------------------------------

    def run(self) -> None:
        """Simulate the whole duration."""
        self._start()
        env = self.env
        env.process(self._samples())
        env.process(self._arrivals())
        env.process(self._decisions())
        for service in self.services.all:
            env.process(service.decisions())
        self.failures.start()
        env.run(self.duration_ns)
        self.sync()
        self.plant.flush()
        self.plant.settle_all()
        self._count_balloons()
        self.services.close()
        for guest in np.flatnonzero(self.plant.running).tolist():
            self._set_running(guest, False)
        for guest in np.flatnonzero(self.alive).tolist():
            self.lived_ns[guest] += env.now - self._alive_since[guest]

    def sync(self) -> None:
        """Let the plant's clock be the engine's, and refresh touched hosts when all at this instant is done."""
        self.plant.now = self.env.now
        if not self._flushing:
            self._flushing = True
            if self.scenario.memory_overcommit > 1:
                self._at_the_end(self._press_moved, _END_OF_INSTANT - 1)
            self._at_the_end(self._flush, _END_OF_INSTANT)

    def _at_the_end(self, call: Callable[[Event], None], priority: int) -> None:
        event = Event(self.env)
        event._ok, event._value = True, None
        event.callbacks.append(call)
        self.env.schedule(event, priority=priority)

    def _press_moved(self, _: Event) -> None:
        """Guests that came or left at this instant change what memory their hosts have left."""
        if self.plant.memory_moved:
            self.plant.now = self.env.now
            self._press_memory()

    def _flush(self, _: Event) -> None:
        self._flushing = False
        self.plant.now = self.env.now
        self.plant.flush()

    def _start(self) -> None:
        """Place those that are there from the beginning; hosts that they need are on already."""
        self._read_sample(0)
        first = self.services.there_at_first(np.flatnonzero(self.traces.start_ns == 0))
        for guest in first.tolist():
            self.appear(guest)
        places = self._ask_placement(first)
        for guest, host in zip(first.tolist(), places.tolist()):
            if host < 0:
                continue
            self.plant.state[host] = HostState.ON
            self.waiting.pop(guest, None)
            self.images.keep(guest, host)
            self.plant.attach(guest, host)
            self._set_running(guest, True)
        states = {"asleep": HostState.ASLEEP, "off": HostState.OFF, "on": HostState.ON}
        idle = states[self.scenario.policy.idle_hosts]
        empty = np.flatnonzero(self.plant.state != HostState.ON)
        self.plant.state[empty] = idle
        self.plant.state[empty[: self.scenario.policy.spare]] = HostState.ON
        self._press_memory()
        self.plant.refresh_all()
        self._read_volumes()

    def _read_volumes(self) -> None:
        """Guests that run ask for what they read in this sample."""
        step_s = self.traces.step_ns / NS_PER_S
        for guest in self.storage.readers:
            if self.plant.running[guest]:
                size = round(self.storage.rates[guest] * float(self.plant.use[guest]) * step_s)
                self.storage.ask(guest, int(self.plant.host_of[guest]), size)

    def _samples(self) -> Generator[Event, Any, None]:
        step = self.traces.step_ns
        for k in range(1, self.traces.use.shape[1]):
            yield self.env.delay(step)
            self.sync()
            self.plant.flush()
            self.plant.settle_all()
            self._count_balloons()
            self._read_sample(k)
            self.plant.refresh_all()
            self._read_volumes()

    def _count_balloons(self) -> None:
        self.sums["balloon_byte_s"] += self._ballooned * (self.env.now - self._ballooned_since) / NS_PER_S
        self._ballooned_since = self.env.now

    def _read_sample(self, k: int) -> None:
        self.service_use = self.traces.use[:, k]
        self.plant.use = self.service_use.copy() if self.services.all else self.service_use
        self.services.spread()
        if self.traces.memory_use is not None:
            self.plant.memory_use = self.traces.memory_use[:, k]
        self._press_memory()

    def _press_memory(self) -> None:
        """Take memory back where too much is touched, as of now."""
        self.plant.memory_moved = False
        if self.scenario.memory_overcommit > 1:
            self._count_balloons()
            killed, self._ballooned = self.plant.press_memory(self.scenario.balloon_floor)
            for guest in killed:
                self.counts["oom_kills"] += 1
                self.lose(guest, _BACK_OFF_NS)

    # -- guests -------------------------------------------------------------------------------------------

    def _arrivals(self) -> Generator[Event, Any, None]:
        starts = [(int(t), 1, i) for i, t in enumerate(self.traces.start_ns) if t > 0]
        ends = [(int(t), 0, i) for i, t in enumerate(self.traces.end_ns) if t < self.duration_ns]
        for time_ns, arrives, guest in sorted(starts + ends):
            if time_ns > self.env.now:
                yield self.env.delay(time_ns - self.env.now)
            self.sync()
            if arrives:
                self.appear(guest)
                self.place_waiting()
            else:
                self.depart(guest)

    def appear(self, guest: int) -> None:
        """A guest is there from now on, and waits for a host."""
        self.alive[guest] = True
        self._alive_since[guest] = self.env.now
        self.waiting[guest] = None

    def depart(self, guest: int) -> None:
        """A guest is no longer there."""
        if not self.alive[guest]:
            return
        self._release(guest)
        self.waiting.pop(guest, None)
        self.alive[guest] = False
        self.lived_ns[guest] += self.env.now - self._alive_since[guest]

    def _release(self, guest: int) -> None:
        """Take a guest from wherever it is, and end what was going on with it."""
        process = self.starting.pop(guest, None)
        if process is not None and process.is_alive:
            process.interrupt("gone")
        if guest in self.moves.moving:
            self.moves.give_up(guest)
        if self.plant.host_of[guest] >= 0:
            host = int(self.plant.host_of[guest])
            self._set_running(guest, False)
            self.plant.detach(guest)
            self.power_states.maybe_stop(host)

    def lose(self, guest: int, least_ns: int = 0) -> None:
        """A guest is killed; it is placed again after the restart time, or a longer one."""
        self.sync()
        self._release(guest)
        self.env.process(self._come_back(guest, max(int(self.scenario.restart), least_ns)))

    def _come_back(self, guest: int, after_ns: int) -> Generator[Event, Any, None]:
        yield self.env.delay(after_ns)
        # A replica may have been let go and taken in again meanwhile.
        if self.alive[guest] and self.plant.host_of[guest] < 0 and guest not in self.waiting:
            self.sync()
            self.counts["restarts"] += 1
            self.waiting[guest] = None
            self.place_waiting()

    def place_waiting(self) -> None:
        """Ask the policy for hosts for all guests that wait."""
        if not self.waiting:
            return
        guests = np.array(list(self.waiting), dtype=np.int64)
        places = self._ask_placement(guests)
        for guest, host in zip(guests.tolist(), places.tolist()):
            if host >= 0:
                del self.waiting[guest]
                self.plant.attach(guest, host)
                self.starting[guest] = self.env.process(self._begin(guest, host))

    def _ask_placement(self, guests: Integers) -> Integers:
        """Hosts for guests that ask for their whole limit, as a new guest's demand is not known."""
        if not guests.size:
            return np.zeros(0, dtype=np.int64)
        need = self.plant.needs(guests)
        full = self.guests.asks[guests] * self.guests.factor[guests]
        need[:, CPU] = np.minimum(np.maximum(need[:, CPU], full), self.hosts.capacity[:, CPU].max())
        table = self.view.guest_table(guests, need)
        hosts = self.view.host_table()
        answer = self.placement.place(table, hosts, self.random)
        places = check_answer(answer, table, hosts, type(self.placement).__name__)
        self.ever_placed[guests[places >= 0]] = True
        return places

    def _begin(self, guest: int, host: int) -> Generator[Event, Any, None]:
        """Wake the host, pull the image, start."""
        try:
            yield from self.power_states.when_on(host)
            yield from self.images.when_there(guest, host)
            if self.guests.start_ns[guest]:
                yield self.env.delay(int(self.guests.start_ns[guest]))
        except simpy.Interrupt:
            return
        self.sync()
        self.plant.touch(host)
        self.starting.pop(guest, None)
        self._set_running(guest, True)

    def _set_running(self, guest: int, running: bool) -> None:
        if self.plant.running[guest] == running:
            return
        host = int(self.plant.host_of[guest])
        if host >= 0:
            self.plant.touch(host)
        self.plant.running[guest] = running
        if running:
            self._running_since[guest] = self.env.now
            self.storage.go_on(guest, host)
        else:
            self.storage.stop(guest)
            self.ran_ns[guest] += self.env.now - self._running_since[guest]
        self.services.changed(guest)

    # -- decisions ----------------------------------------------------------------------------------------

    def _decisions(self) -> Generator[Event, Any, None]:
        interval = int(self.scenario.interval)
        while True:
            yield self.env.delay(interval)
            self.sync()
            self.plant.flush()
            self.place_waiting()
            self.view.remember()
            situation, rows = self.view.situation()
            answer = self.consolidation.decide(situation, self.random)
            for guest, host in check_moves(answer, situation, type(self.consolidation).__name__):
                number = int(rows[guest])
                if self.plant.host_of[number] != host:
                    self.moves.start(number, host)
            for host in np.flatnonzero(self.plant.state == HostState.ON).tolist():
                if not self.plant.on[host]:
                    self.power_states.maybe_stop(host)
            self._note()

    def _note(self) -> None:
        plant = self.plant
        plant.flush()
        energy = float(plant.energy_j.sum()) + float((plant.watts * (plant.now - plant._since) / NS_PER_S).sum())
        on = plant.state == HostState.ON
        for name, value in (
            ("time_s", self.env.now / NS_PER_S),
            ("energy_kwh", energy / 3.6e6),
            ("active_hosts", float(on.sum())),
            ("migrations", float(self.counts["migrations"])),
            ("requested", float(plant._asked[plant.host_of >= 0].sum())),
            ("stolen", float(plant._stolen[plant.host_of >= 0].sum())),
            ("watts", float(plant.watts.sum())),
            ("load", float(plant.load[on].mean()) if on.any() else 0.0),
        ):
            self.series[name].append(value)
