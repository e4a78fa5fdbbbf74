"""Demand of many guests over time, checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from virtsim.core.errors import SpecError
from virtsim.core.units import NS_PER_S, format_duration

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Traces:
    """CPU use of guests, sampled.

    Parameters
    ----------
    name : str
        What they are, for reports.
    guests : list of str
        Names, one a row, each once.
    use : ndarray, shape (guests, samples)
        Share of the guest's CPU limit, 0 to 1; a sample holds until the next one.
    step_ns : int, ns
        Time between samples.
    start_ns, end_ns : ndarray of int64, ns, optional
        When each guest arrives and departs; the whole time by default.
    cores : ndarray, optional
        CPU limit of each guest, cores; 1 by default.
    memory_bytes : ndarray of int64, optional
        Memory of each guest; 0 where the source does not say.
    memory_use : ndarray, shape (guests, samples), optional
        Share of its memory that each guest touches, 0 to 1.

    Raises
    ------
    SpecError
        If a sample is not a number, is negative, or is more than 100 %: the message names guest and sample.
    """

    name: str
    guests: list[str]
    use: Floats
    step_ns: int
    start_ns: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    end_ns: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    cores: Floats = field(default_factory=lambda: np.zeros(0))
    memory_bytes: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    memory_use: Floats | None = None

    def __post_init__(self) -> None:
        use = _numbers(self.use, "use")
        object.__setattr__(self, "use", use)
        n = len(self.guests)
        if n == 0 or use.size == 0:
            raise SpecError("traces", f"are empty ({n} guests, samples of shape {use.shape}); give at least one sample")
        if use.ndim != 2 or use.shape[0] != n:
            raise SpecError(
                "traces", f"need a row of samples for each of {n} guests, got an array of shape {use.shape}"
            )
        if not isinstance(self.step_ns, (int, np.integer)) or self.step_ns < 1:
            raise SpecError(
                "traces.step_ns", f"must be a whole number of nanoseconds above 0, not {self.step_ns!r:.40}"
            )
        _check_unique(self.guests)
        _check_shares(use, self.guests, "CPU use")
        length_ns = self.step_ns * use.shape[1]
        for name, default in (
            ("start_ns", np.zeros(n, dtype=np.int64)),
            ("end_ns", np.full(n, length_ns, dtype=np.int64)),
            ("cores", np.ones(n)),
            ("memory_bytes", np.zeros(n, dtype=np.int64)),
        ):
            value = getattr(self, name)
            if len(value) == 0:
                object.__setattr__(self, name, default)
            else:
                object.__setattr__(self, name, _entries(value, default, f"traces.{name}"))
        self._check_guests()
        if self.memory_use is not None:
            object.__setattr__(self, "memory_use", _numbers(self.memory_use, "memory_use"))
            if self.memory_use.shape != use.shape:
                raise SpecError("traces.memory_use", f"has the shape {self.memory_use.shape}, not {use.shape}")
            _check_shares(self.memory_use, self.guests, "memory use")

    def _check_guests(self) -> None:
        for bad, field_name, reason in (
            (self.end_ns <= self.start_ns, "end_ns", "departs before it arrives"),
            (self.start_ns < 0, "start_ns", "arrives before the traces begin"),
            (~(self.cores > 0) | ~np.isfinite(self.cores), "cores", "needs more than 0 cores"),
            (self.memory_bytes < 0, "memory_bytes", "has less than 0 bytes of memory"),
        ):
            if bad.any():
                guest = self.guests[int(bad.argmax())]
                raise SpecError(f"traces.{field_name}", f"guest {guest!r} {reason}; correct or drop its row")

    @property
    def duration_ns(self) -> int:
        """Length of the traces, ns."""
        return int(self.step_ns * self.use.shape[1])

    def head(self, n: int) -> Traces:
        """The first ``n`` guests only."""
        return self.rows(np.arange(min(n, len(self.guests))))

    def rows(self, rows: NDArray[np.int64], names: list[str] | None = None) -> Traces:
        """Some guests, in the given order; give ``names`` where a row is taken more than once."""
        return Traces(
            name=self.name,
            guests=names or [self.guests[i] for i in rows.tolist()],
            use=self.use[rows],
            step_ns=self.step_ns,
            start_ns=self.start_ns[rows],
            end_ns=self.end_ns[rows],
            cores=self.cores[rows],
            memory_bytes=self.memory_bytes[rows],
            memory_use=None if self.memory_use is None else self.memory_use[rows],
        )

    def resample(self, n: int, random: np.random.Generator) -> Traces:
        """``n`` guests drawn from these with replacement, for larger data centres."""
        rows = random.integers(len(self.guests), size=n)
        return self.rows(rows, [f"{self.guests[i]}#{k}" for k, i in enumerate(rows.tolist())])

    def __repr__(self) -> str:
        n, samples = self.use.shape
        return f"Traces({self.name!r}, {n} guests, {samples} samples every {format_duration(self.step_ns)})"

    def _repr_html_(self) -> str:
        n, samples = self.use.shape
        mean = float(self.use.mean())
        every = f"{self.step_ns / NS_PER_S:g} s"
        return f"<b>{self.name}</b>: {n} guests, {samples} samples every {every}, mean use {mean:.1%}"


def _numbers(values: object, field_name: str) -> Floats:
    try:
        return np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        raise SpecError(f"traces.{field_name}", "needs numbers, a row of equal length for each guest") from None


def _entries(values: object, like: NDArray[Any], path: str) -> NDArray[Any]:
    """One number a guest, of the type of ``like``."""
    try:
        entries = np.asarray(values)
        with np.errstate(invalid="ignore"):
            exact = entries.astype(like.dtype)
    except (TypeError, ValueError):
        raise SpecError(path, "needs a number for each guest") from None
    if entries.shape != like.shape:
        raise SpecError(path, f"has {entries.size} entries for {len(like)} guests")
    if like.dtype.kind == "i" and not (entries == exact).all():
        raise SpecError(path, "needs whole numbers")
    return exact


def _check_unique(guests: list[str]) -> None:
    seen: set[str] = set()
    for guest in guests:
        if guest in seen:
            raise SpecError("traces.guests", f"two guests are called {guest!r}; names must differ")
        seen.add(guest)


def _check_shares(values: Floats, guests: list[str], what: str) -> None:
    with np.errstate(invalid="ignore"):
        bad = ~((values >= 0) & (values <= 1))
    if not bad.any():
        return
    row, column = (int(i) for i in np.argwhere(bad)[0])
    value = values[row, column]
    shown = "not a number" if np.isnan(value) else f"{value * 100:g} %"
    raise SpecError(
        f"traces[{guests[row]!r}]",
        f"{what} in sample {column} is {shown}; it must lie between 0 and 100 %: repair or drop this guest",
    )
