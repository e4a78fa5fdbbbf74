"""The placement that a decision is working on, as sums per host."""

from __future__ import annotations

import numpy as np

from virtsim.cluster.cloudsim.detectors import Detector
from virtsim.cluster.cloudsim.setup import ASKED, FREE, KNOWN, LOAD, MEMORY, PREDICTED, ROWS, SIZE
from virtsim.cluster.cloudsim.state import State


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
