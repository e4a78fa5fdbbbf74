"""What a policy sees: guests and hosts as arrays, and the answers it may give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from virtsim.core.errors import ModelError, SpecError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]

#: The two resources: CPU (MIPS) and memory (bytes).
CPU, MEMORY = 0, 1
#: Sums of needs may exceed a capacity by rounding only.
ROUNDING = 1e-9


@dataclass(frozen=True, repr=False)
class Guests:
    """Guests to place.

    Parameters
    ----------
    names : sequence of str
        Each once.
    need : ndarray, shape (n, 2)
        CPU, MIPS, and memory, bytes, that must be kept for each.
    apart : sequence of str, optional
        Anti-affinity: guests with the same word here never share a host; an empty word has no such rule.
    together : sequence of str, optional
        Affinity: guests with the same word prefer one host.
    speed : ndarray, optional, MIPS
        Speed of one virtual CPU: a host's cores must be at least as fast. 0 by default.
    """

    names: Sequence[str]
    need: Floats
    apart: Sequence[str] = ()
    together: Sequence[str] = ()
    speed: Floats = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        n = len(self.names)
        object.__setattr__(self, "need", np.asarray(self.need, dtype=float).reshape(n, 2))
        for name, default in (("apart", ("",) * n), ("together", ("",) * n)):
            if not len(getattr(self, name)):
                object.__setattr__(self, name, default)
        if len(self.speed) == 0:
            object.__setattr__(self, "speed", np.zeros(n))
        bad = ~np.isfinite(self.need).all(axis=1) | (self.need < 0).any(axis=1)
        if bad.any():
            raise SpecError(f"guests[{self.names[int(bad.argmax())]!r}]", "needs are finite numbers, at least 0")
        _unique(self.names, "guests")

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        words = {"apart": any(self.apart), "together": any(self.together), "speed": bool(self.speed.any())}
        return _said(self, {"names": True, "need": True, **words})

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        # IPython and Hypothesis would print every field of a data class.
        printer.text(repr(self))

    def rows(self, rows: Sequence[int]) -> Guests:
        """Some of them, each once, in the given order; checked already, so not checked again."""
        copy = object.__new__(Guests)
        index = list(rows)
        copy.__dict__.update(need=self.need[index], speed=self.speed[index])
        copy.__dict__.update({name: [getattr(self, name)[i] for i in index] for name in ("names", "apart", "together")})
        return copy


@dataclass(frozen=True, repr=False)
class Hosts:
    """Hosts to place on.

    Parameters
    ----------
    names : sequence of str
        Each once.
    capacity : ndarray, shape (m, 2)
        CPU, MIPS, and memory, bytes.
    used : ndarray, shape (m, 2), optional
        What is kept for guests that are there already; nothing by default.
    available : ndarray of bool, optional
        Hosts that may take guests (a failed one may not); all by default.
    running : ndarray of bool, optional
        Hosts that are on; by default those where something is used.
    watts : ndarray, shape (m, 11), optional
        Power curves; a server of 100 W idle and 200 W full by default.
    apart, together : sequence of frozenset of str, optional
        The words of the guests that are there already.
    speed : ndarray, optional, MIPS
        Speed of one core; no limit by default.
    """

    names: Sequence[str]
    capacity: Floats
    used: Floats = field(default_factory=lambda: np.zeros((0, 2)))
    available: Mask = field(default_factory=lambda: np.zeros(0, dtype=bool))
    running: Mask = field(default_factory=lambda: np.zeros(0, dtype=bool))
    watts: Floats = field(default_factory=lambda: np.zeros((0, 11)))
    apart: Sequence[frozenset[str]] = ()
    together: Sequence[frozenset[str]] = ()
    speed: Floats = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        m = len(self.names)
        object.__setattr__(self, "capacity", np.asarray(self.capacity, dtype=float).reshape(m, 2))
        if len(self.used) != m:
            object.__setattr__(self, "used", np.zeros((m, 2)))
        if len(self.available) != m:
            object.__setattr__(self, "available", np.ones(m, dtype=bool))
        if len(self.running) != m:
            object.__setattr__(self, "running", (self.used > 0).any(axis=1))
        if len(self.watts) != m:
            object.__setattr__(self, "watts", np.tile(np.linspace(100.0, 200.0, 11), (m, 1)))
        if len(self.speed) != m:
            object.__setattr__(self, "speed", np.full(m, np.inf))
        for name in ("apart", "together"):
            if len(getattr(self, name)) != m:
                object.__setattr__(self, name, _empty_words(m))
        for column, what in ((CPU, "CPU"), (MEMORY, "memory")):
            bad = ~(self.capacity[:, column] > 0) | ~np.isfinite(self.capacity[:, column])
            if bad.any():
                raise SpecError(
                    f"hosts[{self.names[int(bad.argmax())]!r}]",
                    f"has no {what}; give a capacity above 0 or leave it out",
                )
        _unique(self.names, "hosts")

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        other = Hosts(self.names, self.capacity, self.used) if len(self) else self
        equal = ("available", "running", "watts", "speed")
        words = {"apart": any(self.apart), "together": any(self.together), "used": bool(self.used.any())}
        said = {name: not np.array_equal(getattr(self, name), getattr(other, name)) for name in equal}
        return _said(self, {"names": True, "capacity": True, **words, **said})

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        # IPython and Hypothesis would print every field of a data class.
        printer.text(repr(self))

    @property
    def free(self) -> Floats:
        """What is left, shape (m, 2)."""
        return self.capacity - self.used

    def with_state(
        self,
        used: Floats,
        available: Mask,
        running: Mask,
        apart: Sequence[frozenset[str]] = (),
        together: Sequence[frozenset[str]] | None = None,
    ) -> Hosts:
        """The same hosts in another state, with their affinity words if none are given; not checked again."""
        copy = object.__new__(Hosts)
        copy.__dict__.update(self.__dict__)
        copy.__dict__.update(used=used, available=available, running=running, apart=apart or _empty_words(len(self)))
        if together is not None:
            copy.__dict__["together"] = together or _empty_words(len(self))
        return copy

    def rows(self, rows: Integers) -> Hosts:
        """Some of them, in the given order; checked already, so not checked again."""
        copy = object.__new__(Hosts)
        index = rows.tolist()
        copy.__dict__.update(
            {name: getattr(self, name)[rows] for name in ("capacity", "used", "available", "running", "watts", "speed")}
        )
        copy.__dict__["names"] = [self.names[i] for i in index]
        for name in ("apart", "together"):
            words = getattr(self, name)
            copy.__dict__[name] = [words[i] for i in index] if any(words) else _empty_words(len(index))
        return copy


def _said(table: Guests | Hosts, fields: dict[str, bool]) -> str:
    """A table as one would write it: what is as it is by default is left out."""
    parts = []
    for name, said in fields.items():
        value = getattr(table, name)
        if said:
            parts.append(f"{name}={value.tolist() if isinstance(value, np.ndarray) else list(value)!r}")
    return f"{type(table).__name__}({', '.join(parts)})"


def _empty_words(m: int) -> tuple[frozenset[str], ...]:
    return (frozenset[str](),) * m


def _unique(names: Sequence[str], what: str) -> None:
    if len(set(names)) != len(names):
        seen: set[str] = set()
        twice = next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise SpecError(what, f"two {what} are called {twice!r}; names must differ")


def check_answer(answer: object, guests: Guests, hosts: Hosts, policy: str) -> Integers:
    """The answer of a placement policy as host numbers, or an error that says what is wrong with it.

    Raises
    ------
    ModelError
        If it is not one host number (or -1) a guest, names a host that does not exist or may not be used, puts
        more on a host than it has, or breaks an anti-affinity rule.
    """
    try:
        places = np.asarray(answer)
    except ValueError:
        places = np.zeros(0)
    if places.shape != (len(guests),) or (places.size and places.dtype.kind not in "iu"):
        raise ModelError(
            f"placement policy {policy!r} must return one whole number a guest ({len(guests)}), the host's number or "
            f"-1; it returned {type(answer).__name__} of shape {places.shape}"
        )
    places = places.astype(np.int64)
    m = len(hosts)
    for i, host in enumerate(places.tolist()):
        if not -1 <= host < m:
            raise ModelError(
                f"placement policy {policy!r} put guest {guests.names[i]!r} on host number {host}, which does not "
                f"exist; hosts are 0 to {len(hosts) - 1}, and -1 means no host"
            )
        if host >= 0 and not hosts.available[host]:
            raise ModelError(
                f"placement policy {policy!r} put guest {guests.names[i]!r} on host {hosts.names[host]!r}, which is "
                "not available; look at hosts.available"
            )
        if host >= 0 and hosts.speed[host] < guests.speed[i]:
            raise ModelError(
                f"placement policy {policy!r} put guest {guests.names[i]!r} on host {hosts.names[host]!r}, whose "
                "cores are too slow for it; look at hosts.speed"
            )
    _check_room(places, guests, hosts, policy)
    _check_apart(places, guests, hosts, policy)
    return places


def _check_room(places: Integers, guests: Guests, hosts: Hosts, policy: str) -> None:
    sums: dict[int, list[float]] = {}
    for host, (cpu, memory) in zip(places.tolist(), guests.need.tolist()):
        if host >= 0:
            there = sums.setdefault(host, [0.0, 0.0])
            there[CPU] += cpu
            there[MEMORY] += memory
    if not sums:
        return
    used = sorted(sums)
    taken = np.array([sums[host] for host in used])
    free = hosts.capacity[used] - hosts.used[used]
    over = (taken > free + 2 * hosts.capacity[used] * ROUNDING) & (taken > 0)
    if over.any():
        row, column = (int(i) for i in np.argwhere(over)[0])
        what, unit = (("CPU", "MIPS"), ("memory", "bytes"))[column]
        raise ModelError(
            f"placement policy {policy!r} put {taken[row, column]:g} {unit} of {what} on host "
            f"{hosts.names[used[row]]!r}, which has {free[row, column]:g} left"
        )


def _check_apart(places: Integers, guests: Guests, hosts: Hosts, policy: str) -> None:
    words: dict[int, set[str]] = {}
    for i, host in enumerate(places.tolist()):
        if host < 0 or not guests.apart[i]:
            continue
        if guests.apart[i] in words.setdefault(host, set(hosts.apart[host])):
            raise ModelError(
                f"placement policy {policy!r} put guest {guests.names[i]!r} on host {hosts.names[host]!r}, where "
                f"another guest of {guests.apart[i]!r} is; they must be apart"
            )
        words[host].add(guests.apart[i])
