"""A host's clock frequencies and what chooses them, as its card says."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from virtsim.core.errors import SpecError
from virtsim.core.parameter import Parameter
from virtsim.core.spec import Duration, Frequency, Spec

#: Of the nominal frequency: slower or faster than this is a slip of the pen.
_SLOWEST, _FASTEST = 1 / 16, 16


class CpuFreq(Spec, frozen=True, kw_only=True):
    """Frequencies of the CPUs, and their governor; the card's ``frequency`` is the one its prices belong to.

    Parameters
    ----------
    governor : str
        ``schedutil`` (by the CPUs' utilisation), ``performance`` (the highest) or ``powersave`` (the lowest).
    minimum, maximum : str or int, Hz, optional
        Where the governor may choose any frequency between two.
    points : list of str or int, Hz
        The frequencies that there are, ascending; instead of the two above.
    domain : str
        What has one frequency: a ``core`` with its threads, a single ``cpu``, what shares a last-level ``cache``, or
        ``all`` CPUs.
    transition_latency : Parameter, ns
        From asking for a frequency until it is there.
    rate_limit : str or int, ns, optional
        Least time between two changes; as the kernel has it if absent: half as much again as the latency, in whole us,
        or 1 ms where that latency is less than a us.
    source, date : str
        Where the frequencies are from.

    References
    ----------
    Linux ``drivers/cpufreq/cpufreq.c``, 6.9 and later: ``cpufreq_policy_transition_delay_us``.
    """

    governor: Literal["schedutil", "performance", "powersave"] = "schedutil"
    minimum: Frequency | None = None
    maximum: Frequency | None = None
    points: Annotated[list[Frequency], Meta(max_length=1000)] = []
    domain: Literal["core", "cpu", "cache", "all"] = "core"
    transition_latency: Parameter
    rate_limit: Duration | None = None
    source: Annotated[str, Meta(min_length=1, max_length=2000)]
    date: Annotated[str, Meta(min_length=1, max_length=2000)]

    def _check(self) -> None:
        limits = (self.minimum, self.maximum)
        if (limits == (None, None)) != bool(self.points) or (None in limits and limits != (None, None)):
            raise SpecError("points", "give either minimum and maximum, or a list of operating points")
        frequencies = [int(hz) for hz in self.points or limits if hz is not None]
        if frequencies[0] <= 0 or frequencies != sorted(frequencies):
            raise SpecError("points" if self.points else "maximum", "frequencies are above 0 and ascend")
        if len(set(self.points)) < len(self.points):
            raise SpecError("points", "each operating point is there once")
        latency = self.transition_latency
        if latency.unit != "ns":
            raise SpecError("transition_latency.unit", f"must be 'ns', not {latency.unit!r}")
        if latency.value is not None and not 0 <= latency.value <= 1e9:
            raise SpecError("transition_latency.value", "is between 0 and a second")

    @property
    def frequencies(self) -> tuple[int, ...]:
        """Lowest to highest: the operating points, or the two limits, Hz."""
        return tuple(int(hz) for hz in self.points or (self.minimum, self.maximum) if hz is not None)

    @property
    def latency_ns(self) -> int:
        """The transition latency, ns."""
        return round(self.transition_latency.known("cpufreq.transition_latency"))

    @property
    def rate_limit_ns(self) -> int:
        """Least time between two changes, ns."""
        if self.rate_limit is not None:
            return int(self.rate_limit)
        latency_us = self.latency_ns // 1000
        return (latency_us + latency_us // 2) * 1000 if latency_us else 1_000_000

    def check_against(self, nominal_hz: int) -> None:
        """Refuse what does not fit the card's own frequency."""
        if nominal_hz == 0:
            raise SpecError("frequency", "must be known where cpufreq is: it is the one that the prices belong to")
        lowest, highest = self.frequencies[0], self.frequencies[-1]
        if not _SLOWEST <= lowest / nominal_hz <= highest / nominal_hz <= _FASTEST:
            raise SpecError("cpufreq", "frequencies are between a 16th of the card's frequency and 16 times it")
