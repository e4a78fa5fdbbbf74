"""Candidate hosts of a decision, and the search for the one whose power grows least (PABFD)."""

from __future__ import annotations

from typing import Any

import numpy as np

from virtsim.cluster.cloudsim.detectors import Detector, Mask, WindowStatistic
from virtsim.cluster.cloudsim.quirks import Quirks
from virtsim.cluster.cloudsim.setup import (
    ASKED,
    FREE,
    KNOWN,
    LOAD,
    MEMORY,
    PREDICTED,
    ROWS,
    SERVER_BANDWIDTH_KBIT,
    SERVER_MEMORY_MB,
    SIZE,
    VM_BANDWIDTH_KBIT,
    Floats,
    Integers,
)
from virtsim.cluster.cloudsim.state import State

_VMS_PER_LINK = SERVER_BANDWIDTH_KBIT // VM_BANDWIDTH_KBIT
# Candidates that are looked at first where asking the detector is dear.
_FIRST_LOOK = 6


class Tentative:
    """Sums per host of the placement that a decision is working on, and what each VM would add to them.

    Attributes
    ----------
    sums : ndarray, shape (ROWS, hosts)
        Free, used and requested MIPS, number of VMs, memory (MB), and the detector's predictions.
    parts : ndarray, shape (VMs, ROWS)
        What placing a VM adds.
    """

    def __init__(self, state: State, detector: Detector) -> None:
        n, host, vm = state.n_hosts, state.slot_host, state.slot_vm
        self.parts = np.zeros((len(state.request), ROWS))
        self.parts[:, FREE] = -state.request
        self.parts[:, LOAD] = self.parts[:, ASKED] = state.request
        self.parts[:, SIZE] = 1
        self.parts[:, MEMORY] = state.machines.memory_mb
        self.parts[:, PREDICTED], self.parts[:, KNOWN] = detector.vm_sums()
        self.sums = np.zeros((ROWS, n))
        for row in (ASKED, SIZE, MEMORY, PREDICTED, KNOWN):
            self.sums[row] = np.bincount(host, self.parts[vm, row], minlength=n)
        self.sums[FREE] = state.free_mips()
        self.sums[LOAD] = np.bincount(host, state.allocated[vm], minlength=n)


class Columns:
    """Arrays over candidate hosts, in the order of their numbers so that the first of equals is the lowest.

    Parameters
    ----------
    state : State
        Requests and servers.
    detector : Detector
        What keeps a host from taking a VM.
    quirks : Quirks
        ``stale_power`` and ``memory_ignored`` matter here.
    hosts : ndarray
        The candidates.
    tentative : Tentative
        The placement so far.
    measured : ndarray, W
        Power of every host at the last measurement.
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
        self.host, self._tentative = hosts, tentative
        servers = state.servers
        self._servers = servers
        self.total, self.core, self.offset = servers.total[hosts], servers.core[hosts], servers.offset[hosts]
        self.table = np.ascontiguousarray(tentative.sums[:, hosts])
        self.free, self.load, self.size = self.table[FREE], self.table[LOAD], self.table[SIZE]
        self.baseline = measured[hosts] if quirks.stale_power else self._power_now()
        self._slowest_core = float(self.core.min(initial=np.inf))
        self._all_loaded = bool((self.load != 0).all())
        self._limit = (state.buckets[hosts] * 3 // 4).tolist()
        self._brink = {int(c) for c in np.flatnonzero(self.size >= state.buckets[hosts] * 3 // 4)}
        self._lazy = detector if isinstance(detector, WindowStatistic) else None
        detector.open(hosts, self.table)
        self._share, self._work = np.empty(len(hosts)), np.empty(len(hosts))

    def _power_now(self) -> Floats:
        share = np.minimum(self.load / self.total, 1.0)
        at = (share * 10).astype(np.int64) + self.offset
        servers = self._servers
        power = servers.watts[at] + servers.slope[at] * (share - servers.knot[at]) * 100
        return np.where(self.size > 0, power, 0.0)

    def target(self, vm: int) -> int:
        """Column of the host that should take ``vm``, or -1."""
        request = float(self.state.request[vm])
        blocked: Mask = self.free < request
        if request > self._slowest_core:
            blocked |= self.core < request
        if not self.quirks.memory_ignored:
            blocked |= self.table[MEMORY] + self.state.machines.memory_mb[vm] > SERVER_MEMORY_MB
            blocked |= self.size >= _VMS_PER_LINK
        if self._brink:
            self._follow_hash_maps(blocked)
        if self._lazy is not None:
            return self._first_allowed(self._lazy, vm, self._costs(request, blocked))
        fires = self.detector.fires_with(vm)
        if not self._all_loaded:
            fires &= self.load != 0
        blocked |= fires
        costs = self._costs(request, blocked)
        column = int(costs.argmin())
        return -1 if blocked[column] else column

    def place_all(self, vms: list[int]) -> list[int] | None:
        """Place all of ``vms``, in this order, or none; their columns, or None if one has no place."""
        undo: list[Any] = []
        for vm in vms:
            column = self.target(vm)
            if column < 0:
                for before in reversed(undo):
                    self.restore(before)
                return None
            undo.append(self.add(column, vm))
        return [before[0] for before in undo]

    def _grow(self, column: int) -> None:
        host = self.host[column]
        self.state.buckets[host] *= 2
        self._limit[column] = int(self.state.buckets[host]) * 3 // 4
        self._brink.discard(column)

    def _costs(self, request: float, blocked: Mask) -> Floats:
        """Growth of power, W; infinite where the VM may not go."""
        servers, share, work = self._servers, self._share, self._work
        np.add(self.load, request, out=share)
        np.divide(share, self.total, out=share)
        np.multiply(share, 10, out=work)
        at = work.astype(np.int64)
        at += self.offset
        share -= servers.knot.take(at, mode="clip")
        work = servers.slope.take(at, mode="clip")
        work *= share
        work *= 100
        work += servers.watts.take(at, mode="clip")
        work -= self.baseline
        work[blocked] = np.inf
        return work

    def _first_allowed(self, detector: WindowStatistic, vm: int, costs: Floats) -> int:
        """The cheapest column that the detector allows; it is asked about the cheapest few first."""
        order = np.argsort(costs, kind="stable")
        order = order[: int((costs < np.inf).sum())]
        for part in (order[:_FIRST_LOOK], order[_FIRST_LOOK:]):
            if part.size:
                allowed = ~(detector.fires_at(part, vm) & (self.load[part] != 0))
                if allowed.any():
                    return int(part[allowed.argmax()])
        return -1

    def _follow_hash_maps(self, blocked: Mask) -> None:
        """A VM that is tried on a host lets a hash map grow that is just full; see :attr:`State.buckets`."""
        for column in list(self._brink):
            if not blocked[column] and self.load[column] != 0:
                self._grow(column)

    def add(self, column: int, vm: int) -> Any:
        """Put ``vm`` on a candidate tentatively; returns what :meth:`restore` needs."""
        table = self.table
        before = (column, table[:, column].copy(), self.baseline[column], self.detector.add(column, vm))
        table[:, column] += self._tentative.parts[vm]
        if not self.quirks.stale_power:
            self.baseline[column] = self._power_now()[column]
        if self.size[column] >= self._limit[column]:
            self._brink.add(column)
        return before

    def restore(self, before: Any) -> None:
        """Undo :meth:`add`; the last one first."""
        column, values, baseline, detector = before
        self.table[:, column] = values
        self.baseline[column] = baseline
        self.detector.restore(column, detector)
        if self.size[column] < self._limit[column]:
            self._brink.discard(column)

    def close(self, column: int) -> None:
        """Let a candidate take no more."""
        self.free[column] = -1.0
        self._brink.discard(column)

    def keep(self) -> None:
        """Let the placement so far include what was put on the candidates."""
        self._tentative.sums[:, self.host] = self.table
        self.detector.keep(self.host)
