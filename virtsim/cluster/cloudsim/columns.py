"""Candidate hosts of a decision, and the search for the one whose power grows least (PABFD)."""

from __future__ import annotations

from typing import Any

import numpy as np

from virtsim.cluster.cloudsim.detectors import Detector, WindowStatistic
from virtsim.cluster.cloudsim.quirks import Quirks
from virtsim.cluster.cloudsim.setup import (
    SERVER_BANDWIDTH_KBIT,
    SERVER_MEMORY_MB,
    VM_BANDWIDTH_KBIT,
    Floats,
    Integers,
)
from virtsim.cluster.cloudsim.state import State

_VMS_PER_LINK = SERVER_BANDWIDTH_KBIT // VM_BANDWIDTH_KBIT
# Candidates that are looked at first where asking the detector is dear.
_FIRST_LOOK = 6


class Columns:
    """Arrays over candidate hosts, in the order of their numbers so that the first of equals is the lowest.

    Parameters
    ----------
    state : State
        Requests and servers.
    hosts : ndarray
        The candidates.
    free, load, asked : ndarray, MIPS
        Per host of the data centre: as the tentative placement stands.
    sizes, memory : ndarray
        Per host: number of VMs, and their memory, MB.
    measured : ndarray, W
        Per host: power at the last measurement.
    """

    def __init__(
        self,
        state: State,
        detector: Detector,
        quirks: Quirks,
        hosts: Integers,
        tentative: Tentative,
        measured: Floats,
    ) -> None:
        self.state, self.detector, self.quirks = state, detector, quirks
        servers = state.servers
        self.host = hosts
        self.total, self.core, self.offset = servers.total[hosts], servers.core[hosts], servers.offset[hosts]
        self.free, self.load = tentative.free[hosts], tentative.load[hosts]
        self.size, self.memory = tentative.size[hosts], tentative.memory[hosts]
        self.loaded = self.load != 0
        self.baseline = measured[hosts] if quirks.stale_power else self._power_now()
        self.slowest_core = float(self.core.min(initial=np.inf))
        detector.open(hosts, tentative.asked)
        self._scratch = np.empty(len(hosts))

    def _power_now(self) -> Floats:
        share = np.minimum(self.load / self.total, 1.0)
        at = (share * 10).astype(np.int64) + self.offset
        servers = self.state.servers
        power = servers.watts[at] + servers.slope[at] * (share - servers.knot[at]) * 100
        return np.where(self.size > 0, power, 0.0)

    def target(self, vm: int) -> int:
        """Column of the host that should take ``vm``, or -1."""
        state = self.state
        request = float(state.request[vm])
        fits = self.free >= request
        if request > self.slowest_core:
            fits &= self.core >= request
        if not self.quirks.memory_ignored:
            fits &= self.memory + state.machines.memory_mb[vm] <= SERVER_MEMORY_MB
            fits &= self.size < _VMS_PER_LINK
        if not fits.any():
            return -1
        self._follow_hash_maps(fits)
        if isinstance(self.detector, WindowStatistic):
            return self._first_allowed(vm, self._costs(request, fits))
        fires = self.detector.fires_with(vm)
        fires &= self.loaded
        fits &= ~fires
        costs = self._costs(request, fits)
        column = int(costs.argmin())
        return column if costs[column] < np.inf else -1

    def _costs(self, request: float, fits: Any) -> Floats:
        """Growth of power, W; infinite where the VM does not fit."""
        servers, share = self.state.servers, self._scratch
        np.add(self.load, request, out=share)
        share /= self.total
        at = (share * 10).astype(np.int64)
        at += self.offset
        share -= servers.knot.take(at, mode="clip")
        share *= servers.slope.take(at, mode="clip")
        share *= 100
        share += servers.watts.take(at, mode="clip")
        share -= self.baseline
        share[~fits] = np.inf
        return share

    def _first_allowed(self, vm: int, costs: Floats) -> int:
        """The cheapest column that the detector allows; it is asked about the cheapest few first."""
        order = np.argsort(costs, kind="stable")
        order = order[: int((costs < np.inf).sum())]
        detector = self.detector
        for part in (order[:_FIRST_LOOK], order[_FIRST_LOOK:]):
            if part.size:
                allowed = ~(detector.fires_at(part, vm) & self.loaded[part])  # type: ignore[attr-defined]
                if allowed.any():
                    return int(part[allowed.argmax()])
        return -1

    def _follow_hash_maps(self, fits: Any) -> None:
        """A tentative VM lets a hash map grow that is just full; see :attr:`State.buckets`."""
        if self.size.max(initial=0) >= 12:
            tried = self.host[fits & self.loaded]
            sizes = np.zeros(self.state.n_hosts, dtype=np.int64)
            sizes[tried] = self.size[fits & self.loaded] + 1
            self.state.grow_buckets(sizes)

    def add(self, column: int, vm: int) -> Any:
        """Put ``vm`` on a candidate tentatively; returns what :meth:`restore` needs."""
        request = float(self.state.request[vm])
        before = (
            column,
            self.free[column],
            self.load[column],
            self.loaded[column],
            self.size[column],
            self.memory[column],
            self.baseline[column],
            self.detector.add(column, vm),
        )
        self.free[column] -= request
        self.load[column] += request
        self.loaded[column] = self.load[column] != 0
        self.size[column] += 1
        self.memory[column] += self.state.machines.memory_mb[vm]
        if not self.quirks.stale_power:
            self.baseline[column] = self._power_now()[column]
        return before

    def restore(self, before: Any) -> None:
        """Undo :meth:`add`; the last one first."""
        column, *values, detector = before
        self.detector.restore(column, detector)
        for array, value in zip(
            (self.free, self.load, self.loaded, self.size, self.memory, self.baseline), values, strict=True
        ):
            array[column] = value


class Tentative:
    """Sums per host of the placement that a decision is working on."""

    def __init__(self, state: State) -> None:
        n, host, vm = state.n_hosts, state.slot_host, state.slot_vm
        self.free = state.free_mips()
        self.load = np.bincount(host, state.allocated[vm], minlength=n)
        self.asked = np.bincount(host, state.request[vm], minlength=n)
        self.size = np.bincount(host, minlength=n)
        self.memory = np.bincount(host, state.machines.memory_mb[vm], minlength=n)

    def take(self, columns: Columns) -> None:
        """Write back what was placed on the candidates."""
        hosts = columns.host
        self.free[hosts], self.load[hosts] = columns.free, columns.load
        self.size[hosts], self.memory[hosts] = columns.size, columns.memory
        self.asked[hosts] = columns.detector.asked
