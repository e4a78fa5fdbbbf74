"""What hosts and guests do between events: CPU shares, power, and the sums over time, exact on every change."""

from __future__ import annotations

import numpy as np

from virtsim.cluster.fleet import GuestFleet, HostFleet
from virtsim.cluster.policies.curves import watts_at
from virtsim.cluster.policies.tables import CPU, MEMORY, Floats, Integers, Mask
from virtsim.core.units import NS_PER_S

# Shortages below this share of the demand are rounding.
_ROUNDING = 1e-9


class HostState:
    """States of a host: plain numbers, as arrays hold them."""

    ON = 0
    ASLEEP = 1
    OFF = 2
    WAKING = 3
    STOPPING = 4
    FAILED = 5


class Plant:
    """The state of all hosts and guests, and what it has cost so far.

    A host is *settled* before anything on it changes (its old rates are counted up to now) and *refreshed* after
    everything at this instant has changed (its new rates are found). :meth:`touch` does the first and remembers to
    do the second in :meth:`flush`.

    Attributes
    ----------
    host_of : ndarray
        Host of each guest that holds resources on one; -1 without.
    running : ndarray of bool
        Guests that run (those that start, wait or are paused do not).
    memory_moved : bool
        Whether a guest came to a host or left one since memory was pressed last.
    work_asked, work_migrating, work_stolen, work_paging : ndarray, MI
        Work that guests asked for, and lost: to their migration, to others on their host, and to paging.
    """

    def __init__(self, hosts: HostFleet, guests: GuestFleet, slowdown: float, penalty: float) -> None:
        self.hosts, self.guests = hosts, guests
        self.slowdown, self.penalty = slowdown, penalty
        m, n = len(hosts.names), len(guests.names)
        self.now = 0
        self.state: Integers = np.full(m, HostState.OFF, dtype=np.int64)
        self.on: list[dict[int, None]] = [{} for _ in range(m)]
        self.host_of: Integers = np.full(n, -1, dtype=np.int64)
        self.use, self.memory_use = np.zeros(n), np.ones(n)
        self.running, self.copying, self.paused = np.zeros((3, n), dtype=bool)
        self.speed_left = np.ones(n)
        self.memory_moved = False
        self.migration_mips = np.zeros(m)
        self._since: Integers = np.zeros(m, dtype=np.int64)
        self._dirty: set[int] = set()
        self.load = np.zeros(m)
        # What grows with time, and how fast: a row each, so that a host is settled in a few operations.
        self._host_rates, self._host_sums = np.zeros((2, 5, m))
        self.watts, self._transition, self._on, self._active, self._short = self._host_rates
        self.energy_j, self.transition_j, self.on_s, self.active_s, self.short_s = self._host_sums
        self._guest_rates, self._guest_sums = np.zeros((2, 4, n))
        self._asked, self._migrating, self._stolen, self._paging = self._guest_rates
        self.work_asked, self.work_migrating, self.work_stolen, self.work_paging = self._guest_sums
        self.refresh_all()

    # -- counting -----------------------------------------------------------------------------------------

    def touch(self, host: int) -> None:
        """Announce a change on a host: count what was until now, and refresh it at the end of the instant."""
        if host not in self._dirty:
            self._dirty.add(host)
            if self._since[host] != self.now:
                self._settle_one(host)

    def _settle_one(self, host: int) -> None:
        passed = (self.now - int(self._since[host])) / NS_PER_S
        self._host_sums[:, host] += self._host_rates[:, host] * passed
        guests = np.array(list(self.on[host]), dtype=np.int64)
        self._guest_sums[:, guests] += self._guest_rates[:, guests] * passed
        self._since[host] = self.now

    def flush(self) -> None:
        """Refresh what was touched."""
        if self._dirty:
            hosts = sorted(self._dirty)
            self._dirty.clear()
            self._refresh(np.array(hosts), self._guests_on(hosts))

    def settle_all(self) -> None:
        """Count everything up to now."""
        self._settle(np.arange(len(self.state)), np.flatnonzero(self.host_of >= 0))

    def refresh_all(self) -> None:
        """Find all rates anew."""
        self._dirty.clear()
        self._refresh(np.arange(len(self.state)), np.flatnonzero(self.host_of >= 0))

    def _guests_on(self, hosts: list[int]) -> Integers:
        return np.array([guest for host in hosts for guest in self.on[host]], dtype=np.int64)

    def _settle(self, hosts: Integers, guests: Integers) -> None:
        passed = (self.now - self._since[hosts]) / NS_PER_S
        if not passed.any():
            return
        self._host_sums[:, hosts] += self._host_rates[:, hosts] * passed
        passed = (self.now - self._since[self.host_of[guests]]) / NS_PER_S
        self._guest_sums[:, guests] += self._guest_rates[:, guests] * passed
        self._since[hosts] = self.now

    # -- shares -------------------------------------------------------------------------------------------

    def demand(self, guests: Integers) -> Floats:
        """Work that guests ask for now, MIPS."""
        wanted: Floats = self.use[guests] * self.guests.limit[guests] * self.running[guests]
        return wanted

    def _refresh(self, hosts: Integers, guests: Integers) -> None:
        fleet = self.guests
        place = np.searchsorted(hosts, self.host_of[guests])
        asked = self.demand(guests)
        able = np.where(self.paused[guests], 0.0, np.where(self.copying[guests], 1 - self.slowdown, 1.0))
        paged = self.speed_left[guests]
        wanted = asked * able * paged
        cost = wanted * fleet.factor[guests]
        capacity = self.hosts.capacity[hosts, CPU] - self.migration_mips[hosts]
        total = np.bincount(place, cost, minlength=len(hosts))
        given = cost.copy()
        short = np.flatnonzero(total > capacity * (1 + _ROUNDING))
        for h, here in zip(short.tolist(), _members(place, short)):
            kept = fleet.reserved[guests[here]] * fleet.factor[guests[here]]
            given[here] = share_cpu(cost[here], kept, float(max(capacity[h], 0.0)))
        self._asked[guests] = asked
        self._migrating[guests] = asked - asked * able
        self._paging[guests] = asked * able - wanted
        self._stolen[guests] = stolen = (cost - given) / fleet.factor[guests]
        lost = np.bincount(place, stolen, minlength=len(hosts))
        on = self.state[hosts] == HostState.ON
        self._short[hosts] = on & (lost > _ROUNDING * np.maximum(total, 1.0))
        self._active[hosts] = on & (np.bincount(place, minlength=len(hosts)) > 0)
        used = np.bincount(place, given, minlength=len(hosts)) + self.migration_mips[hosts]
        self.load[hosts] = np.minimum(used / self.hosts.capacity[hosts, CPU], 1.0)
        self.watts[hosts] = watts = self._power(hosts)
        state = self.state[hosts]
        self._transition[hosts] = watts * ((state == HostState.WAKING) | (state == HostState.STOPPING))
        self._on[hosts] = on

    def _power(self, hosts: Integers) -> Floats:
        state, fleet = self.state[hosts], self.hosts
        curves = fleet.watts[hosts]
        if (state == HostState.ON).all():
            return watts_at(curves, self.load[hosts])
        return np.select(
            [
                state == HostState.ON,
                state == HostState.ASLEEP,
                state == HostState.WAKING,
                state == HostState.STOPPING,
                state == HostState.OFF,
            ],
            [
                watts_at(curves, self.load[hosts]),
                fleet.asleep_watts[hosts],
                curves[:, -1],
                curves[:, 0],
                fleet.off_watts[hosts],
            ],
            0.0,
        )

    # -- changes ------------------------------------------------------------------------------------------

    def attach(self, guest: int, host: int) -> None:
        """Give a guest a host."""
        self.touch(host)
        self.host_of[guest] = host
        self.on[host][guest] = None
        self.memory_moved = True

    def detach(self, guest: int) -> None:
        """Take a guest off its host."""
        host = int(self.host_of[guest])
        self.touch(host)
        del self.on[host][guest]
        self.host_of[guest] = -1
        self.memory_moved = True

    def set_state(self, host: int, state: int) -> None:
        """Change the state of a host."""
        self.touch(host)
        self.state[host] = state

    # -- memory -------------------------------------------------------------------------------------------

    def press_memory(self, floor: float) -> tuple[list[int], float]:
        """Take memory back where more is touched than a host has.

        Guests with a balloon give memory in proportion to what they touch above ``floor``, and slow down by paging.
        Where that is not enough, the guest that touches most is killed, and so on.

        Returns
        -------
        killed : list of int
            Guests that must go.
        ballooned : float, bytes
            Memory taken from guests.
        """
        fleet = self.guests
        before, self.speed_left = self.speed_left, np.ones(len(self.speed_left))
        placed = np.flatnonzero(self.host_of >= 0)
        touched = self.touched(placed)
        total = np.bincount(self.host_of[placed], touched, minlength=len(self.state))
        killed: list[int] = []
        ballooned = 0.0
        for host in np.flatnonzero(total > self.hosts.capacity[:, MEMORY] * (1 + _ROUNDING)).tolist():
            guests = np.array(list(self.on[host]), dtype=np.int64)
            size = self.touched(guests)
            spare = np.where(fleet.balloons[guests], np.maximum(size - floor * fleet.memory[guests], 0.0), 0.0)
            while (excess := size.sum() - self.hosts.capacity[host, MEMORY]) > spare.sum() * (1 + _ROUNDING):
                worst = int(size.argmax())
                killed.append(int(guests[worst]))
                guests, size, spare = (np.delete(a, worst) for a in (guests, size, spare))
                if not guests.size:
                    break
            if guests.size and excess > 0:
                part = spare * (excess / spare.sum()) / size
                self.speed_left[guests] = 1 / (1 + self.penalty * part)
                ballooned += float(excess)
        for host in np.unique(self.host_of[placed[self.speed_left[placed] != before[placed]]]).tolist():
            self.touch(host)
        return killed, ballooned

    def touched(self, guests: Integers) -> Floats:
        """Memory that guests touch, with their stack's, bytes."""
        fleet = self.guests
        extra = fleet.memory[guests] - fleet.own_memory[guests]
        touched: Floats = extra + fleet.own_memory[guests] * self.memory_use[guests]
        return touched

    # -- views --------------------------------------------------------------------------------------------

    def needs(self, guests: Integers) -> Floats:
        """What must be kept for guests, shape (n, 2): CPU of the host, MIPS, and memory, bytes."""
        fleet = self.guests
        cpu = np.maximum(self.use[guests] * fleet.limit[guests], fleet.reserved[guests]) * fleet.factor[guests]
        return np.stack([cpu, fleet.memory[guests]], axis=1)

    def usable(self) -> Mask:
        """Hosts that may take guests."""
        mask: Mask = self.state != HostState.FAILED
        return mask


def _members(place: Integers, hosts: Integers) -> list[Integers]:
    """Entries of each of these hosts, in order; one look at all entries, however many hosts are asked for."""
    if not hosts.size:
        return []
    order = np.argsort(place, kind="stable")
    first, last = (np.searchsorted(place[order], hosts, side=side) for side in ("left", "right"))
    return [order[a:b] for a, b in zip(first.tolist(), last.tolist())]


def share_cpu(wanted: Floats, kept: Floats, capacity: float) -> Floats:
    """CPU of one host among guests that want more than it has: reservations first, the rest max-min fair.

    Parameters
    ----------
    wanted, kept : ndarray, MIPS
        What each asks for, and what is reserved for it.
    capacity : float, MIPS
        What there is.

    Returns
    -------
    ndarray, MIPS
        Given to each; the sum is the smaller of capacity and the sum of ``wanted``.
    """
    base = np.minimum(wanted, kept)
    reserved = base.sum()
    if reserved >= capacity:
        return base * (capacity / reserved) if reserved > 0 else base
    rest = wanted - base
    left = capacity - reserved
    order = np.argsort(rest, kind="stable")
    given = np.zeros_like(rest)
    for k, i in enumerate(order.tolist()):
        given[i] = min(rest[i], left / (len(rest) - k))
        left -= given[i]
    return base + given
