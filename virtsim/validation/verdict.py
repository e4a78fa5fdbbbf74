"""What is said of a pair of numbers, and the margins it takes to say it."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Verdict(StrEnum):
    """Noise is not failure, and it is not success."""

    #: The model is within the margin.
    PASSED = "PASSED"
    #: It is not, and the kernel repeats itself well enough to say so.
    FAILED = "FAILED"
    #: The kernel's own runs differ by more than the margin.
    UNDECIDED = "UNDECIDED"
    #: It could not be run here; the reason names the capability.
    SKIPPED = "SKIPPED"


class Margin(NamedTuple):
    """How far model and kernel may be apart: either of the two is enough.

    Attributes
    ----------
    relative : float
        Share of the real value.
    absolute : float
        In the metric's unit.
    """

    relative: float
    absolute: float = 0.0

    def allows(self, model: float, real: float) -> bool:
        """Whether the two are close enough."""
        return abs(model - real) <= max(self.relative * abs(real), self.absolute)


#: Margins by metric. A percentile of a latency is given 100 us besides: timers here are no better.
MARGINS: dict[str, Margin] = {
    "cpu_time": Margin(0.05, 1_000_000),
    "completion_time": Margin(0.10, 500_000),
    "throttled_periods": Margin(0.05, 1),
    "throttled_time": Margin(0.05, 5_000_000),
    "wakeup_latency_p50": Margin(0.25, 100_000),
    "wakeup_latency_p99": Margin(0.25, 100_000),
    "wakeup_at_once": Margin(0.10, 0.10),
    "mean_turn": Margin(0.10, 50_000),
    "response_time_p50": Margin(0.10, 100_000),
    "response_time_p99": Margin(0.25, 100_000),
    "request_latency_mean": Margin(0.15, 100_000),
    "request_latency_p50": Margin(0.15, 100_000),
    "request_latency_p99": Margin(0.25, 500_000),
}


def judge(model: float, real: float, spread: float, margin: Margin) -> Verdict:
    """The verdict on a model value against the median of real runs with a relative spread."""
    if margin.allows(model, real):
        return Verdict.PASSED
    if spread > margin.relative:
        return Verdict.UNDECIDED
    return Verdict.FAILED
