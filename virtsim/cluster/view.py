"""The cluster as policies see it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from virtsim.cluster.part import Part
from virtsim.cluster.plant import HostState
from virtsim.cluster.policies.situation import Situation
from virtsim.cluster.policies.tables import CPU, Floats, Guests, Hosts, Integers

if TYPE_CHECKING:
    from virtsim.cluster.simulation import Simulation

#: Samples of the past that policies see.
WINDOW = 30


class View(Part):
    """Tables of a simulation's guests and hosts, and of their past."""

    def __init__(self, simulation: Simulation) -> None:
        super().__init__(simulation)
        self._host_history: deque[Floats] = deque(maxlen=WINDOW)
        self._guest_history: deque[Floats] = deque(maxlen=WINDOW)
        overcommit = (self._scenario.cpu_overcommit, self._scenario.memory_overcommit)
        # What never changes of the hosts, checked once: with many arrivals the table is asked for often.
        self._all_hosts = Hosts(
            self._hosts.names,
            self._hosts.capacity * overcommit,
            watts=self._hosts.watts,
            speed=self._hosts.core_mips,
        )

    def remember(self) -> None:
        """Note the present load for policies that look back."""
        plant = self._plant
        placed = np.flatnonzero(plant.host_of >= 0)
        wanted = plant.demand(placed) * self._guests.factor[placed]
        total = np.bincount(plant.host_of[placed], wanted, minlength=len(plant.state))
        self._host_history.append(total / self._hosts.capacity[:, CPU])
        self._guest_history.append(plant.use.copy())

    def situation(self) -> tuple[Situation, Integers]:
        """What a consolidation policy sees, and the number of each guest in it."""
        plant = self._plant
        rows = np.flatnonzero((plant.host_of >= 0) & plant.running)
        need = plant.needs(rows)
        movable = self._env.now - self._simulation.moves.moved_at[rows] >= int(self._scenario.policy.settling)
        if self._simulation.moves.moving:
            movable &= ~np.isin(rows, np.array(list(self._simulation.moves.moving), dtype=np.int64))
        return (
            Situation(
                guests=self.guest_table(rows, need),
                hosts=self.host_table(),
                place=plant.host_of[rows].copy(),
                demand=plant.demand(rows) * self._guests.factor[rows],
                host_history=np.stack(self._host_history, axis=1),
                guest_history=np.stack([past[rows] for past in self._guest_history], axis=1),
                movable=movable,
                receiving=np.array([bool(one) for one in self._simulation.moves.incoming], dtype=bool),
                bandwidth=self._hosts.link.astype(np.float64) * self._scenario.network.migration_share,
            ),
            rows,
        )

    def guest_table(self, guests: Integers, need: Floats) -> Guests:
        """These guests as policies see them."""
        rows = guests.tolist()
        fleet = self._guests
        return Guests(
            [fleet.names[i] for i in rows],
            need,
            [fleet.apart[i] for i in rows],
            [fleet.together[i] for i in rows],
            fleet.speed[guests],
        )

    def host_table(self) -> Hosts:
        """All hosts as policies see them."""
        plant = self._plant
        placed = np.flatnonzero(plant.host_of >= 0)
        used = np.zeros_like(self._hosts.capacity)
        need = plant.needs(placed)
        for column in range(2):
            used[:, column] = np.bincount(plant.host_of[placed], need[:, column], minlength=len(used))
        if self._simulation.moves.moving:
            coming = np.array(list(self._simulation.moves.moving), dtype=np.int64)
            target = np.array([self._simulation.moves.moving[g][1] for g in coming.tolist()], dtype=np.int64)
            # Guests of a post-copy migration are at the target already, and counted there.
            away = plant.host_of[coming] != target
            np.add.at(used, target[away], plant.needs(coming[away]))
        state = plant.state
        running = (state == HostState.ON) | (state == HostState.WAKING)
        return self._all_hosts.with_state(used, plant.usable(), running, *self._words())

    def _words(self) -> tuple[list[frozenset[str]], list[frozenset[str]]]:
        """Anti-affinity and affinity words on each host, those of guests under way included."""
        fleet = self._guests
        if not any(fleet.apart) and not any(fleet.together):
            return [], []
        both: list[list[frozenset[str]]] = []
        for words in (fleet.apart, fleet.together):
            sets: list[set[str]] = [set() for _ in self._hosts.names]
            for host, guests in enumerate(self._plant.on):
                sets[host].update(
                    words[guest] for guest in [*guests, *self._simulation.moves.incoming[host]] if words[guest]
                )
            both.append([frozenset(one) for one in sets])
        return both[0], both[1]
