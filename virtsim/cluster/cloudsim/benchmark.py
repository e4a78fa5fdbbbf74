"""The run: clock, first placement, decisions, moves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from virtsim.cluster.cloudsim.consolidation import Consolidation, Move
from virtsim.cluster.cloudsim.detectors import DETECTORS, make_detector
from virtsim.cluster.cloudsim.ledger import Ledger
from virtsim.cluster.cloudsim.quirks import Quirks
from virtsim.cluster.cloudsim.selection import SELECTIONS, make_selection
from virtsim.cluster.cloudsim.setup import (
    LIMIT_S,
    MIGRATION_MB_PER_S,
    SERVER_BANDWIDTH_KBIT,
    SERVER_MEMORY_MB,
    START_S,
    STEP_S,
    VM_BANDWIDTH_KBIT,
    Floats,
    Machines,
    Servers,
)
from virtsim.cluster.cloudsim.state import State
from virtsim.core.errors import ModelError, SpecError
from virtsim.core.streams import Streams

#: Policies without consolidation: no power management, and voltage scaling only.
STATIC_POLICIES = ("npa", "dvfs")


@dataclass
class Outcome:
    """Figures of a run; ``series`` holds one value per decision."""

    totals: dict[str, int | float]
    series: dict[str, list[float]] = field(default_factory=dict)


def policy_names() -> list[str]:
    """All policies of the reference rule book."""
    return [*STATIC_POLICIES, *(f"{detector}-{pick}" for detector in DETECTORS for pick in SELECTIONS)]


def split_policy(policy: str) -> tuple[str, str, float | None]:
    """``"thr-mmt-0.9"`` is the detector, the selection, and the parameter if one is given."""
    parts = policy.split("-", 2)
    if parts[0] in STATIC_POLICIES and len(parts) == 1:
        return parts[0], "", None
    if len(parts) < 2 or parts[0] not in DETECTORS or parts[1] not in SELECTIONS:
        raise SpecError(
            "policy",
            f"{policy[:40]!r} is no policy of the reference rules; write npa, dvfs, or a detector "
            f"({', '.join(DETECTORS)}), a selection ({', '.join(SELECTIONS)}) and perhaps a parameter: 'lr-mmt-1.2'",
        )
    if len(parts) == 2:
        return parts[0], parts[1], None
    try:
        value = float(parts[2])
    except ValueError:
        value = -1.0
    if not 0 < value < 100:
        raise SpecError("policy", f"{parts[2][:20]!r} in {policy[:40]!r} is not a parameter; write a number above 0")
    return parts[0], parts[1], value


class Benchmark:
    """CloudSim 3.0.3's consolidation benchmark on one day of traces.

    Parameters
    ----------
    use : ndarray, shape (VMs, 288)
        CPU use of each VM every 5 minutes, as a share of its speed.
    policy : str
        See :func:`split_policy`.
    hosts : int
        Number of hosts.
    quirks : Quirks, optional
        All on by default.
    seed : int
        For random selection, and for shuffling the traces if ``file_order`` is off.

    Raises
    ------
    SpecError
        If a VM finds no host at the start.
    """

    def __init__(
        self,
        use: Floats,
        policy: str = "lr-mmt",
        hosts: int = 800,
        quirks: Quirks | None = None,
        seed: int = 1,
    ) -> None:
        self.quirks = quirks if quirks is not None else Quirks()
        detector, selection, parameter = split_policy(policy)
        streams = Streams(seed)
        if not self.quirks.file_order:
            use = streams.generator("traces", "order").permutation(use, axis=0)
        self.state = State(Servers.reference(hosts), Machines.reference(use))
        self.ledger = Ledger(self.state, self.quirks, always_full=detector == "npa")
        self.consolidation: Consolidation | None = None
        if detector not in STATIC_POLICIES:
            self.consolidation = Consolidation(
                self.state,
                make_detector(detector, parameter, self.state, self.quirks.unweighted_regression),
                make_selection(selection, self.state, streams.generator("policy", "selection")),
                self.quirks,
            )
        self.migrations = 0

    def run(self, progress: Callable[[Iterable[float]], Iterable[float]] | None = None) -> Outcome:
        """Simulate the day."""
        state = self.state
        vms, hosts = first_placement(state, self.consolidation is not None)
        state.add(vms, hosts, arriving=False)
        state.host_of[vms] = hosts
        if not self.quirks.free_energy:
            self._update(0.0)
        series: dict[str, list[float]] = {
            name: [] for name in ("time_s", "energy_kwh", "active_hosts", "migrations", "requested", "allocated")
        }
        ticks = _decision_times()
        for time_s in progress(ticks) if progress else ticks:
            self._decide(time_s)
            here = state.host_of >= 0
            for name, value in (
                ("time_s", time_s),
                ("energy_kwh", self.ledger.joules / 3.6e6),
                ("active_hosts", float((state.used > 0).sum())),
                ("migrations", float(self.migrations)),
                ("requested", float(state.request[here].sum())),
                ("allocated", float(state.allocated[here].sum())),
            ):
                series[name].append(value)
        if not self.quirks.free_energy:
            self._update(LIMIT_S)
        self.ledger.close()
        totals = self.ledger.results() | {"migrations": self.migrations}
        return Outcome(totals, series)

    def _update(self, time_s: float) -> None:
        """Everybody's share at ``time_s``, the energy since the last update, and the end of idle VMs."""
        state = self.state
        used_before = state.used
        charged = used_before != 0
        if not self.quirks.free_energy:
            charged = np.bincount(state.slot_host, minlength=state.n_hosts) > 0
        state.set_time(time_s)
        state.share_out()
        if time_s > self.ledger.time_s:
            self.ledger.charge(used_before, charged, time_s)
        self.ledger.advance(time_s)
        self.ledger.record()
        if self.quirks.idle_vms_vanish and time_s > 0:
            self._remove_idle()

    def _remove_idle(self) -> None:
        state = self.state
        gone = (state.host_of >= 0) & ~state.moving & (state.request == 0)
        if gone.any():
            state.host_of[gone] = -1
            state.keep(~gone[state.slot_vm])

    def _decide(self, time_s: float) -> None:
        self._update(time_s)
        self.state.remember()
        moves = self.consolidation.decide(time_s) if self.consolidation else []
        if not moves:
            return
        self.migrations += len(moves)
        self._start(moves)
        duration = {vm: float(self.state.machines.memory_mb[vm]) / MIGRATION_MB_PER_S for vm, _ in moves}
        for end in sorted({time_s + one for one in duration.values()}):
            if end > LIMIT_S:
                return
            self._update(end)
            self._finish([(vm, host) for vm, host in moves if time_s + duration[vm] == end])
            self._update(end)

    def _start(self, moves: list[Move]) -> None:
        vms, hosts = [vm for vm, _ in moves], [host for _, host in moves]
        self.state.moving[vms] = True
        self.state.add(vms, hosts, arriving=True)
        self.state.share_out()
        self.ledger.record()

    def _finish(self, moves: list[Move]) -> None:
        """The VMs now run on their targets; of one that moves twice, only the last target counts."""
        state = self.state
        last = dict(moves)
        arrived = np.zeros(len(state.request), dtype=bool)
        arrived[list(last)] = True
        state.keep(~arrived[state.slot_vm])
        # A VM that moved twice joined the end of its last target's list when its second move ended.
        order: dict[int, int] = {}
        for i, (vm, _) in enumerate(moves):
            order[vm] = i
        vms = sorted(last, key=order.__getitem__)
        hosts = [last[vm] for vm in vms]
        state.add(vms, hosts, arriving=False)
        state.moving[vms] = False
        state.host_of[vms] = hosts


def _decision_times() -> list[float]:
    times, time_s = [], START_S + STEP_S
    while time_s <= LIMIT_S:
        times.append(time_s)
        time_s += STEP_S
    return times


def first_placement(state: State, spread: bool) -> tuple[list[int], list[int]]:
    """VMs and hosts of the start: everyone asks for full speed.

    First fit, or with ``spread`` the host whose power grows least from that of an idle host, which is always an
    empty one while there is any.
    """
    servers, machines = state.servers, state.machines
    load, memory = np.zeros(state.n_hosts), np.zeros(state.n_hosts)
    count = np.zeros(state.n_hosts, dtype=np.int64)
    idle = servers.power(np.zeros(state.n_hosts))
    limit = SERVER_BANDWIDTH_KBIT // VM_BANDWIDTH_KBIT
    hosts: list[int] = []
    for vm, (mips, ram) in enumerate(zip(machines.mips.tolist(), machines.memory_mb.tolist())):
        fits = (servers.core >= mips) & (servers.total - load >= mips) & (memory + ram <= SERVER_MEMORY_MB)
        fits &= count < limit
        if not fits.any():
            raise SpecError(
                f"traces[{vm}]",
                f"no host has room for this VM of {mips:g} MIPS and {ram} MB at the start; give more hosts "
                f"({state.n_hosts} now) or fewer VMs ({len(machines.mips)})",
            )
        if spread:
            share = np.minimum((load + mips) / servers.total, 1.0)
            host = int(np.where(fits, servers.power(share) - idle, np.inf).argmin())
        else:
            host = int(fits.argmax())
        load[host] += mips
        memory[host] += ram
        count[host] += 1
        hosts.append(host)
    if len(hosts) != len(machines.mips):
        raise ModelError("a VM was lost in the first placement")
    return list(range(len(hosts))), hosts
