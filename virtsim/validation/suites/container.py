"""Containers on this kernel: shares, quotas, operations of every class, hand-overs, latencies."""

from __future__ import annotations

from typing import Any

from virtsim.scenario.scenario import Scenario
from virtsim.validation.suites.writing import guest, hog, job, loop, op, scenario, task
from virtsim.validation.validate import SUITES


@SUITES.register("container")
def container(cpus: int, seed: int = 1) -> list[Scenario]:
    """At least 24 scenarios; those that need a second CPU are left out on a machine with one."""
    made = [*_shares(), *_quotas(), *_operations(), *_handovers(), *_latencies()]
    return made + (_two_cpus() if cpus > 1 else [])


def _shares() -> list[Scenario]:
    return [
        scenario("shares-3-to-1", [guest("a", hog(), cpu_weight=300), guest("b", hog())], "2s"),
        scenario(
            "shares-1-2-5", [guest(n, hog(), cpu_weight=w) for n, w in (("a", 100), ("b", 200), ("c", 500))], "2s"
        ),
        scenario("shares-many-tasks", [guest("many", hog(count=4)), guest("one", hog())], "2s"),
        scenario(
            "shares-nested",
            [guest("a", hog(), group="pod"), guest("b", hog(), group="pod"), guest("c", hog())],
            "2s",
            groups=[{"name": "pod", "cpu_weight": 150}],
        ),
        scenario("nice-in-one-container", [guest("a", hog("normal"), hog("polite", nice=4))], "2s"),
        scenario("sleepers-and-hog", [guest("a", job("j", "2ms", "11ms")), guest("b", hog(), cpu_weight=50)], "2s"),
    ]


def _quotas() -> list[Scenario]:
    calls = task("calls", loop(op("syscall", kind="stat"), count=300_000))
    return [
        scenario("quota-20-of-80", [guest("a", hog(), cpu_max="20ms/80ms")], "2s"),
        scenario("quota-7-of-20", [guest("a", hog(), cpu_max="7ms/20ms")], "2s"),
        scenario("quota-two-tasks", [guest("a", hog(count=2), cpu_max="40ms/100ms")], "2s"),
        scenario("quota-beside-hog", [guest("a", hog(), cpu_max="25ms/100ms"), guest("b", hog())], "2s"),
        scenario("quota-on-system-calls", [guest("a", calls, cpu_max="50ms/100ms")], "6s"),
    ]


def _operations() -> list[Scenario]:
    def alone(name: str, count: int, *body: dict[str, Any], **rest: Any) -> Scenario:
        return scenario(name, [guest("a", task("t", loop(*body, count=count)), **rest)], "10s")

    read = op("syscall", kind="read", size="8KiB")
    mixed = [
        op("compute", work="20us"),
        op("syscall", kind="open_close"),
        read,
        op("syscall", kind="write", size="2KiB"),
        op("page_fault", pages=4),
    ]
    return [
        alone("compute-only", 40, op("compute", work="7ms")),
        alone("compute-drawn", 400, op("compute", work="exponential(700us)")),
        alone("stat-and-null", 120_000, op("syscall", kind="stat"), op("syscall")),
        alone("open-and-read", 60_000, op("syscall", kind="open_close"), read),
        alone("write-and-fsync", 80_000, op("syscall", kind="write", size="3KiB"), op("write_fsync", size="2KiB")),
        alone("faults-and-maps", 8_000, op("page_fault", pages=8), op("map_unmap", pages=1)),
        alone("signals", 60_000, op("signal"), op("compute", work="1us")),
        alone("forks", 600, op("fork_wait"), op("compute", work="50us")),
        alone("executions", 500, op("fork_exec"), op("compute", work="200us")),
        alone("mixed-program", 5_000, *mixed),
        alone("filtered-mixed", 5_000, *mixed, isolation={"seccomp_rules": 120}),
        alone("filtered-arguments", 300_000, op("syscall"), isolation={"seccomp_rules": 60, "seccomp_arguments": True}),
        alone("touches", 600, op("touch", pages=2000, stride="64B", working_set="128KiB"), op("compute", work="300us")),
    ]


def _handovers() -> list[Scenario]:
    def pair(name: str, size: str, kind: str, work: str) -> Scenario:
        left = task("l", loop(_send("a", size), _receive("b", size), op("compute", work=work), count=3_000))
        right = task("r", loop(_receive("a", size), _send("b", size), count=3_000))
        return scenario(name, [guest("g", left, right, channels={"a": kind, "b": kind})], "10s")

    stages = [
        task("first", loop(op("compute", work="30us"), _send("a", "512B"), count=3_000)),
        task("second", loop(_receive("a", "512B"), op("compute", work="20us"), _send("b", "512B"), count=3_000)),
        task("third", loop(_receive("b", "512B"), op("compute", work="10us"), count=3_000)),
    ]
    worker = loop(
        op("lock", name="m"),
        op("compute", work="80us"),
        op("unlock", name="m"),
        op("compute", work="120us"),
        count=1_500,
    )
    return [
        pair("pipe-with-work", "256B", "pipe", "5us"),
        pair("futex-with-work", "1B", "futex", "5us"),
        scenario("pipeline", [guest("g", *stages)], "10s"),
        scenario("locks-on-one-cpu", [guest("g", task("w", worker, count=2))], "10s"),
    ]


def _send(channel: str, size: str) -> dict[str, Any]:
    return op("send", channel=channel, size=size)


def _receive(channel: str, size: str) -> dict[str, Any]:
    return op("receive", channel=channel, size=size)


def _latencies() -> list[Scenario]:
    serve = op("serve", arrivals="poisson(300/s)", body=[op("compute", work="exponential(800us)")], count=500)
    closed = op("serve", arrivals="closed(2ms)", body=[op("compute", work="1ms")], count=300)
    return [
        scenario("periodic-alone", [guest("a", job("j", "500us", "5ms"))], "2s"),
        scenario("requests-open", [guest("a", task("server", serve))], "10s"),
        scenario("requests-closed", [guest("a", task("client", closed, count=2))], "10s"),
    ]


def _two_cpus() -> list[Scenario]:
    both = {"cpus": None}
    return [
        scenario("two-pinned-hogs", [guest("a", hog(), cpus="0"), guest("b", hog(), cpus="1")], "1500ms", **both),
        scenario("quota-on-two-cpus", [guest("a", hog(count=2), cpu_max="80ms/100ms")], "2s", **both),
        scenario("four-hogs", [guest("a", hog(count=2)), guest("b", hog(count=2))], "2s", **both),
    ]
