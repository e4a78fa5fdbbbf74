"""One decision: relieve overloaded hosts, then empty the least loaded ones."""

from __future__ import annotations

import numpy as np

from virtsim.cluster.cloudsim.columns import Columns
from virtsim.cluster.cloudsim.detectors import Detector, Mask
from virtsim.cluster.cloudsim.quirks import Quirks
from virtsim.cluster.cloudsim.selection import Selection
from virtsim.cluster.cloudsim.setup import LOAD, SIZE, Floats, Integers
from virtsim.cluster.cloudsim.state import State
from virtsim.cluster.cloudsim.tentative import Tentative

Move = tuple[int, int]

#: A VM that moved this recently is left alone where the quirk Q9 is off, s.
SETTLING_S = 3600.0


class Consolidation:
    """Makes the list of moves of one decision; the state is left as it was.

    Parameters
    ----------
    state : State
        The data centre, updated to the present.
    detector, selection
        The policy.
    quirks : Quirks
        ``memory_ignored``, ``stale_power``, ``receivers_drained`` and ``thrashing`` matter here.
    """

    def __init__(self, state: State, detector: Detector, selection: Selection, quirks: Quirks) -> None:
        self.state, self.detector, self.selection, self.quirks = state, detector, selection, quirks
        self.moved_at = np.full(len(state.request), -np.inf)

    def decide(self, time_s: float) -> list[Move]:
        """VMs and their targets, in the order in which the moves start."""
        state = self.state
        self.detector.prepare()
        over = self.detector.firing()
        share = state.used / state.servers.total
        share = np.where((share > 1) & (share < 1.01), 1.0, share)
        measured = state.servers.power(share)
        order = np.argsort(state.slot_host, kind="stable")
        self._vms_by_host = state.slot_vm[order]
        self._starts = np.searchsorted(state.slot_host[order], np.arange(state.n_hosts + 1))
        tentative = Tentative(state, self.detector)
        moves = self._relieve(over, tentative, measured) if over.any() else []
        moves += self._empty(over, share, tentative, measured, moves, time_s)
        self.moved_at[[vm for vm, _ in moves]] = time_s
        return moves

    def _vms_on(self, host: int) -> list[int]:
        vms: list[int] = self._vms_by_host[self._starts[host] : self._starts[host + 1]].tolist()
        return vms

    def _relieve(self, over: Mask, tentative: Tentative, measured: Floats) -> list[Move]:
        picked: list[int] = []
        for host in np.flatnonzero(over).tolist():
            vms = self._vms_on(host)
            while vms:
                vm = self.selection.pick(vms)
                picked.append(vm)
                vms.remove(vm)
                if not self.detector.fires(vms, host):
                    break
        request = self.state.request[picked].tolist()
        ordered = [picked[i] for i in sorted(range(len(picked)), key=lambda i: -request[i])]
        hosts = self._candidates(over, tentative, len(ordered))
        columns = Columns(self.state, self.detector, self.quirks, hosts, tentative, measured)
        moves = []
        for vm in ordered:
            column = columns.target(vm)
            if column >= 0:
                columns.add(column, vm)
                moves.append((vm, columns.host[column]))
        columns.keep()
        return moves

    def _candidates(self, over: Mask, tentative: Tentative, wanted: int) -> Integers:
        """Hosts in use, and of the empty ones of each type as many as could be needed: they are all alike."""
        in_use = (tentative.sums[SIZE] > 0) | (tentative.sums[LOAD] != 0)
        chosen = in_use & ~over
        kind = self.state.servers.kind
        for one in range(int(kind.max()) + 1):
            chosen[np.flatnonzero(~in_use & ~over & (kind == one))[:wanted]] = True
        return np.flatnonzero(chosen)

    def _empty(
        self, over: Mask, share: Floats, tentative: Tentative, measured: Floats, earlier: list[Move], time_s: float
    ) -> list[Move]:
        hosts = np.flatnonzero(~over & (share > 0))
        columns = Columns(self.state, self.detector, self.quirks, hosts, tentative, measured)
        received: dict[int, list[int]] = {}
        for vm, host in earlier:
            received.setdefault(host, []).append(vm)
        done = set() if self.quirks.receivers_drained else set(received)
        column_of = {host: column for column, host in enumerate(columns.host)}
        moves: list[Move] = []
        by_load = hosts[np.argsort(share[hosts], kind="stable")].tolist()
        for host in by_load:
            if host in done or not share[host] < 1:
                continue
            vms = self._vms_on(host) + received.get(host, [])
            if not self.quirks.thrashing and (time_s - self.moved_at[vms] < SETTLING_S).any():
                continue
            columns.close(column_of[host])
            targets = self._place_all(vms, columns)
            done.update(host for _, host in targets)
            moves += targets
        return moves

    def _place_all(self, vms: list[int], columns: Columns) -> list[Move]:
        """Targets for all of a host's VMs, or none if one has no place."""
        request = self.state.request[vms].tolist()
        ordered = [vms[i] for i in sorted(range(len(vms)), key=lambda i: -request[i])]
        targets = columns.place_all(ordered) if ordered else None
        return [(vm, columns.host[column]) for vm, column in zip(ordered, targets)] if targets else []
