"""A host's kernel: its version, its scheduler, and what of the scheduler's settings is not as released."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from msgspec import Meta

from virtsim.core.errors import SpecError
from virtsim.core.spec import Duration, Spec
from virtsim.scheduling.features import features


class Kernel(Spec, frozen=True, kw_only=True):
    """The host's kernel and its scheduler's settings.

    Parameters
    ----------
    version : str
        As ``uname -r`` begins.
    hz : int
        Ticks a second.
    scheduler : str
        ``eevdf`` or ``cfs`` (the fair class), or ``o1`` and ``goodness`` for the kernels before.
    base_slice : str or int, ns, optional
        EEVDF's slice; the version's, scaled for the machine's CPUs, if absent.
    latency, min_granularity, wakeup_granularity : str or int, ns, optional
        CFS's settings; likewise.
    bandwidth_slice : str or int, ns
        What a CPU takes from a group's quota at a time.
    preempt : str
        Preemption model.
    features : dict of str to bool
        Scheduler features that differ from the version's defaults; see :mod:`virtsim.scheduling.features`.
    autogroup : bool
        Whether sessions get groups of their own.

    References
    ----------
    Linux ``kernel/sched/fair.c``: ``sysctl_sched_base_slice`` (0.75 ms in 6.6, 0.7 ms since 6.15),
    ``sysctl_sched_latency``, ``sysctl_sched_min_granularity``, ``sysctl_sched_wakeup_granularity`` (6, 0.75 and
    1 ms in 3.0 to 6.5; 2.6 kernels had others, which their cards state), ``get_update_sysctl_factor``.
    """

    version: Annotated[str, Meta(min_length=1, max_length=2000)]
    hz: Annotated[int, Meta(ge=1, le=10_000)]
    scheduler: Literal["eevdf", "cfs", "o1", "goodness"]
    base_slice: Duration | None = None
    latency: Duration | None = None
    min_granularity: Duration | None = None
    wakeup_granularity: Duration | None = None
    bandwidth_slice: Duration = Duration(5_000_000)
    preempt: Literal["none", "voluntary", "full", "lazy"] = "none"
    features: dict[str, bool] = {}
    autogroup: bool = False

    def _check(self) -> None:
        for name in ("base_slice", "latency", "min_granularity", "wakeup_granularity", "bandwidth_slice"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise SpecError(name, "must be longer than 0")
        if self.scheduler in ("eevdf", "cfs"):
            features(self.scheduler, self.numbers, self.features)
        elif self.features:
            raise SpecError("features", f"{self.scheduler!r} has none")

    @property
    def numbers(self) -> tuple[int, int]:
        """The first two numbers of the version."""
        found = [int(number) for number in re.findall(r"\d+", self.version)[:2]]
        return (found[0], found[1]) if len(found) == 2 else (0, 0)

    @property
    def tick_ns(self) -> int:
        """Time between ticks, ns."""
        return 10**9 // self.hz

    @property
    def least_slice_ns(self) -> int:
        """EEVDF's slice as the kernel has it for one CPU."""
        return 700_000 if self.numbers >= (6, 15) else 750_000

    def setting_ns(self, name: str, cpus: int) -> int:
        """One of the optional settings; where the card does not state it, the kernel's own for so many CPUs.

        The kernel multiplies by 1 + log2 of the number of CPUs, of which it counts at most 8.
        """
        stated: Duration | None = getattr(self, name)
        if stated is not None:
            return int(stated)
        own = {"base_slice": self.least_slice_ns, "latency": 6_000_000, "min_granularity": 750_000}
        return own.get(name, 1_000_000) * min(cpus, 8).bit_length()
