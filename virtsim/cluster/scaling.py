"""Groups of guests whose number follows their demand: replicas of a service, under a horizontal autoscaler.

A scaled group has one row of the traces: the demand of the whole service, as a share of what ``most`` replicas at their
limits can do. It is spread evenly over the replicas that run. What they cannot do is not done: it counts as unserved.

A replica that is added waits for a host, for the host to be on, for its image and for its start, as every guest that
arrives; it is placed by its request. One that is let go departs at once: those without a host first, then the youngest.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import numpy as np
from simpy.events import Event

from virtsim.cluster.policies.autoscale import Autoscaler, HorizontalAutoscaler
from virtsim.cluster.policies.tables import Integers
from virtsim.cluster.run import ServiceState
from virtsim.cluster.scenario import GuestGroup
from virtsim.cluster.traces.traces import Traces
from virtsim.core.errors import SpecError
from virtsim.core.units import NS_PER_S

if TYPE_CHECKING:
    from virtsim.cluster.simulation import Simulation


def spread_rows(groups: list[GuestGroup], traces: Traces) -> Traces:
    """A row for each guest: the one row of a scaled group is repeated for each replica that it may have.

    Raises
    ------
    SpecError
        If there are more or fewer rows than the groups need, or a scaled group's demand does not last the whole time.
    """
    if not any(group.scaling for group in groups):
        return traces
    needed = sum(group.rows for group in groups)
    if needed != len(traces.guests):
        raise SpecError(
            "guests",
            f"the groups need {needed} traces, there are {len(traces.guests)}; each guest needs one, and a scaled "
            "group one in all",
        )
    rows: list[int] = []
    names: list[str] = []
    row = 0
    for group in groups:
        if group.scaling is None:
            rows += range(row, row + group.rows)
            names += traces.guests[row : row + group.rows]
        else:
            if traces.start_ns[row] > 0 or traces.end_ns[row] < traces.duration_ns:
                raise SpecError(
                    f"traces[{traces.guests[row]!r}]",
                    f"is the demand of the scaled group {group.name!r} and must last the whole time; give 0 where "
                    "there is none",
                )
            rows += [row] * group.instances
            names += [f"{traces.guests[row]}/{i}" for i in range(group.instances)]
        row += group.rows
    return traces.rows(np.array(rows, dtype=np.int64), names)


class Service:
    """One scaled group in a run.

    Attributes
    ----------
    name : str
        The group's.
    guests : ndarray
        Numbers of all replicas that it may have.
    history : list of ServiceState
        One entry whenever something changes.
    """

    def __init__(
        self, simulation: Simulation, group: GuestGroup, rules: HorizontalAutoscaler, guests: Integers
    ) -> None:
        self.name, self.rules, self.guests = group.name, rules, guests
        self.history: list[ServiceState] = []
        self.asked_mi = self.unserved_mi = self.replica_s = 0.0
        self.ups = self.downs = 0
        self._simulation = simulation
        self._limit = group.cores * group.core_mips
        self._request = group.request
        self._scaler = Autoscaler(rules, group.count)
        self._order: list[int] = guests.tolist()
        self._since_ns = 0
        self._done_mi = self._serving_s = 0.0
        self._closed = False

    @property
    def replicas(self) -> int:
        """Replicas that there should be."""
        return self._scaler.replicas

    def first(self) -> list[int]:
        """Replicas that there are from the beginning."""
        return self._order[: self.replicas]

    def spread(self) -> None:
        """Share the demand out among the replicas that run now; their hosts are touched."""
        if self._closed:
            return
        self._simulation.sync()
        self._count()
        plant, now_ns = self._simulation.plant, self._simulation.env.now
        serving = self.guests[plant.running[self.guests]]
        asked = float(self._simulation.service_use[self.guests[0]]) * len(self.guests) * self._limit
        can = len(serving) * self._limit
        for host in sorted(set(plant.host_of[serving].tolist())):
            plant.touch(host)
        plant.use[self.guests] = 0.0
        plant.use[serving] = min(asked / can, 1.0) if can else 0.0
        state = ServiceState(now_ns / NS_PER_S, self.replicas, len(serving), asked, max(asked - can, 0.0))
        if self.history and self.history[-1].time_s == state.time_s:
            self.history.pop()
        if not self.history or self.history[-1][1:] != state[1:]:
            self.history.append(state)

    def close(self) -> None:
        """End of the run: count what is left, and look away from then on."""
        self._count()
        self._closed = True

    def _count(self) -> None:
        """Add up what was, until now."""
        seconds = (self._simulation.env.now - self._since_ns) / NS_PER_S
        if seconds and self.history:
            last = self.history[-1]
            self.asked_mi += last.asked * seconds
            self.unserved_mi += last.unserved * seconds
            self.replica_s += last.replicas * seconds
            self._serving_s += last.serving * seconds
        self._since_ns = self._simulation.env.now

    def decisions(self) -> Generator[Event, Any, None]:
        """Look at the utilisation and scale, for ever."""
        simulation = self._simulation
        while True:
            yield simulation.env.delay(int(self.rules.period))
            simulation.sync()
            simulation.plant.flush()
            simulation.plant.settle_all()
            before = self.replicas
            utilisation = self._utilisation()
            if utilisation is None:
                continue
            serving = int(simulation.plant.running[self.guests].sum())
            after = self._scaler.decide(simulation.env.now, serving, utilisation)
            self.ups += after > before
            self.downs += after < before
            if after > before:
                self._grow(after)
            elif after < before:
                self._shrink(after)

    def _utilisation(self) -> float | None:
        """Work done since the last decision, as a share of the requests of the replicas that ran; None if none did."""
        self._count()
        plant = self._simulation.plant
        lost = plant.work_migrating + plant.work_stolen + plant.work_paging
        done_mi = float((plant.work_asked - lost)[self.guests].sum())
        done, requested = done_mi - self._done_mi, self._serving_s * self._request
        self._done_mi, self._serving_s = done_mi, 0.0
        return done / requested if requested else None

    def _alive(self) -> list[int]:
        return [guest for guest in self._order if self._simulation.alive[guest]]

    def _grow(self, replicas: int) -> None:
        free = [guest for guest in self._order if not self._simulation.alive[guest]]
        for guest in free[: replicas - len(self._alive())]:
            self._simulation.appear(guest)
        self._simulation.place_waiting()
        self.spread()

    def _shrink(self, replicas: int) -> None:
        plant, alive = self._simulation.plant, self._alive()
        # False sorts before True: who has no host goes first, then who does not run yet, then the last of the row.
        order = sorted(alive, key=lambda guest: (plant.host_of[guest] >= 0, plant.running[guest], -guest))
        for guest in order[: len(alive) - replicas]:
            self._simulation.depart(guest)
        self.spread()


class Services:
    """All scaled groups of a run; it has none in most."""

    def __init__(self, simulation: Simulation, groups: list[GuestGroup]) -> None:
        self._of: dict[int, Service] = {}
        self.all: list[Service] = []
        first = 0
        for group in groups:
            guests = np.arange(first, first + group.instances)
            first += group.instances
            if group.scaling is not None:
                service = Service(simulation, group, group.scaling, guests)
                self.all.append(service)
                self._of.update(dict.fromkeys(guests.tolist(), service))

    def there_at_first(self, guests: Integers) -> Integers:
        """Of guests, those that are no replicas that may come later."""
        if not self.all:
            return guests
        there = {guest for service in self.all for guest in service.first()}
        kept = [guest for guest in guests.tolist() if guest not in self._of or guest in there]
        return np.array(kept, dtype=np.int64)

    def spread(self) -> None:
        """Share the demand of every service out anew."""
        for service in self.all:
            service.spread()

    def changed(self, guest: int) -> None:
        """A guest began to run, or ended."""
        service = self._of.get(guest)
        if service is not None:
            service.spread()

    def close(self) -> None:
        """End of the run."""
        for service in self.all:
            service.close()

    def totals(self, seconds: float) -> dict[str, int | float]:
        """What is reported, if there are services."""
        if not self.all:
            return {}
        return {
            "service_asked_mi": sum(service.asked_mi for service in self.all),
            "service_unserved_mi": sum(service.unserved_mi for service in self.all),
            "mean_replicas": sum(service.replica_s for service in self.all) / seconds,
            "scale_ups": sum(service.ups for service in self.all),
            "scale_downs": sum(service.downs for service in self.all),
        }
