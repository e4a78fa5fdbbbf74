"""Who runs where, and what everyone gets: the reference's CPU sharing on arrays.

A *slot* is one VM on one host. A VM has one slot, and a second one, *arriving*, on every host it is being moved
to. Slots are kept in the order in which they were made, so the slots of a host are in the order of its VM list,
and :func:`numpy.bincount` adds up in exactly the order in which the reference does.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from virtsim.cluster.cloudsim.setup import WINDOW, Floats, Integers, Machines, Servers

#: A VM that is moved away runs at this share of its speed; on the target it takes the rest.
MOVING_SPEED = 0.9
ARRIVING_SHARE = 0.1
# Sums in another order differ by less than this: such hosts are computed one VM at a time.
_NEARLY_FULL = 1 - 1e-12


class State:
    """Placement and shares at one instant.

    Attributes
    ----------
    slot_vm, slot_host, slot_arriving : ndarray
        The slots, oldest first.
    moving, host_of : ndarray
        Per VM: whether it is being moved; its host, -1 if it has none.
    request, allocated : ndarray, MIPS
        Per VM: asked for, and given where it runs.
    used, asked, free : ndarray, MIPS
        Per host: given (VMs on their way out at full charge), asked for, and left.
    window : ndarray
        Past use of each VM, newest first.
    """

    def __init__(self, servers: Servers, machines: Machines) -> None:
        self.servers, self.machines = servers, machines
        n_hosts, n_vms = len(servers.core), len(machines.mips)
        self.slot_vm: Integers = np.zeros(0, dtype=np.int64)
        self.slot_host: Integers = np.zeros(0, dtype=np.int64)
        self.slot_arriving: NDArray[np.bool_] = np.zeros(0, dtype=bool)
        self.moving = np.zeros(n_vms, dtype=bool)
        self.host_of: Integers = np.full(n_vms, -1, dtype=np.int64)
        self.use = np.zeros(n_vms)
        self.request = machines.mips.copy()
        self.allocated = np.zeros(n_vms)
        self.used: Floats = np.zeros(n_hosts)
        self.asked: Floats = np.zeros(n_hosts)
        #: Slots of each host's hash map in the reference; it grows and never shrinks.
        self.buckets: Integers = np.full(n_hosts, 16, dtype=np.int64)
        self.window = np.zeros((n_vms, WINDOW))
        self.window_length = 0
        self.rationed: list[int] = []
        self._time_s = -1.0

    @property
    def n_hosts(self) -> int:
        """Number of hosts."""
        return len(self.servers.core)

    def add(self, vms: list[int], hosts: list[int], arriving: bool) -> None:
        """Append slots."""
        self.slot_vm = np.concatenate([self.slot_vm, np.array(vms, dtype=np.int64)])
        self.slot_host = np.concatenate([self.slot_host, np.array(hosts, dtype=np.int64)])
        self.slot_arriving = np.concatenate([self.slot_arriving, np.full(len(vms), arriving)])
        self.grow_buckets(np.bincount(self.slot_host, minlength=self.n_hosts))

    def keep(self, mask: NDArray[np.bool_]) -> None:
        """Drop the slots where ``mask`` is False."""
        self.slot_vm, self.slot_host = self.slot_vm[mask], self.slot_host[mask]
        self.slot_arriving = self.slot_arriving[mask]

    def grow_buckets(self, sizes: Integers) -> None:
        """Follow the growth of hash maps that have held ``sizes`` entries: doubled beyond three quarters."""
        if sizes.max(initial=0) > 12:
            while (full := sizes > 0.75 * self.buckets).any():
                self.buckets[full] *= 2

    def set_time(self, time_s: float) -> None:
        """Read the traces."""
        if time_s != self._time_s:
            self._time_s = time_s
            self.use = self.machines.use(time_s)
            self.request = self.use * self.machines.mips

    def remember(self) -> None:
        """Push the present use to the front of every VM's window."""
        self.window[:, 1:] = self.window[:, :-1].copy()
        self.window[:, 0] = self.use
        self.window_length = min(self.window_length + 1, WINDOW)

    def share_out(self) -> None:
        """Give every VM its CPU share from scratch."""
        vm, host = self.slot_vm, self.slot_host
        request = self.request[vm]
        given = weight = np.minimum(request, self.servers.core[host])
        moving = None
        if self.moving.any():
            arriving = self.slot_arriving
            moving = self.moving[vm] & ~arriving
            given = np.where(moving, weight * MOVING_SPEED, weight)
            weight = np.where(arriving, weight * ARRIVING_SHARE, weight)
            given[arriving] = weight[arriving]
        demand = np.bincount(host, weight, minlength=self.n_hosts)
        suspects = np.flatnonzero(demand > self.servers.total * _NEARLY_FULL)
        if suspects.size:
            given = given.copy()
            self._ration(suspects, weight, given)
        else:
            self.rationed = []
        charged = given
        if moving is None:
            self.allocated[vm] = given
        else:
            here = ~self.slot_arriving
            self.allocated[vm[here]] = given[here]
            charged = given.copy()
            charged[moving] /= MOVING_SPEED
        self.used = np.bincount(host, charged, minlength=self.n_hosts).astype(np.float64, copy=False)
        self.asked = np.bincount(host, request, minlength=self.n_hosts).astype(np.float64, copy=False)

    def _ration(self, suspects: Integers, weight: Floats, given: Floats) -> None:
        """Scale the shares down on hosts that cannot give everyone what they ask for, to whole MIPS."""
        is_suspect = np.zeros(self.n_hosts, dtype=bool)
        is_suspect[suspects] = True
        slots = np.flatnonzero(is_suspect[self.slot_host])
        vms = self.slot_vm[slots]
        hosts = self.slot_host[slots]
        capped = np.minimum(self.request[vms], self.servers.core[hosts]).tolist()
        weights = weight[slots].tolist()
        arriving, moving = self.slot_arriving[slots].tolist(), self.moving[vms].tolist()
        places = (self.machines.bucket[vms] & (self.buckets[hosts] - 1)).tolist()
        members: dict[int, list[int]] = {int(host): [] for host in suspects}
        for i, host in enumerate(hosts.tolist()):
            members[host].append(i)
        self.rationed = []
        for host, here in members.items():
            total = float(self.servers.total[host])
            if not _runs_out(total, [weights[i] for i in here]):
                continue
            self.rationed.append(host)
            # The reference adds up in the order of its hash map.
            asked = 0.0
            for i in sorted(here, key=places.__getitem__):
                asked += weights[i]
            scale = total / asked
            for i in here:
                if arriving[i]:
                    share = capped[i] * ARRIVING_SHARE * scale
                else:
                    share = capped[i] * scale * MOVING_SPEED if moving[i] else capped[i] * scale
                given[slots[i]] = math.floor(share)

    def free_mips(self) -> Floats:
        """What every host has left, MIPS, taken off VM by VM as the reference does."""
        free = self.servers.total.copy()
        weight = np.minimum(self.request[self.slot_vm], self.servers.core[self.slot_host])
        np.subtract.at(free, self.slot_host, weight)
        free[self.rationed] = 0.0
        return free


def _runs_out(total: float, weights: list[float]) -> bool:
    free = total
    for weight in weights:
        if free < weight:
            return True
        free -= weight
    return False
