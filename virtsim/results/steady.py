"""The steady state of one run: its requests after the warm-up, with an interval for their mean."""

from __future__ import annotations

from typing import NamedTuple

from virtsim.core.errors import SpecError
from virtsim.results.run import Run
from virtsim.results.statistics import BatchMeans, Warmup, batch_means, warmup_cut


class SteadyLatency(NamedTuple):
    """Mean request latency of one run in the steady state.

    Attributes
    ----------
    warmup : Warmup
        How many of the first requests were left out, and whether the rule found a clear place.
    batches : BatchMeans
        Mean, ns, with its interval from batches of the other requests, and whether these look independent.
    kept : int
        Requests that were kept.
    """

    warmup: Warmup
    batches: BatchMeans
    kept: int

    @property
    def reliable(self) -> bool:
        """Whether the interval can be believed: a clear warm-up, and batches that are independent."""
        return self.warmup.reliable and self.batches.independent


def steady_latency(run: Run, entity: str, *, batches: int = 20, confidence: float = 0.95) -> SteadyLatency:
    """Mean latency of an entity's requests after the warm-up, from one long run.

    The warm-up is found by MSER-5 on the latencies in the order of arrival, the interval by batch means.

    Parameters
    ----------
    run : Run
        A run that has requests.
    entity : str
        A guest (all its servers together) or ``guest/task``.
    batches : int
        Number of batches.
    confidence : float
        Of the interval.

    Raises
    ------
    SpecError
        If the entity has too few requests for such an analysis: ten for each batch.
    """
    mine = [r for r in run.requests if entity in (r.guest, f"{r.guest}/{r.task}")]
    if len(mine) < 10 * batches:
        raise SpecError(
            "entity", f"{entity!r} has {len(mine)} requests; {batches} batches need {10 * batches}: make a longer run"
        )
    mine.sort(key=lambda request: (request.arrival_ns, request.start_ns))
    latencies = [request.end_ns - request.arrival_ns for request in mine]
    warmup = warmup_cut(latencies)
    kept = latencies[warmup.cut :]
    return SteadyLatency(warmup, batch_means(kept, batches, confidence), len(kept))
