"""The one module that knows units.

Inside virtsim time is ``int`` nanoseconds, memory ``int`` bytes, rates ``float`` per second. People
write ``"250us"``, ``"4GiB"``, ``"800/s"``; the functions here translate both ways. Memory takes IEC
prefixes (KiB) and SI prefixes (kB) with their own meaning; times and rates take SI prefixes.

Examples
--------
>>> parse_duration("1.5ms"), parse_size("4KiB"), parse_rate("800/s")
(1500000, 4096, 800.0)
>>> format_duration(1_500_000), format_size(4096)
('1500us', '4KiB')
"""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

NS_PER_US = 1_000
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
PAGE_BYTES = 4096

#: Largest accepted number: everything fits a signed 64-bit integer.
INT64_MAX = 2**63 - 1

DURATION_NS: dict[str, int] = {
    "ns": 1,
    "us": NS_PER_US,
    "µs": NS_PER_US,
    "ms": NS_PER_MS,
    "s": NS_PER_S,
    "min": 60 * NS_PER_S,
    "h": 3600 * NS_PER_S,
    "d": 86400 * NS_PER_S,
}
SIZE_BYTES: dict[str, int] = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
RATE_HZ: dict[str, float] = {"/s": 1.0, "/ms": 1e3, "/us": 1e6, "/min": 1 / 60, "/h": 1 / 3600}
FREQUENCY_HZ: dict[str, int] = {"Hz": 1, "kHz": 10**3, "MHz": 10**6, "GHz": 10**9}

_NUMBER = re.compile(r"\s*([+-]?[0-9][0-9_]*(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,2})?)\s*(\S*)\s*", re.ASCII)


def _split(text: str, table: dict[str, Any], kind: str, example: str) -> tuple[Decimal, Any]:
    match = _NUMBER.fullmatch(text) if len(text) <= 64 else None
    if match is None:
        raise ValueError(f"{text[:40]!r} is not a {kind}; write a number and a unit, as in {example!r}")
    number, unit = match.groups()
    if unit not in table:
        known = ", ".join(table)
        problem = f"has no unit of {kind}" if not unit else f"has the unknown unit {unit[:20]!r}"
        raise ValueError(f"{text!r} {problem}; use one of {known}")
    return Decimal(number.replace("_", "")), table[unit]


def _whole(text: str, table: dict[str, int], kind: str, example: str) -> int:
    number, factor = _split(text, table, kind, example)
    value = int((number * factor).to_integral_value(ROUND_HALF_EVEN))
    if value < 0:
        raise ValueError(f"{text!r} is negative; a {kind} is at least 0")
    if value > INT64_MAX:
        raise ValueError(f"{text!r} is too large; a {kind} fits 63 bits")
    return value


def parse_duration(text: str) -> int:
    """Nanoseconds of a duration such as ``"250us"``, ``"1.5s"``; at least 0, rounded half to even."""
    return _whole(text, DURATION_NS, "duration", "250us")


def parse_size(text: str) -> int:
    """Bytes of a size such as ``"4GiB"`` (IEC) or ``"10MB"`` (SI); at least 0."""
    return _whole(text, SIZE_BYTES, "size", "4GiB")


def parse_frequency(text: str) -> int:
    """Hertz of a frequency such as ``"2.5GHz"``."""
    return _whole(text, FREQUENCY_HZ, "frequency", "2.5GHz")


def parse_rate(text: str) -> float:
    """Events per second of a rate such as ``"800/s"``; more than 0."""
    number, factor = _split(text, RATE_HZ, "rate", "800/s")
    value = float(number) * float(factor)
    if not 0 < value < 1e12:
        raise ValueError(f"{text!r} is out of range; a rate is more than 0 and below 1e12/s")
    return value


def parse_cpu_max(text: str) -> tuple[int, int]:
    """Quota and period, ns, of a bandwidth such as ``"30ms/100ms"``; ``"150%"`` is 150 ms in every 100 ms.

    The kernel's own limits hold: quota at least 1 ms, period 1 ms to 1 s.
    """
    if text.strip().endswith("%"):
        quota_ns, period_ns = _whole(text, {"%": NS_PER_MS}, "percentage", "30%"), 100 * NS_PER_MS
    else:
        quota, slash, period = text.partition("/")
        if not slash:
            raise ValueError(f"{text[:40]!r} is not a CPU bandwidth; write quota/period as in '30ms/100ms', or '30%'")
        quota_ns, period_ns = parse_duration(quota), parse_duration(period)
    if not NS_PER_MS <= period_ns <= NS_PER_S:
        raise ValueError(f"{text!r}: the period must be 1ms to 1s")
    if not NS_PER_MS <= quota_ns <= 10_000 * NS_PER_S:
        raise ValueError(f"{text!r}: the quota must be at least 1ms")
    if quota_ns % NS_PER_US or period_ns % NS_PER_US:
        raise ValueError(f"{text!r}: quota and period are whole microseconds")
    return quota_ns, period_ns


def parse_cpu_list(text: str) -> tuple[int, ...]:
    """CPU numbers of a list such as ``"0,2-3"``, ascending, without repeats."""
    cpus: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,4})(?:-([0-9]{1,4}))?\s*", part, re.ASCII)
        if match is None:
            raise ValueError(f"{text[:40]!r} is not a list of CPUs; write for example '0,2-3'")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise ValueError(f"{text[:40]!r}: {first}-{last} runs backwards")
        cpus.update(range(first, last + 1))
    return tuple(sorted(cpus))


def format_cpu_list(cpus: tuple[int, ...]) -> str:
    """The shortest list that :func:`parse_cpu_list` reads back: ``(0, 2, 3)`` is ``"0,2-3"``."""
    parts: list[str] = []
    i = 0
    while i < len(cpus):
        j = i
        while j + 1 < len(cpus) and cpus[j + 1] == cpus[j] + 1:
            j += 1
        parts.append(str(cpus[i]) if i == j else f"{cpus[i]}-{cpus[j]}")
        i = j + 1
    return ",".join(parts)


def _exact(value: int, table: dict[str, int]) -> str:
    """``value`` in the largest unit that divides it, so that parsing gives the same integer."""
    unit = next((unit for unit, factor in table.items() if value and value % factor == 0), list(table)[-1])
    return f"{value // table[unit]}{unit}"


def format_duration(duration_ns: int) -> str:
    """Exact text of a duration; :func:`parse_duration` reads the same integer back."""
    return _exact(duration_ns, {unit: DURATION_NS[unit] for unit in ("s", "ms", "us", "ns")})


def format_size(size_bytes: int) -> str:
    """Exact text of a size; :func:`parse_size` reads the same integer back."""
    return _exact(size_bytes, {unit: SIZE_BYTES[unit] for unit in ("GiB", "MiB", "KiB", "B")})


def format_rate(rate_hz: float) -> str:
    """Text of a rate per second; :func:`parse_rate` reads the same float back."""
    return f"{rate_hz!r}/s" if "e" not in repr(rate_hz) else f"{rate_hz:.17g}/s"


def show_duration(duration_ns: float, digits: int = 3) -> str:
    """A duration for people: ``1234567`` is ``"1.23 ms"``."""
    for unit in ("s", "ms", "us"):
        if abs(duration_ns) >= DURATION_NS[unit]:
            return f"{duration_ns / DURATION_NS[unit]:.{digits}g} {unit}"
    return f"{duration_ns:.{digits}g} ns"
