"""When requests arrive: closed loop, Poisson, periodic, or read from a file; written as one text.

``"closed(5ms)"`` thinks for a drawn time after each answer; ``"poisson(800/s)"`` and
``"periodic(10ms)"`` are open loops; ``"file(arrivals.txt)"`` holds one arrival time a line, with its
unit, ascending, counted from the start of the run (empty lines and ``#`` comments are skipped).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from virtsim.core.errors import SpecError
from virtsim.core.spec import Written, add_quantity
from virtsim.core.streams import SplitMix64
from virtsim.core.units import NS_PER_S, parse_duration, parse_rate
from virtsim.workload.draw import Draw

_CALL = re.compile(r"\s*([a-z]+)\s*\((.*)\)\s*", re.DOTALL)
KINDS = ("closed", "poisson", "periodic", "file")


class Arrivals(Written):
    """An arrival process.

    Parameters
    ----------
    kind : str
        ``closed``, ``poisson``, ``periodic`` or ``file``.
    argument : str
        The text in the parentheses: think time, rate, period, or path.

    Examples
    --------
    >>> Arrivals.parse("poisson(800/s)").gap.mean_ns
    1250000.0
    """

    __slots__ = ("argument", "kind")

    def __init__(self, kind: str, argument: str) -> None:
        self.kind = kind
        self.argument = argument
        self._check()

    def _check(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.kind[:30]!r} is not an arrival process; known: {', '.join(KINDS)}")
        if self.kind == "file":
            if not self.argument or "\0" in self.argument:
                raise ValueError("file(...) needs the path of a file of arrival times")
        elif self.gap.durations_ns[0] == 0 and self.kind == "periodic":
            raise ValueError("the period must be more than 0")

    @classmethod
    def parse(cls, text: str) -> Arrivals:
        """Read the text form."""
        call = _CALL.fullmatch(text)
        if call is None:
            raise ValueError(f"{text[:40]!r} is not an arrival process; write for example 'poisson(800/s)'")
        return cls(call[1], call[2].strip())

    def __str__(self) -> str:
        return f"{self.kind}({self.argument})"

    @property
    def open(self) -> bool:
        """Whether requests arrive without waiting for the answers before them."""
        return self.kind != "closed"

    @property
    def gap(self) -> Draw:
        """Think time (closed) or time between arrivals (poisson, periodic)."""
        if self.kind == "poisson":
            return Draw("exponential", (max(1, round(NS_PER_S / parse_rate(self.argument))),))
        if self.kind == "periodic":
            return Draw("constant", (parse_duration(self.argument),))
        if self.kind == "closed":
            return Draw.parse(self.argument)
        raise ValueError("arrivals from a file have no gap distribution")

    def times_ns(self, seed: int, until_ns: int, folder: Path | None = None) -> Iterator[int]:
        """Arrival times of an open process, ns from the start, up to and including ``until_ns``.

        The first request of a Poisson or periodic process arrives one gap after the start.
        """
        if self.kind == "file":
            yield from (time for time in self.read_file(folder) if time <= until_ns)
            return
        rng, gap, time = SplitMix64(seed), self.gap, 0
        while True:
            time += gap.sample(rng)
            if time > until_ns:
                return
            yield time

    def read_file(self, folder: Path | None = None) -> list[int]:
        """Arrival times of ``file(...)``, ns; a relative path is looked up in ``folder``."""
        path = (folder or Path()) / self.argument
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as problem:
            reason = problem.strerror if isinstance(problem, OSError) else problem
            raise SpecError(
                str(self),
                f"the file of arrivals cannot be read: {path.absolute()}: {reason}; its path counts from the "
                "scenario file's folder (or folder=...)",
            ) from None
        times: list[int] = []
        for number, line in enumerate(lines, start=1):
            text = line.partition("#")[0].strip()
            if not text:
                continue
            try:
                time = parse_duration(text)
            except ValueError as problem:
                raise SpecError(f"{path} line {number}", str(problem)) from None
            if times and time < times[-1]:
                raise SpecError(f"{path} line {number}", "arrival times must ascend")
            times.append(time)
        return times


add_quantity(Arrivals, Arrivals.parse, str)
