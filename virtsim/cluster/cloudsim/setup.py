"""The fixed set-up of the reference benchmark: two types of server, four types of VM."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from virtsim.cluster.power import load_power
from virtsim.core.errors import SpecError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Seconds between decisions, and the last second at which one may happen.
STEP_S = 300.0
LIMIT_S = 86400.0
#: When tasks are submitted: the reference's smallest distance between two events.
START_S = 0.1
#: Samples of the past that a VM remembers.
WINDOW = 30

SERVER_CARDS = ("hp-proliant-ml110-g4", "hp-proliant-ml110-g5")
SERVER_CORE_MIPS = (1860.0, 2660.0)
SERVER_CORES = 2
SERVER_MEMORY_MB = 4096
SERVER_BANDWIDTH_KBIT = 1_000_000
VM_MIPS = (2500.0, 2000.0, 1000.0, 500.0)
VM_MEMORY_MB = (870, 1740, 1740, 613)
VM_BANDWIDTH_KBIT = 100_000
#: MB that half a server's link carries in a second.
MIGRATION_MB_PER_S = SERVER_BANDWIDTH_KBIT / (2 * 8000)

#: Rows of a decision's tables: what a host has, and what a VM adds to it.
ROWS = 7
FREE, LOAD, ASKED, SIZE, MEMORY, PREDICTED, KNOWN = range(ROWS)

# Knots of the power curves: 0, 10, ..., 100 %, and one beyond so that exactly 100 % has a right neighbour.
_KNOTS = 12


@dataclass(frozen=True)
class Servers:
    """The hosts as arrays, one entry each.

    Attributes
    ----------
    core, total : ndarray, MIPS
        Speed of one core, and of all.
    offset : ndarray
        Where the host's power curve starts in the three tables.
    watts, slope, knot : ndarray
        Power at the knots (W), difference to the next one divided by ten (W), load at the knots.
    kind : ndarray
        Type of the host.
    """

    core: Floats
    total: Floats
    kind: Integers
    offset: Integers
    watts: Floats
    slope: Floats
    knot: Floats

    @classmethod
    def reference(cls, n: int) -> Servers:
        """``n`` hosts, of the two types in turn."""
        if n < 1:
            raise SpecError("hosts", "a data centre has at least one host")
        kind = np.arange(n) % 2
        core = np.array(SERVER_CORE_MIPS)[kind]
        watts = np.zeros((2, _KNOTS))
        for row, name in enumerate(SERVER_CARDS):
            watts[row, :11] = load_power(name).watts
            watts[row, 11] = watts[row, 10]
        slope = np.zeros_like(watts)
        slope[:, :-1] = np.diff(watts, axis=1) / 10
        knot = np.tile(np.arange(_KNOTS) / 10, 2)
        return cls(core, SERVER_CORES * core, kind, kind * _KNOTS, watts.ravel(), slope.ravel(), knot)

    @cached_property
    def curves(self) -> tuple[list[float], list[float], list[float]]:
        """``watts``, ``slope`` and ``knot`` as lists, for who looks at one host at a time."""
        return self.watts.tolist(), self.slope.tolist(), self.knot.tolist()

    def power(self, share: Floats) -> Floats:
        """Watts of all hosts at their loads, each within [0, 1]."""
        at = (share * 10).astype(np.int64) + self.offset
        power: Floats = self.watts[at] + self.slope[at] * (share - self.knot[at]) * 100
        return power


@dataclass(frozen=True)
class Machines:
    """The VMs as arrays, one entry each; ``trace`` has a row a VM and 289 samples in [0, 1]."""

    mips: Floats
    memory_mb: Integers
    trace: Floats
    bucket: Integers

    @classmethod
    def reference(cls, use: Floats) -> Machines:
        """One VM a row of ``use``; types come in four blocks of equal length."""
        n, samples = use.shape
        if samples != int(LIMIT_S / STEP_S):
            raise SpecError("traces", f"the reference rules need a day of 288 samples a VM, not {samples}")
        kind = np.arange(n) // -(-n // 4)
        trace = np.empty((n, samples + 1))
        trace[:, :-1] = use
        trace[:, -1] = trace[:, -2]
        bucket = np.array([_hash_bits(f"2-{i}") for i in range(n)], dtype=np.int64)
        return cls(np.array(VM_MIPS)[kind], np.array(VM_MEMORY_MB)[kind], trace, bucket)

    def use(self, time_s: float) -> Floats:
        """Share of its MIPS that each VM asks for: linear between the samples."""
        first = int(time_s // STEP_S)
        if time_s % STEP_S == 0:
            return self.trace[:, first]
        start = self.trace[:, first]
        use: Floats = start + (self.trace[:, first + 1] - start) / STEP_S * (time_s - first * STEP_S)
        return use


def _hash_bits(name: str) -> int:
    """What decides the place of a name in the reference's hash maps, whose order its sums follow."""
    value = 0
    for letter in name:
        value = (31 * value + ord(letter)) & 0xFFFFFFFF
    return value ^ (value >> 16)
