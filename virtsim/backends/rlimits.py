"""Resource limits by name, as numbers for the runner."""

from __future__ import annotations

import resource
from collections.abc import Mapping


def rlimit_pairs(limits: Mapping[str, int]) -> list[int]:
    """Resource number and value, one after the other: ``{"nofile": 64}`` is ``[7, 64]`` on x86-64."""
    return [number for name, value in limits.items() for number in (_NUMBERS[name], value)]


#: ``locks`` has no name in Python; it is 10 on every Linux.
_NUMBERS = {
    "as": resource.RLIMIT_AS,
    "core": resource.RLIMIT_CORE,
    "cpu": resource.RLIMIT_CPU,
    "data": resource.RLIMIT_DATA,
    "fsize": resource.RLIMIT_FSIZE,
    "locks": 10,
    "memlock": resource.RLIMIT_MEMLOCK,
    "msgqueue": resource.RLIMIT_MSGQUEUE,
    "nofile": resource.RLIMIT_NOFILE,
    "nproc": resource.RLIMIT_NPROC,
    "rss": resource.RLIMIT_RSS,
    "sigpending": resource.RLIMIT_SIGPENDING,
    "stack": resource.RLIMIT_STACK,
}
