import pytest

from virtsim.core.streams import SplitMix64, Streams
from virtsim.results.histogram import Histogram
from virtsim.results.run import (
    GuestRecord,
    LatencyRecord,
    RequestRecord,
    Run,
    Slice,
    TaskRecord,
    Throttle,
    Wakeup,
)
from virtsim.scenario.guest import Guest
from virtsim.scenario.scenario import Scenario
from virtsim.workload.builders import spin


def _make_run(seed=0, replication=0, world="model", factor=1.0, weights=(100, 300)):
    """Two guests on one CPU for 40 ms: shares by weight, slices of 1 ms, a quota's throttling at the end."""
    scenario = Scenario(
        name="shares",
        guests=[Guest(name=name, workload=spin(), cpu_weight=w) for name, w in zip("ab", weights, strict=True)],
        duration="40ms",
        cpus="0",
    )
    rng = SplitMix64(Streams(seed, replication).seed64("run", "noise"))
    slices, used = [], {"a": 0, "b": 0}
    for start in range(0, 40_000_000, 1_000_000):
        name = "a" if used["a"] * weights[1] <= used["b"] * weights[0] else "b"
        end = start + 1_000_000 - rng.next() % 1000
        slices.append(Slice(0, start, end, name, "spin"))
        used[name] += end - start
    latency = Histogram()
    for _ in range(50):
        latency.add(1000 + rng.next() % 9000)
    return Run(
        world=world,
        scenario=scenario,
        seed=seed,
        duration_ns=40_000_000,
        tasks=[
            TaskRecord(guest=name, task="spin", start_ns=0, cpu_time_ns=round(used[name] * factor)) for name in "ab"
        ],
        guests=[GuestRecord(guest=name, cpu_time_ns=round(used[name] * factor)) for name in "ab"],
        latencies=[LatencyRecord(guest="a", task="spin", kind="request_latency", histogram=latency)],
        requests=[RequestRecord("a", "spin", 1_000, 2_500, 7_001), RequestRecord("a", "spin", 5_000, 7_001, 9_000)],
        slices=slices,
        wakeups=[Wakeup(0, 0, "b", "spin")],
        throttles=[Throttle(0, 39_000_000, 40_000_000, "b")],
    )


@pytest.fixture(scope="session")
def make_run():
    return _make_run
