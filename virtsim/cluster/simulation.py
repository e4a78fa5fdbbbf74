"""A cluster over time, by the default rules: events where something happens, arrays where samples change."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import Any

import numpy as np
import simpy
from simpy.events import Event

from virtsim.cluster.fleet import GuestFleet, HostFleet, topology_of
from virtsim.cluster.migration import steps
from virtsim.cluster.network import STORE, Topology
from virtsim.cluster.plant import HostState, Plant
from virtsim.cluster.policies.consolidation import Consolidation
from virtsim.cluster.policies.placement import Placement
from virtsim.cluster.policies.situation import Situation, check_moves
from virtsim.cluster.policies.tables import CPU, Floats, Guests, Hosts, Integers, check_answer
from virtsim.cluster.scaling import Services, spread_rows
from virtsim.cluster.scenario import ClusterScenario
from virtsim.cluster.storage import StorageTraffic, volume_link
from virtsim.cluster.traces.traces import Traces
from virtsim.core.errors import ModelError, SpecError
from virtsim.core.streams import Streams
from virtsim.core.units import NS_PER_S
from virtsim.engine.environment import Environment
from virtsim.engine.links import FairLinks

#: Samples of the past that policies see.
WINDOW = 30
_END_OF_INSTANT = 100


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
        self.guests = GuestFleet.of(scenario.guests, self.traces)
        self.guests.check_against(self.hosts, scenario)
        self.plant = Plant(self.hosts, self.guests, scenario.migration_slowdown, scenario.paging_penalty)
        self.env = Environment()
        self.topology = topology if topology is not None else topology_of(scenario, self.hosts)
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
        self._capacity = capacity
        streams = Streams(seed)
        self.random = streams.generator("policy", "choices")
        self._streams = streams
        n, m = len(self.guests.names), len(self.hosts.names)
        self.waiting: dict[int, None] = {}
        self.alive = np.zeros(n, dtype=bool)
        self.moving: dict[int, tuple[int, int, simpy.Process]] = {}
        self.starting: dict[int, simpy.Process] = {}
        self.incoming: list[dict[int, None]] = [{} for _ in range(m)]
        # Migrations that take part on each host, and those that wait for it.
        self._busy = [0] * m
        self._queue: list[deque[tuple[int, int, Event]]] = [deque() for _ in range(m)]
        self.moved_at = np.full(n, -(1 << 62), dtype=np.int64)
        self.ran_ns, self.lived_ns = np.zeros((2, n), dtype=np.int64)
        self._running_since: Integers = np.zeros(n, dtype=np.int64)
        self._alive_since: Integers = np.zeros(n, dtype=np.int64)
        self._ever_placed = np.zeros(n, dtype=bool)
        self._images: set[tuple[int, str]] = set()
        self._woken: dict[int, Event] = {}
        self.history: deque[Floats] = deque(maxlen=WINDOW)
        self.guest_history: deque[Floats] = deque(maxlen=WINDOW)
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
        for host, at_ns, repair_ns in self._planned_failures():
            env.process(self._failure(host, at_ns, repair_ns))
        if self.scenario.failures.mean_time_between:
            for host in range(len(self.hosts.names)):
                env.process(self._random_failures(host))
        env.run(self.duration_ns)
        self._sync()
        self.plant.flush()
        self.plant.settle_all()
        self._count_balloons()
        self.services.close()
        for guest in np.flatnonzero(self.plant.running).tolist():
            self._set_running(guest, False)
        for guest in np.flatnonzero(self.alive).tolist():
            self.lived_ns[guest] += env.now - self._alive_since[guest]

    def _sync(self) -> None:
        """Let the plant's clock be the engine's, and refresh touched hosts when all at this instant is done."""
        self.plant.now = self.env.now
        if not self._flushing:
            self._flushing = True
            event = Event(self.env)
            event._ok, event._value = True, None
            event.callbacks.append(self._flush)
            self.env.schedule(event, priority=_END_OF_INSTANT)

    def _flush(self, _: Event) -> None:
        self._flushing = False
        self.plant.now = self.env.now
        self.plant.flush()

    def _start(self) -> None:
        """Place those that are there from the beginning; hosts that they need are on already."""
        self._read_sample(0)
        first = self.services.there_at_first(np.flatnonzero(self.traces.start_ns == 0))
        for guest in first.tolist():
            self._appear(guest)
        places = self._ask_placement(first)
        for guest, host in zip(first.tolist(), places.tolist()):
            if host < 0:
                continue
            self.plant.state[host] = HostState.ON
            self.waiting.pop(guest, None)
            self._images.add((host, self.guests.image[guest][0]))
            self.plant.attach(guest, host)
            self._set_running(guest, True)
        states = {"asleep": HostState.ASLEEP, "off": HostState.OFF, "on": HostState.ON}
        idle = states[self.scenario.policy.idle_hosts]
        empty = np.flatnonzero(self.plant.state != HostState.ON)
        self.plant.state[empty] = idle
        self.plant.state[empty[: self.scenario.policy.spare]] = HostState.ON
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
            self._sync()
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
        if self.scenario.memory_overcommit > 1:
            killed, self._ballooned = self.plant.press_memory(self.scenario.balloon_floor)
            for guest in killed:
                self.counts["oom_kills"] += 1
                self._lose(guest)

    # -- guests -------------------------------------------------------------------------------------------

    def _arrivals(self) -> Generator[Event, Any, None]:
        starts = [(int(t), 1, i) for i, t in enumerate(self.traces.start_ns) if t > 0]
        ends = [(int(t), 0, i) for i, t in enumerate(self.traces.end_ns) if t < self.duration_ns]
        for time_ns, arrives, guest in sorted(starts + ends):
            if time_ns > self.env.now:
                yield self.env.delay(time_ns - self.env.now)
            self._sync()
            if arrives:
                self._appear(guest)
                self._place_waiting()
            else:
                self._depart(guest)

    def _appear(self, guest: int) -> None:
        self.alive[guest] = True
        self._alive_since[guest] = self.env.now
        self.waiting[guest] = None

    def _depart(self, guest: int) -> None:
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
        if guest in self.moving:
            self._give_up(guest)
        if self.plant.host_of[guest] >= 0:
            host = int(self.plant.host_of[guest])
            self._set_running(guest, False)
            self.plant.detach(guest)
            self._maybe_stop(host)

    def _lose(self, guest: int) -> None:
        """A guest is killed; it is placed again after the restart time."""
        self._sync()
        self._release(guest)
        self.env.process(self._come_back(guest))

    def _come_back(self, guest: int) -> Generator[Event, Any, None]:
        yield self.env.delay(int(self.scenario.restart))
        # A replica may have been let go and taken in again meanwhile.
        if self.alive[guest] and self.plant.host_of[guest] < 0 and guest not in self.waiting:
            self._sync()
            self.counts["restarts"] += 1
            self.waiting[guest] = None
            self._place_waiting()

    def _place_waiting(self) -> None:
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
        table = self._guest_table(guests, need)
        hosts = self._host_table()
        answer = self.placement.place(table, hosts, self.random)
        places = check_answer(answer, table, hosts, type(self.placement).__name__)
        self._ever_placed[guests[places >= 0]] = True
        return places

    def _begin(self, guest: int, host: int) -> Generator[Event, Any, None]:
        """Wake the host, pull the image, start."""
        try:
            yield from self._when_on(host)
            image, size = self.guests.image[guest]
            if size and (host, image) not in self._images:
                self._images.add((host, image))
                way = self.topology.way(STORE, self.hosts.names[host])
                yield self.links.transfer(size, way)
                self.sums["images_pulled_bytes"] += size
            if self.guests.start_ns[guest]:
                yield self.env.delay(int(self.guests.start_ns[guest]))
        except simpy.Interrupt:
            return
        self._sync()
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

    # -- hosts --------------------------------------------------------------------------------------------

    def _when_on(self, host: int) -> Generator[Event, Any, None]:
        """Wait until a host is on; wake it if nobody has."""
        while self.plant.state[host] != HostState.ON:
            state = self.plant.state[host]
            if state == HostState.FAILED:
                raise simpy.Interrupt("failed")
            if host not in self._woken:
                self._woken[host] = Event(self.env)
            if state in (HostState.ASLEEP, HostState.OFF):
                self._sync()
                self.plant.set_state(host, HostState.WAKING)
                delay = self.hosts.resume_ns if state == HostState.ASLEEP else self.hosts.boot_ns
                self.env.process(self._wake(host, int(delay[host])))
            yield self._woken[host]

    def _wake(self, host: int, delay_ns: int) -> Generator[Event, Any, None]:
        self.counts["boots"] += 1
        self.counts["state_changes"] += 1
        yield self.env.delay(delay_ns)
        if self.plant.state[host] == HostState.WAKING:
            self._sync()
            self.plant.set_state(host, HostState.ON)
            self._tell(host)
            self._maybe_stop(host)

    def _tell(self, host: int) -> None:
        event = self._woken.pop(host, None)
        if event is not None:
            event.succeed()

    def _maybe_stop(self, host: int) -> None:
        """Let a host without guests go to sleep, unless it is a spare one or told to stay on."""
        policy = self.scenario.policy
        if policy.idle_hosts == "on" or not self._is_idle(host):
            return
        if policy.spare:
            idle = sum(self._is_idle(h) for h in np.flatnonzero(self.plant.state == HostState.ON).tolist())
            if idle <= policy.spare:
                return
        self._sync()
        self.plant.set_state(host, HostState.STOPPING)
        self.env.process(self._stop(host))

    def _is_idle(self, host: int) -> bool:
        return self.plant.state[host] == HostState.ON and not self.plant.on[host] and not self.incoming[host]

    def _stop(self, host: int) -> Generator[Event, Any, None]:
        asleep = self.scenario.policy.idle_hosts == "asleep"
        self.counts["shutdowns"] += 1
        self.counts["state_changes"] += 1
        yield self.env.delay(int((self.hosts.suspend_ns if asleep else self.hosts.shutdown_ns)[host]))
        if self.plant.state[host] == HostState.STOPPING:
            self._sync()
            self.plant.set_state(host, HostState.ASLEEP if asleep else HostState.OFF)
            # Whoever waits for the host wakes it again.
            self._tell(host)

    def _planned_failures(self) -> list[tuple[int, int, int]]:
        numbers = {name: i for i, name in enumerate(self.hosts.names)}
        planned = []
        for i, (name, at, repair) in enumerate(self.scenario.failures.at):
            if name not in numbers:
                raise SpecError(
                    f"failures.at[{i}]", f"no host is called {name!r}; the first is {self.hosts.names[0]!r}"
                )
            planned.append((numbers[name], int(at), int(repair)))
        return planned

    def _failure(self, host: int, at_ns: int, repair_ns: int) -> Generator[Event, Any, None]:
        yield self.env.delay(at_ns)
        yield from self._fail(host, repair_ns)

    def _random_failures(self, host: int) -> Generator[Event, Any, None]:
        failures = self.scenario.failures
        random = self._streams.generator(f"hosts.{self.hosts.names[host]}", "failures")
        while True:
            yield self.env.delay(max(1, round(random.exponential(failures.mean_time_between))))
            yield from self._fail(host, max(1, round(random.exponential(failures.mean_repair))))

    def _fail(self, host: int, repair_ns: int) -> Generator[Event, Any, None]:
        if self.plant.state[host] == HostState.FAILED:
            return
        self._sync()
        self.counts["state_changes"] += 1
        for guest in [g for g, (source, target, _) in self.moving.items() if host in (source, target)]:
            if self.plant.host_of[guest] != host:
                here = self.plant.host_of[guest] == self.moving[guest][1]
                if here:
                    # Post-copy: what is still at the source is lost with it.
                    self._lose(guest)
                else:
                    self._give_up(guest)
        self.plant.set_state(host, HostState.FAILED)
        self._tell(host)
        for guest in list(self.plant.on[host]):
            self._lose(guest)
        yield self.env.delay(repair_ns)
        self._sync()
        self.plant.set_state(host, HostState.OFF)
        self._images = {entry for entry in self._images if entry[0] != host}
        self._place_waiting()

    # -- decisions ----------------------------------------------------------------------------------------

    def _decisions(self) -> Generator[Event, Any, None]:
        interval = int(self.scenario.interval)
        while True:
            yield self.env.delay(interval)
            self._sync()
            self.plant.flush()
            self._place_waiting()
            self._remember()
            situation, rows = self._situation()
            answer = self.consolidation.decide(situation, self.random)
            for guest, host in check_moves(answer, situation, type(self.consolidation).__name__):
                number = int(rows[guest])
                if self.plant.host_of[number] != host:
                    self._start_move(number, host)
            for host in np.flatnonzero(self.plant.state == HostState.ON).tolist():
                if not self.plant.on[host]:
                    self._maybe_stop(host)
            self._note()

    def _remember(self) -> None:
        plant = self.plant
        placed = np.flatnonzero(plant.host_of >= 0)
        wanted = plant.demand(placed) * self.guests.factor[placed]
        total = np.bincount(plant.host_of[placed], wanted, minlength=len(plant.state))
        self.history.append(total / self.hosts.capacity[:, CPU])
        self.guest_history.append(plant.use.copy())

    def _situation(self) -> tuple[Situation, Integers]:
        plant = self.plant
        rows = np.flatnonzero((plant.host_of >= 0) & plant.running)
        need = plant.needs(rows)
        movable = self.env.now - self.moved_at[rows] >= int(self.scenario.policy.settling)
        if self.moving:
            movable &= ~np.isin(rows, np.array(list(self.moving), dtype=np.int64))
        return (
            Situation(
                guests=self._guest_table(rows, need),
                hosts=self._host_table(),
                place=plant.host_of[rows].copy(),
                demand=plant.demand(rows) * self.guests.factor[rows],
                host_history=np.stack(self.history, axis=1),
                guest_history=np.stack([past[rows] for past in self.guest_history], axis=1),
                movable=movable,
                receiving=np.array([bool(one) for one in self.incoming], dtype=bool),
                bandwidth=self.hosts.link.astype(np.float64) * self.scenario.network.migration_share,
            ),
            rows,
        )

    def _guest_table(self, guests: Integers, need: Floats) -> Guests:
        rows = guests.tolist()
        fleet = self.guests
        return Guests(
            [fleet.names[i] for i in rows],
            need,
            [fleet.apart[i] for i in rows],
            [fleet.together[i] for i in rows],
            fleet.speed[guests],
        )

    def _host_table(self) -> Hosts:
        plant, scenario = self.plant, self.scenario
        placed = np.flatnonzero(plant.host_of >= 0)
        used = np.zeros_like(self.hosts.capacity)
        need = plant.needs(placed)
        for column in range(2):
            used[:, column] = np.bincount(plant.host_of[placed], need[:, column], minlength=len(used))
        if self.moving:
            coming = np.array(list(self.moving), dtype=np.int64)
            target = np.array([self.moving[g][1] for g in coming.tolist()], dtype=np.int64)
            # Guests of a post-copy migration are at the target already, and counted there.
            away = plant.host_of[coming] != target
            np.add.at(used, target[away], plant.needs(coming[away]))
        state = plant.state
        words = self._words()
        return Hosts(
            self.hosts.names,
            self.hosts.capacity * (scenario.cpu_overcommit, scenario.memory_overcommit),
            used,
            plant.usable(),
            (state == HostState.ON) | (state == HostState.WAKING),
            self.hosts.watts,
            words[0],
            words[1],
            self.hosts.core_mips,
        )

    def _words(self) -> tuple[list[frozenset[str]], list[frozenset[str]]]:
        """Anti-affinity and affinity words on each host, those of guests under way included."""
        fleet = self.guests
        if not any(fleet.apart) and not any(fleet.together):
            return [], []
        both: list[list[frozenset[str]]] = []
        for words in (fleet.apart, fleet.together):
            sets: list[set[str]] = [set() for _ in self.hosts.names]
            for host, guests in enumerate(self.plant.on):
                sets[host].update(words[guest] for guest in [*guests, *self.incoming[host]] if words[guest])
            both.append([frozenset(one) for one in sets])
        return both[0], both[1]

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

    # -- migrations ---------------------------------------------------------------------------------------

    def _start_move(self, guest: int, target: int) -> None:
        source = int(self.plant.host_of[guest])
        self.counts["migrations"] += 1
        self.incoming[target][guest] = None
        self.moved_at[guest] = self.env.now
        process = self.env.process(self._migrate(guest, source, target))
        self.moving[guest] = (source, target, process)

    def _migrate(self, guest: int, source: int, target: int) -> Generator[Event, Any, None]:
        names = self.hosts.names
        way = (
            f"{names[source]}:migrations",
            *self.topology.way(names[source], names[target]),
            f"{names[target]}:migrations",
        )
        began, transfer, copying, turn = self.env.now, None, False, Event(self.env)
        try:
            yield from self._when_on(target)
            self._take_turn(source, target, turn)
            yield turn
            expected = float(min(self._capacity[link] for link in way))
            moving = steps(
                self.scenario.migration, int(self.guests.own_memory[guest]), self.guests.dirtying[guest], expected
            )
            ask = next(moving)
            began, copying = self.env.now, True
            self._load_hosts(source, target, 1)
            while True:
                self._sync()
                self.plant.touch(int(self.plant.host_of[guest]))
                if ask.running_at == "target" and self.plant.host_of[guest] == source:
                    self._hand_over(guest, target)
                self.plant.paused[guest] = ask.paused
                self.plant.copying[guest] = not ask.paused
                start = self.env.now
                transfer = self.links.transfer(ask.size_bytes, way)
                yield transfer
                transfer = None
                self.sums["migrated_bytes"] += ask.size_bytes
                seconds = (self.env.now - start) / NS_PER_S
                if ask.fixed_ns:
                    yield self.env.delay(ask.fixed_ns)
                if ask.paused:
                    self.sums["migration_downtime_s"] += (self.env.now - start) / NS_PER_S
                if ask.lost_s:
                    self.plant.work_migrating[guest] += ask.lost_s * self.plant.use[guest] * self.guests.limit[guest]
                ask = moving.send(seconds)
        except StopIteration:
            pass
        except simpy.Interrupt:
            if transfer is not None and transfer.due_ns is not None:
                self.links.withdraw(transfer)
            self._end_turn(source, target, turn)
            self._end_move(guest, source, target, copying)
            return
        self._sync()
        if self.plant.host_of[guest] == source:
            self._hand_over(guest, target)
        self.sums["migration_s"] += (self.env.now - began) / NS_PER_S
        self._end_turn(source, target, turn)
        self._end_move(guest, source, target, copying)
        self._maybe_stop(source)

    def _take_turn(self, source: int, target: int, turn: Event) -> None:
        """Let ``turn`` happen when both hosts have room for one more migration."""
        for host in (source, target):
            if self._busy[host] >= self.scenario.concurrent_migrations:
                self._queue[host].append((source, target, turn))
                return
        self._busy[source] += 1
        self._busy[target] += 1
        turn.succeed()

    def _end_turn(self, source: int, target: int, turn: Event) -> None:
        """Give the turn back, and let the next ones have theirs; one that has not come yet is taken from the queue."""
        if not turn.triggered:
            for host in (source, target):
                self._queue[host] = deque(entry for entry in self._queue[host] if entry[2] is not turn)
            return
        for host in (source, target):
            self._busy[host] -= 1
        for host in (source, target):
            waiting, self._queue[host] = self._queue[host], deque()
            while waiting:
                if self._busy[host] >= self.scenario.concurrent_migrations:
                    self._queue[host].extend(waiting)
                    break
                self._take_turn(*waiting.popleft())

    def _hand_over(self, guest: int, target: int) -> None:
        self.storage.stop(guest)
        self.plant.detach(guest)
        self.plant.attach(guest, target)
        if self.plant.running[guest]:
            self.storage.go_on(guest, target)

    def _load_hosts(self, source: int, target: int, sign: int) -> None:
        for host in (source, target):
            self.plant.touch(host)
            self.plant.migration_mips[host] += sign * self.scenario.migration_cores * self.hosts.core_mips[host]

    def _end_move(self, guest: int, source: int, target: int, copying: bool) -> None:
        self._sync()
        if copying:
            self._load_hosts(source, target, -1)
            # Sums of floats do not come back to exactly nothing.
            for host in (source, target):
                if self.plant.migration_mips[host] < 1e-6:
                    self.plant.migration_mips[host] = 0.0
        host = int(self.plant.host_of[guest])
        if host >= 0:
            self.plant.touch(host)
        self.plant.paused[guest] = self.plant.copying[guest] = False
        self.incoming[target].pop(guest, None)
        self.moving.pop(guest, None)

    def _give_up(self, guest: int) -> None:
        """End a migration; the guest stays where it is."""
        _, target, process = self.moving[guest]
        self.counts["failed_migrations"] += 1
        if not process.is_alive:
            raise ModelError(f"the migration of guest {self.guests.names[guest]!r} has ended already")
        process.interrupt("given up")
        self.incoming[target].pop(guest, None)
        self.moving.pop(guest)
