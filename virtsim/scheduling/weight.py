"""Weights of the fair class and the kernel's fixed-point division by them.

References
----------
Linux ``kernel/sched/core.c`` (``sched_prio_to_weight``) and ``kernel/sched/fair.c`` (``__calc_delta``).
"""

from __future__ import annotations

#: Weight of nice 0, as entities use it when they compare (the kernel's scaled-down unit).
NICE_0 = 1024
#: Entity weights carry ten more bits, so that a group's small share on one CPU is not rounded away.
RESOLUTION_SHIFT = 10
NICE_0_LOAD = NICE_0 << RESOLUTION_SHIFT
MIN_SHARES = 2 << RESOLUTION_SHIFT
MAX_SHARES = (1 << 18) << RESOLUTION_SHIFT
#: Weight of a ``SCHED_IDLE`` task.
IDLE_WEIGHT = 3
#: The kernel divides by multiplying with a 32-bit reciprocal.
_INVERSE_ONE = 0xFFFFFFFF

#: Weight by nice value, from -20 to 19: each step is worth about 10 % of CPU time against its neighbour.
WEIGHT_OF_NICE = (
    88761, 71755, 56483, 46273, 36291, 29154, 23254, 18705, 14949, 11916,
    9548, 7620, 6100, 4904, 3906, 3121, 2501, 1991, 1586, 1277,
    1024, 820, 655, 526, 423, 335, 272, 215, 172, 137,
    110, 87, 70, 56, 45, 36, 29, 23, 18, 15,
)  # fmt: skip


def nice_load(nice: int) -> int:
    """Entity weight of a nice value."""
    return WEIGHT_OF_NICE[nice + 20] << RESOLUTION_SHIFT


def group_load(cpu_weight: int) -> int:
    """Entity weight of a cgroup v2 ``cpu.weight`` (v1 ``cpu.shares`` is the same in units of 100/1024)."""
    shares = (cpu_weight * NICE_0 + 50) // 100
    return min(max(shares << RESOLUTION_SHIFT, MIN_SHARES), MAX_SHARES)


def scale_down(load: int) -> int:
    """Entity weight in the unit of :data:`NICE_0`, at least 2 as in the kernel."""
    return max(2, load >> RESOLUTION_SHIFT)


def scaling(load: int) -> tuple[int, int]:
    """Factor and shift from real to virtual time: a 32-bit factor, as the kernel rounds it, then a shift."""
    if load == NICE_0_LOAD:
        return 1, 0
    factor = NICE_0 * (_INVERSE_ONE // scale_down(load))
    high = (factor >> 32).bit_length()
    return factor >> high, 32 - high


def part_of(value: int, weight: int, load: int) -> int:
    """``value * weight / load``, where ``load`` is a sum of entity loads, as the kernel rounds it (down)."""
    factor = weight * (_INVERSE_ONE // scale_down(load))
    high = (factor >> 32).bit_length()
    return (value * (factor >> high)) >> (32 - high)


def virtual(delta_ns: int, load: int) -> int:
    """``delta_ns * NICE_0 / weight`` as the kernel rounds it."""
    factor, shift = scaling(load)
    return (delta_ns * factor) >> shift
