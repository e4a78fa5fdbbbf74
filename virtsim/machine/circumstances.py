"""What a machine did by itself when a run began: where its clocks stood, and where it put the tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from virtsim.results.run import Run


class Circumstances(NamedTuple):
    """What is known of the begin of a run; the rest is drawn, or decided as the kernel does for new tasks.

    Attributes
    ----------
    tick_passed_ns : int or None, ns
        Time since the last tick.
    periods_ns : mapping of str to int, ns
        When the first bandwidth period after the begin starts, by the name of the group or guest.
    begin_cpus : mapping of str to int
        On which CPU each process begins, by guest/process: the real back end's are there before the run begins, each
        asleep on some CPU, and a kernel that wakes them together places them by what they did before.
    """

    tick_passed_ns: int | None = None
    periods_ns: Mapping[str, int] = {}
    begin_cpus: Mapping[str, int] = {}

    @classmethod
    def of(cls, run: Run, tick_ns: int) -> Circumstances:
        """Those that a real run's manifest tells; the tick's only if it came every ``tick_ns``."""
        tick = run.manifest.get("tick") or {}
        periods_ns = run.manifest.get("cgroups", {}).get("period_phase_ns") or {}
        return cls(
            tick.get("passed_ns") if tick.get("period_ns") == tick_ns else None,
            # By path: "group-pod/guest-web" is the guest web.
            {path.rpartition("/")[2].partition("-")[2]: phase_ns for path, phase_ns in periods_ns.items()},
            run.manifest.get("begin_cpus") or {},
        )
