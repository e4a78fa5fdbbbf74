"""Numbers that the heart's compiled modules share: each declares them anew as C integers."""

from __future__ import annotations

#: Speed of a CPU whose core nobody shares: work in ns done in so many ns.
FULL_SPEED = 1024
#: Averages: all of a CPU; a period, in units of 1,024 ns; what a series that never ended adds up to (``LOAD_AVG_MAX``:
#: the fixed point of the integers, not quite that of the real numbers).
CAPACITY, PERIOD, MOST = 1024, 1024, 47742
#: What a group's CPUs have to do, from little to much (``enum group_type``).
SPARE, FULL, STACKED, IMBALANCED, OVERLOADED = range(5)
#: Why a CPU balances: it is about to go idle, is idle, or is busy.
NEWLY_IDLE, IDLE, BUSY = range(3)
