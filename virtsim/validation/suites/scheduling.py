"""CPU scheduling on this kernel: weights, nice, quota, sleepers beside hogs, pipelines, locks, CPU sets."""

from __future__ import annotations

from typing import Any

from virtsim.scenario.scenario import Scenario
from virtsim.validation.suites.writing import guest, hog, job, loop, op, scenario, task
from virtsim.validation.validate import SUITES


@SUITES.register("scheduling")
def scheduling(cpus: int, seed: int = 1) -> list[Scenario]:
    """At least 60 scenarios; those that need a second CPU are left out on a machine with one."""
    made = [*_weights(), *_nested(), *_nice(), *_quotas(), *_sleepers(), *_chains(), *_locks(), *_policies()]
    return made + (_several_cpus() if cpus > 1 else [])


def _weights() -> list[Scenario]:
    cases = {
        "equal-2": (100, 100),
        "2-to-1": (200, 100),
        "7-to-2": (350, 100),
        "9-to-1": (900, 100),
        "equal-3": (100, 100, 100),
        "1-3-6": (100, 300, 600),
        "equal-4": (80, 80, 80, 80),
        "five": (100, 150, 200, 250, 300),
        "six": (60, 60, 120, 120, 240, 240),
        "eight": (50, 75, 100, 125, 150, 175, 200, 225),
    }
    return [
        scenario(f"weights-{name}", [guest(f"g{i}", hog(), cpu_weight=w) for i, w in enumerate(weights)], "2s")
        for name, weights in cases.items()
    ] + [
        scenario("tasks-1-against-3", [guest("one", hog()), guest("three", hog(count=3))], "2s"),
        scenario("tasks-2-against-5", [guest("two", hog(count=2), cpu_weight=200), guest("five", hog(count=5))], "2s"),
    ]


def _nested() -> list[Scenario]:
    pods = [{"name": "p", "cpu_weight": 300}, {"name": "q", "cpu_weight": 100}]
    deep = [{"name": "a"}, {"name": "b", "parent": "a", "cpu_weight": 50}, {"name": "c", "parent": "b"}]
    return [
        scenario(
            "nested-two-pods",
            [
                guest("p1", hog(), group="p"),
                guest("p2", hog(), group="p", cpu_weight=50),
                guest("q1", hog(), group="q"),
            ],
            "2s",
            groups=pods,
        ),
        scenario(
            "nested-deep",
            [guest("inner", hog(), group="c"), guest("middle", hog(), group="a"), guest("outer", hog())],
            "2s",
            groups=deep,
        ),
        scenario(
            "nested-quota",
            [guest("x", hog(), group="p", cpu_max="30ms/100ms"), guest("y", hog(), group="p")],
            "2s",
            groups=[{"name": "p", "cpu_max": "60ms/100ms"}],
        ),
    ]


def _nice() -> list[Scenario]:
    return [
        scenario("nice-0-3", [guest("g", hog("a"), hog("b", nice=3))], "2s"),
        scenario("nice-0-8", [guest("g", hog("a"), hog("b", nice=8))], "2s"),
        scenario("nice-0-5-10", [guest("g", hog("a"), hog("b", nice=5), hog("c", nice=10))], "2s"),
        scenario("nice-2-6-beside-group", [guest("g", hog("a", nice=2), hog("b", nice=6)), guest("h", hog())], "2s"),
    ]


def _quotas() -> list[Scenario]:
    limits = ("5ms/100ms", "4ms/50ms", "2ms/10ms", "5ms/20ms", "60ms/200ms", "3ms/5ms", "55ms/100ms", "90ms/100ms")
    bursty = task("bursty", loop(op("compute", work="25ms"), op("sleep", time="120ms")))
    made = [
        scenario(f"quota-{limit.replace('/', '-of-')}", [guest("g", hog(), cpu_max=limit)], "2s") for limit in limits
    ]
    return [
        *made,
        scenario("quota-3-tasks", [guest("g", hog(count=3), cpu_max="30ms/90ms")], "2s"),
        scenario("quota-burst", [guest("g", bursty, cpu_max="15ms/100ms", cpu_burst="15ms")], "3s"),
        scenario("quota-no-burst", [guest("g", bursty, cpu_max="15ms/100ms")], "3s"),
        scenario("quota-both", [guest("a", hog(), cpu_max="20ms/50ms"), guest("b", hog(), cpu_max="30ms/100ms")], "2s"),
        scenario("quota-periodic", [guest("g", job("j", "3ms", "10ms"), cpu_max="20ms/100ms")], "2s"),
    ]


def _sleepers() -> list[Scenario]:
    bursty = task("bursty", loop(op("compute", work="exponential(2ms)"), op("sleep", time="exponential(5ms)")))
    return [
        scenario("job-1-of-9", [guest("j", job("j", "1ms", "9ms")), guest("h", hog())], "2s"),
        scenario("job-half-of-6", [guest("j", job("j", "500us", "6ms")), guest("h", hog())], "2s"),
        scenario("job-2-of-15", [guest("j", job("j", "2ms", "15ms")), guest("h", hog())], "2s"),
        scenario("job-light-weight", [guest("j", job("j", "1ms", "11ms"), cpu_weight=30), guest("h", hog())], "2s"),
        scenario("job-heavy-weight", [guest("j", job("j", "1ms", "11ms"), cpu_weight=300), guest("h", hog())], "2s"),
        scenario("job-in-one-group", [guest("g", job("j", "1ms", "13ms"), hog())], "2s"),
        scenario("job-and-2-hogs", [guest("j", job("j", "1ms", "11ms")), guest("h", hog(count=2))], "2s"),
        scenario(
            "two-jobs-and-hog", [guest("j", job("a", "1ms", "7ms"), job("b", "2ms", "19ms")), guest("h", hog())], "2s"
        ),
        scenario("bursty-and-hog", [guest("b", bursty), guest("h", hog())], "2s"),
        scenario("two-bursty", [guest("a", bursty), guest("b", bursty)], "2s"),
        scenario("job-nice-hog", [guest("g", job("j", "1ms", "10ms"), hog(nice=5))], "2s"),
    ]


def _chains() -> list[Scenario]:
    def stages(first: str, second: str) -> list[dict[str, Any]]:
        return [
            task("head", loop(op("compute", work=first), op("send", channel="a"), count=2_500)),
            task("tail", loop(op("receive", channel="a"), op("compute", work=second), count=2_500)),
        ]

    return [
        scenario("chain-even", [guest("g", *stages("100us", "100us"))], "5s"),
        scenario("chain-slow-head", [guest("g", *stages("150us", "30us"))], "5s"),
        scenario("chain-and-hog", [guest("g", *stages("60us", "60us")), guest("h", hog())], "5s"),
    ]


def _locks() -> list[Scenario]:
    def worker(inside: str, outside: str, rounds: int) -> dict[str, Any]:
        critical = [op("lock", name="m"), op("compute", work=inside), op("unlock", name="m")]
        return loop(*critical, op("compute", work=outside), count=rounds)

    return [
        scenario("lock-short", [guest("g", task("w", worker("20us", "200us", 2_000), count=2))], "5s"),
        scenario("lock-long", [guest("g", task("w", worker("2ms", "1ms", 120), count=3))], "5s"),
        scenario(
            "lock-and-hog", [guest("g", task("w", worker("300us", "300us", 500), count=2)), guest("h", hog())], "5s"
        ),
    ]


def _policies() -> list[Scenario]:
    return [
        scenario("batch-beside-job", [guest("g", job("j", "1ms", "10ms"), hog("b", policy="batch"))], "2s"),
        scenario("idle-beside-hog", [guest("g", hog("n"), hog("i", policy="idle"))], "2s"),
        scenario("idle-beside-job", [guest("g", job("j", "2ms", "9ms"), hog("i", policy="idle"))], "2s"),
    ]


def _several_cpus() -> list[Scenario]:
    everywhere: dict[str, Any] = {"cpus": None}
    fixed = task("t", loop(op("compute", work="5ms"), count=150), count=3)
    return [
        scenario("3-hogs-on-2", [guest("g", hog(count=3))], "3s", **everywhere),
        scenario("3-groups-on-2", [guest(name, hog()) for name in "abc"], "3s", **everywhere),
        scenario("5-hogs-on-2", [guest("g", hog(count=5))], "3s", **everywhere),
        scenario(
            "2-to-1-on-2", [guest("a", hog(count=2), cpu_weight=200), guest("b", hog(count=2))], "3s", **everywhere
        ),
        scenario("1-against-3-on-2", [guest("a", hog()), guest("b", hog(count=3))], "3s", **everywhere),
        scenario("one-pinned-one-free", [guest("a", hog(), cpus="0"), guest("b", hog(count=2))], "3s", **everywhere),
        scenario("quota-150-on-2", [guest("g", hog(count=4), cpu_max="150ms/100ms")], "2s", **everywhere),
        scenario("quota-120-on-2", [guest("g", hog(count=2), cpu_max="60ms/50ms")], "2s", **everywhere),
        scenario(
            "job-and-2-hogs-on-2", [guest("j", job("j", "1ms", "10ms")), guest("h", hog(count=2))], "2s", **everywhere
        ),
        scenario("three-finish-on-2", [guest("g", fixed)], "8s", **everywhere),
    ]
