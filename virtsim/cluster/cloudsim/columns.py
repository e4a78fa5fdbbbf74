"""Candidate hosts of a decision, and the search for the one whose power grows least (PABFD).

Nearly all the time of a run goes into this search, so it is compiled where it can be.
"""

from __future__ import annotations

from typing import Any

from virtsim.cluster.cloudsim.detectors import Detector, WindowStatistic
from virtsim.cluster.cloudsim.quirks import Quirks
from virtsim.cluster.cloudsim.setup import (
    FREE,
    LOAD,
    MEMORY,
    SERVER_BANDWIDTH_KBIT,
    SERVER_MEMORY_MB,
    SIZE,
    VM_BANDWIDTH_KBIT,
    Floats,
    Integers,
)
from virtsim.cluster.cloudsim.state import State
from virtsim.cluster.cloudsim.tentative import Tentative

_VMS_PER_LINK = SERVER_BANDWIDTH_KBIT // VM_BANDWIDTH_KBIT
# Candidates that are looked at first where asking the detector is dear.
_FIRST_LOOK = 6


class Columns:
    """Lists over candidate hosts, in the order of their numbers so that the first of equals is the lowest.

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
        self.state, self.detector = state, detector
        self._stale, self._careful = quirks.stale_power, not quirks.memory_ignored
        self._hosts, self._tentative = hosts, tentative
        self.host: list[int] = hosts.tolist()
        servers = state.servers
        self._total: list[float] = servers.total[hosts].tolist()
        self._core: list[float] = servers.core[hosts].tolist()
        self._offset: list[int] = servers.offset[hosts].tolist()
        self._watts, self._slope, self._knot = servers.curves
        self._last_knot = len(self._knot) - 1
        self.table: list[list[float]] = tentative.sums[:, hosts].tolist()
        self._free, self._load, self._size = self.table[FREE], self.table[LOAD], self.table[SIZE]
        self._memory = self.table[MEMORY]
        self._baseline: list[float] = measured[hosts].tolist()
        if not self._stale:
            self._baseline = [self._power_now(column) for column in range(len(self.host))]
        self._limit: list[int] = (state.buckets[hosts] * 3 // 4).tolist()
        self._brink = {column for column, limit in enumerate(self._limit) if self._size[column] >= limit}
        self._lazy = detector if isinstance(detector, WindowStatistic) else None
        detector.open(hosts, self.table)

    def target(self, vm: int) -> int:
        """Column of the host that should take ``vm``, or -1."""
        request = float(self.state.request[vm])
        memory = float(self.state.machines.memory_mb[vm]) if self._careful else 0.0
        if self._brink:
            self._follow_hash_maps(request, memory)
        if self._lazy is not None:
            return self._first_allowed(self._lazy, vm, request, memory)
        best, least = -1, float("inf")
        for column in range(len(self.host)):
            if self._has_room(column, request, memory):
                growth = self._growth(column, request)
                if growth < least and not self._fires(column, vm):
                    best, least = column, growth
        return best

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

    def _has_room(self, column: int, request: float, memory: float) -> bool:
        """Whether the VM fits, whatever the detector says."""
        free: float = self._free[column]
        core: float = self._core[column]
        if free < request or core < request:
            return False
        if not self._careful:
            return True
        return bool(self._memory[column] + memory <= SERVER_MEMORY_MB and self._size[column] < _VMS_PER_LINK)

    def _fires(self, column: int, vm: int) -> bool:
        """Whether the candidate would be overloaded with ``vm`` too; one that does nothing never is."""
        load: float = self._load[column]
        return load != 0 and bool(self.detector.fires_with(column, vm))

    def _growth(self, column: int, request: float) -> float:
        """Growth of a candidate's power with the VM, W."""
        load: float = self._load[column]
        total: float = self._total[column]
        baseline: float = self._baseline[column]
        return self._power(column, (load + request) / total) - baseline

    def _power(self, column: int, share: float) -> float:
        """Power of a candidate at a load, W."""
        offset: int = self._offset[column]
        at = min(int(share * 10) + offset, self._last_knot)
        watts: float = self._watts[at]
        slope: float = self._slope[at]
        knot: float = self._knot[at]
        return watts + slope * (share - knot) * 100

    def _power_now(self, column: int) -> float:
        if not self._size[column] > 0:
            return 0.0
        return self._power(column, min(self._load[column] / self._total[column], 1.0))

    def _first_allowed(self, detector: WindowStatistic, vm: int, request: float, memory: float) -> int:
        """The cheapest column that the detector allows; it is asked about the cheapest few first."""
        open_to_it = [column for column in range(len(self.host)) if self._has_room(column, request, memory)]
        order = [column for _, column in sorted([(self._growth(column, request), column) for column in open_to_it])]
        for part in (order[:_FIRST_LOOK], order[_FIRST_LOOK:]):
            if part:
                for column, fires in zip(part, detector.fires_at(part, vm)):
                    if not fires or self._load[column] == 0:
                        return column
        return -1

    def _follow_hash_maps(self, request: float, memory: float) -> None:
        """A VM that is tried on a host lets a hash map grow that is just full; see :attr:`State.buckets`."""
        for column in list(self._brink):
            if self._load[column] != 0 and self._has_room(column, request, memory):
                self._grow(column)

    def _grow(self, column: int) -> None:
        host = self.host[column]
        self.state.buckets[host] *= 2
        self._limit[column] = int(self.state.buckets[host]) * 3 // 4
        self._brink.discard(column)

    def add(self, column: int, vm: int) -> Any:
        """Put ``vm`` on a candidate tentatively; returns what :meth:`restore` needs."""
        values = [row[column] for row in self.table]
        before = (column, values, self._baseline[column], self.detector.add(column, vm))
        for row, value, part in zip(self.table, values, self._tentative.parts[vm].tolist()):
            row[column] = value + part
        if not self._stale:
            self._baseline[column] = self._power_now(column)
        if self._size[column] >= self._limit[column]:
            self._brink.add(column)
        return before

    def restore(self, before: Any) -> None:
        """Undo :meth:`add`; the last one first."""
        column, values, baseline, detector = before
        for row, value in zip(self.table, values):
            row[column] = value
        self._baseline[column] = baseline
        self.detector.restore(column, detector)
        if self._size[column] < self._limit[column]:
            self._brink.discard(column)

    def close(self, column: int) -> None:
        """Let a candidate take no more."""
        self._free[column] = -1.0
        self._brink.discard(column)

    def keep(self) -> None:
        """Let the placement so far include what was put on the candidates."""
        self._tentative.sums[:, self._hosts] = self.table
        self.detector.keep(self._hosts)
