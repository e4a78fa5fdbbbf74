"""Numbers that the compiled modules of placement and balancing share: each declares them anew as C integers."""

from __future__ import annotations

#: Speed of a CPU whose core nobody shares: work in ns done in so many ns.
FULL_SPEED = 1024
#: What a group's CPUs have to do, from little to much (``enum group_type``).
SPARE, FULL, STACKED, IMBALANCED, OVERLOADED = range(5)
#: Why a CPU balances: it is about to go idle, is idle, or is busy.
NEWLY_IDLE, IDLE, BUSY = range(3)
