"""What the reference counts: energy, SLA violations, state changes.

Intervals lie between distinct instants, and take the values that held after everything at the earlier one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from virtsim.cluster.cloudsim.quirks import Quirks
from virtsim.cluster.cloudsim.setup import Floats
from virtsim.cluster.cloudsim.state import State

Mask = NDArray[np.bool_]

_JOULES_PER_KWH = 3.6e6


class Ledger:
    """Sums over a run; see the reference description for each.

    Parameters
    ----------
    state : State
        What is counted.
    quirks : Quirks
        ``free_energy`` and ``receivers_violate`` matter here.
    always_full : bool
        Charge every host its full power all the time (the policy that manages no power).
    """

    def __init__(self, state: State, quirks: Quirks, always_full: bool) -> None:
        self.state, self.quirks, self.always_full = state, quirks, always_full
        n_vms, n_hosts = len(state.request), state.n_hosts
        self.joules = 0.0
        self.time_s = 0.0
        self._recorded = False
        self.vm_allocated, self.vm_requested, self.vm_lost = np.zeros((3, n_vms))
        self.average_sum, self.average_count = 0.0, 0
        self.active_s, self.violated_s = np.zeros((2, n_hosts))
        self.was_active = np.ones(n_hosts, dtype=bool)
        self.on_since = np.zeros(n_hosts)
        self.lifetimes: list[Floats] = []
        self.state_changes = 0
        self.was_moving = np.zeros(n_vms, dtype=bool)
        self.moving_since = np.zeros(n_vms)
        self.move_durations: list[Floats] = []
        self.peak_watts = float(state.servers.power(np.ones(n_hosts)).sum())

    def charge(self, used_before: Floats, charged: Mask, time_s: float) -> None:
        """Add the energy of the ``charged`` hosts since the last instant, before anything happens at this one."""
        passed = time_s - self.time_s
        if self.always_full:
            self.joules += self.peak_watts * passed
            return
        servers = self.state.servers
        before, now = _share(used_before / servers.total), _share(self.state.used / servers.total)
        start = servers.power(before)
        joules = (start + (servers.power(now) - start) / 2) * passed
        self.joules += float(joules[charged].sum())

    def advance(self, time_s: float) -> None:
        """Count the interval that ends at ``time_s`` with the values recorded before."""
        if self._recorded and time_s > self.time_s:
            self._count(time_s - self.time_s, self.time_s)
        self.time_s = time_s

    def _count(self, passed: float, since: float) -> None:
        self.vm_allocated += self.last_allocated * passed
        self.vm_requested += self.last_requested * passed
        short = np.flatnonzero(self.last_allocated < self.last_requested)
        if short.size:
            missing = self.last_requested[short] - self.last_allocated[short]
            self.average_sum += float((missing / self.last_requested[short]).sum())
            self.average_count += short.size
            moving = self.last_moving[short]
            self.vm_lost[short[moving]] += missing[moving] * passed
        active = self.last_used > 0
        self.active_s[active] += passed
        self.violated_s[active & self.last_violated] += passed
        self._count_states(since)

    def _count_states(self, time_s: float) -> None:
        active = self.last_used > 0
        changed = active != self.was_active
        if changed.any():
            self.state_changes += int(changed.sum())
            ended = changed & ~active
            self.lifetimes.append(time_s - self.on_since[ended])
            self.on_since[changed & active] = time_s
            self.was_active = active
        turned = self.last_moving != self.was_moving
        if turned.any():
            ended = turned & ~self.last_moving
            self.move_durations.append(time_s - self.moving_since[ended])
            self.moving_since[turned & self.last_moving] = time_s
            self.was_moving = self.last_moving

    def record(self) -> None:
        """Take the state as what holds from now on; a later record at the same instant replaces this one."""
        state = self.state
        placed = state.host_of >= 0
        self.last_allocated = np.where(placed, state.allocated, 0.0)
        self.last_requested = np.where(placed, state.request, 0.0)
        self.last_moving = state.moving.copy()
        self.last_used = state.used
        if self.quirks.receivers_violate:
            self.last_violated = state.used < state.asked
        else:
            here = ~state.slot_arriving
            asked = np.bincount(state.slot_host[here], state.request[state.slot_vm[here]], minlength=state.n_hosts)
            self.last_violated = state.used < asked * (1 - 1e-9)
        self._recorded = True

    def close(self) -> None:
        """Take the last records into account as far as they are changes."""
        if self._recorded:
            self._count_states(self.time_s)

    def results(self) -> dict[str, int | float]:
        """The reference's figures; shares are fractions, times seconds."""
        requested = sum(self.vm_requested.tolist())
        allocated = sum(self.vm_allocated.tolist())
        active = sum(self.active_s.tolist())
        slatah = sum(self.violated_s.tolist()) / active if active else 0.0
        pdm = sum(self.vm_lost.tolist()) / requested if requested else 0.0
        lifetimes = np.concatenate(self.lifetimes) if self.lifetimes else np.zeros(0)
        durations = np.concatenate(self.move_durations) if self.move_durations else np.zeros(0)
        energy_kwh = self.joules / _JOULES_PER_KWH
        return {
            "energy_kwh": energy_kwh,
            "slatah": slatah,
            "pdm": pdm,
            "slav": slatah * pdm,
            "esv": energy_kwh * slatah * pdm,
            "sla_overall": (requested - allocated) / requested if requested else 0.0,
            "sla_average": self.average_sum / self.average_count if self.average_count else 0.0,
            "unmet_demand": requested - allocated,
            "shutdowns": len(lifetimes),
            "state_changes": self.state_changes,
            "mean_time_before_shutdown_s": float(lifetimes.mean()) if len(lifetimes) else 0.0,
            "mean_migration_time_s": float(durations.mean()) if len(durations) else 0.0,
        }


def _share(value: Floats) -> Floats:
    """Rounding may take a sum of whole shares just over 1; anything more is an error of the model."""
    return np.where((value > 1) & (value < 1.01), 1.0, value)
