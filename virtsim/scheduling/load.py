"""Decayed load averages (PELT): what has been runnable lately, with a half-life of 32 periods of 1.024 ms.

References
----------
Linux ``kernel/sched/pelt.c``. Here the decay is taken in steps of 1/1024 of the half-life from a
fixed-point table instead of in whole periods; the averages agree to a part in a thousand.
"""

from __future__ import annotations

HALF_LIFE_NS = 32 << 20
_STEP_SHIFT = 15
_STEPS = HALF_LIFE_NS >> _STEP_SHIFT
#: 2**(-i / steps), 32-bit fixed point.
_DECAY = tuple(round(2.0 ** (32 - i / _STEPS)) for i in range(_STEPS))


def decay(value: int, steps: int) -> int:
    """``value`` after ``steps`` steps of 32.768 us without load."""
    halvings = steps // _STEPS
    factor = _DECAY[steps % _STEPS]
    product = value
    return (product * factor >> 32) >> halvings if halvings < 63 else 0


class LoadAverage:
    """The decayed average weight of one entity.

    Attributes
    ----------
    value : int
        Average, in the unit of the weights that were added, with ten fractional bits.
    """

    __slots__ = ("updated_step", "value")

    def __init__(self, value: int, now_ns: int) -> None:
        self.value = value
        self.updated_step = now_ns >> _STEP_SHIFT

    def update(self, weight: int, now_ns: int) -> int:
        """Account for the time since the last update at ``weight`` (0 while asleep); returns the change."""
        step = now_ns >> _STEP_SHIFT
        passed = step - self.updated_step
        if passed <= 0:
            return 0
        self.updated_step = step
        target = weight << 10
        before = self.value
        self.value = (
            target + decay(before - target, passed) if before >= target else target - decay(target - before, passed)
        )
        return self.value - before
