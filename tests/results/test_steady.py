"""The steady state of a queue whose mean is known, and whose start is far from it."""

import msgspec
import pytest

from virtsim.core.errors import SpecError
from virtsim.core.streams import SplitMix64, Streams
from virtsim.results.run import RequestRecord
from virtsim.results.steady import steady_latency
from virtsim.workload.draw import Draw

MS = 1_000_000


def queue(replication, backlog_ns, n=6000):
    """Requests of M/M/1 at load 0.5 that finds ``backlog_ns`` of work in front of it (Lindley's recursion)."""
    rng = SplitMix64(Streams(5, replication).seed64("queue", "all"))
    gap, work = Draw("exponential", (2 * MS,)), Draw("exponential", (MS,))
    time, free, requests = 0, backlog_ns, []
    for _ in range(n):
        time += gap.sample(rng)
        start = max(time, free)
        free = start + work.sample(rng)
        requests.append(RequestRecord("a", f"s.{len(requests) % 2}", time, start, free))
    return requests


def test_a_backlog_at_the_start_does_not_bias_the_mean(make_run, record_property):
    """20 runs of M/M/1 at load 0.5: the 95 % intervals hold 2 service times in at least 16 (binomial p < 0.003 below).

    The plain mean, with the backlog of 200 service times in it, is too large in all of them.
    """
    held = 0
    for replication in range(20):
        run = msgspec.structs.replace(make_run(), requests=queue(replication, 200 * MS))
        steady = steady_latency(run, "a")
        held += steady.batches.interval.low <= 2 * MS <= steady.batches.interval.high
        assert 50 <= steady.warmup.cut <= 3000
        assert steady.kept == 6000 - steady.warmup.cut
        plain = sum(r.end_ns - r.arrival_ns for r in run.requests) / 6000
        assert plain > 3.5 * MS > steady.batches.interval.mean
    record_property("held", held)
    print(f"{held} of 20 intervals hold the mean of M/M/1")
    assert held >= 16


def test_one_server_of_a_guest_can_be_asked_alone(make_run):
    run = msgspec.structs.replace(make_run(), requests=queue(0, 0))
    both, one = steady_latency(run, "a"), steady_latency(run, "a/s.0")
    assert one.kept < both.kept
    assert isinstance(both.reliable, bool)


@pytest.mark.parametrize("entity", ["a", "nobody"])
def test_too_few_requests_are_refused(make_run, entity):
    with pytest.raises(SpecError, match=r"^entity: .* batches need 200: make a longer run"):
        steady_latency(make_run(), entity)
