"""Named random streams from one root seed.

A stream belongs to an entity ("guests.web.tasks.client") and a purpose ("service"). Adding an entity
never changes another entity's stream, and there is no global generator.

Two kinds are given out: a NumPy generator for models written in Python, and a :class:`SplitMix64`
seed for the programs of tasks. The second exists in the same form in the scheduler heart and in the
real runner, written in C, so the model and the kernel work through the very same draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from zlib import crc32

import numpy as np

_MASK = (1 << 64) - 1
_GAMMA = 0x9E3779B97F4A7C15
_FIRST_FACTOR = 0xBF58476D1CE4E5B9
_SECOND_FACTOR = 0x94D049BB133111EB


@dataclass(frozen=True)
class Streams:
    """The streams of one replication.

    Parameters
    ----------
    root : int
        Root seed of the experiment, at least 0.
    replication : int
        Number of the replication, from 0.

    Examples
    --------
    >>> Streams(7).seed64("guests.a", "service") == Streams(7).seed64("guests.a", "service")
    True
    >>> Streams(7).seed64("guests.a", "service") == Streams(7, 1).seed64("guests.a", "service")
    False
    """

    root: int
    replication: int = 0

    def _sequence(self, entity: str, purpose: str) -> np.random.SeedSequence:
        key = (self.replication, crc32(entity.encode()), crc32(purpose.encode()))
        return np.random.SeedSequence(self.root, spawn_key=key)

    def generator(self, entity: str, purpose: str) -> np.random.Generator:
        """NumPy generator (PCG64) of the stream."""
        return np.random.Generator(np.random.PCG64(self._sequence(entity, purpose)))

    def seed64(self, entity: str, purpose: str) -> int:
        """64-bit seed of the stream, for :class:`SplitMix64`."""
        return int(self._sequence(entity, purpose).generate_state(1, np.uint64)[0])


class SplitMix64:
    """Steele, Lea and Flood's generator: small, exact, the same in Python, Cython and C.

    Parameters
    ----------
    state : int
        64-bit seed.

    References
    ----------
    G. L. Steele, D. Lea, C. H. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.

    Examples
    --------
    >>> SplitMix64(0).next() == 0xE220A8397B1DCDAF
    True
    """

    __slots__ = ("state",)

    def __init__(self, state: int) -> None:
        self.state = state & _MASK

    def next(self) -> int:
        """Next 64-bit value."""
        self.state = (self.state + _GAMMA) & _MASK
        z = self.state
        z = ((z ^ (z >> 30)) * _FIRST_FACTOR) & _MASK
        z = ((z ^ (z >> 27)) * _SECOND_FACTOR) & _MASK
        return z ^ (z >> 31)

    def uniform(self) -> float:
        """Next value in [0, 1), with 53 random bits."""
        return (self.next() >> 11) * (1.0 / (1 << 53))
