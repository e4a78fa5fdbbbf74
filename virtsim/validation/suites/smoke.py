"""Six short scenarios: the demo's, one of each kind."""

from __future__ import annotations

from virtsim.scenario.scenario import Scenario
from virtsim.validation.suites.writing import guest, hog, job, loop, op, scenario, task
from virtsim.validation.validate import SUITES


@SUITES.register("smoke")
def smoke(cpus: int, seed: int = 1) -> list[Scenario]:
    """CPU shares, a quota, system calls with and without a filter, a pipe, a periodic job, processes."""
    calls = task("calls", loop(op("syscall", kind="stat"), op("syscall"), count=100_000))
    filtered = {"seccomp_rules": 200}
    left = task("left", loop(op("send", channel="there"), op("receive", channel="back"), count=20_000))
    right = task("right", loop(op("receive", channel="there"), op("send", channel="back"), count=20_000))
    return [
        scenario("cpu-shares", [guest("web", hog(), cpu_weight=200), guest("batch", hog())], "2s"),
        scenario("cpu-quota", [guest("limited", hog(), cpu_max="30ms/100ms")], "2s"),
        scenario(
            "system-calls",
            [
                {"name": "host", "stack": "native", "workload": {"tasks": [calls]}},
                guest("filtered", calls, isolation=filtered),
            ],
            "5s",
        ),
        scenario("pipe-pair", [guest("pair", left, right)], "5s"),
        scenario("periodic-beside-hog", [guest("periodic", job("job", "1ms", "10ms")), guest("hog", hog())], "2s"),
        scenario("fork-exec", [guest("forks", task("forks", loop(op("fork_exec"), count=400)))], "5s"),
    ]
