"""Scenarios that nobody chose: drawn from the seed, over all that the scheduling suite covers one by one.

A suite that is looked at while the model grows is no longer unseen; another ``--seed`` is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from virtsim.core.streams import Streams
from virtsim.scenario.scenario import Scenario
from virtsim.validation.suites.writing import guest, hog, job, loop, op, scenario, task
from virtsim.validation.validate import SUITES

#: How many are drawn.
COUNT = 40


@SUITES.register("drawn")
def drawn(cpus: int, seed: int) -> list[Scenario]:
    """40 mixtures of one to four guests, with weights, nice values, quotas, groups and CPU sets, on one or all CPUs."""
    streams = Streams(seed)
    return [_scenario(f"drawn-{seed}-{i}", streams.generator(f"drawn.{i}", "scenario"), cpus) for i in range(COUNT)]


def _scenario(name: str, rng: np.random.Generator, cpus: int) -> Scenario:
    everywhere = cpus > 1 and rng.random() < 0.3
    groups = _groups(rng) if rng.random() < 0.25 else []
    guests = [_guest(f"g{i}", rng, groups, cpus if everywhere else 1) for i in range(rng.integers(1, 5))]
    rest: dict[str, Any] = {"groups": groups} if groups else {}
    return scenario(name, guests, "2s", None if everywhere else "0", **rest)


def _groups(rng: np.random.Generator) -> list[dict[str, Any]]:
    outer = {"name": "outer", "cpu_weight": _weight(rng)}
    if rng.random() < 0.3:
        outer |= _quota(rng, 1)
    inner = {"name": "inner", "parent": "outer", "cpu_weight": _weight(rng)}
    return [outer, inner][: rng.integers(1, 3)]


def _guest(name: str, rng: np.random.Generator, groups: list[dict[str, Any]], cpus: int) -> dict[str, Any]:
    rest: dict[str, Any] = {"cpu_weight": _weight(rng)}
    if rng.random() < 0.3:
        rest |= _quota(rng, cpus)
    if groups and rng.random() < 0.6:
        rest["group"] = groups[rng.integers(len(groups))]["name"]
    if cpus > 1 and rng.random() < 0.2:
        rest["cpus"] = str(rng.integers(cpus))
    return guest(name, *_TASKS[rng.choice(len(_TASKS), p=_ODDS)](rng), **rest)


def _weight(rng: np.random.Generator) -> int:
    return round(100 * float(2 ** rng.uniform(-2, 2)))


def _quota(rng: np.random.Generator, cpus: int) -> dict[str, Any]:
    period_ms = int(rng.choice([5, 10, 20, 50, 100, 200]))
    quota_us = max(1000, int(period_ms * 1000 * rng.uniform(0.05, 0.9 * cpus)))
    limits = {"cpu_max": f"{quota_us}us/{period_ms}ms"}
    if rng.random() < 0.3:
        limits["cpu_burst"] = f"{int(quota_us * rng.uniform(0.2, 1))}us"
    return limits


def _hogs(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [hog(f"hog{i}", nice=int(rng.choice([0, 0, 0, 1, 4, 7, 10]))) for i in range(rng.integers(1, 5))]


def _jobs(rng: np.random.Generator) -> list[dict[str, Any]]:
    made = []
    for i in range(rng.integers(1, 3)):
        period_us = int(1000 * 2 ** rng.uniform(1.5, 5.5))
        made.append(job(f"job{i}", f"{int(period_us * rng.uniform(0.02, 0.3))}us", f"{period_us}us"))
    return made


def _bursty(rng: np.random.Generator) -> list[dict[str, Any]]:
    work_us, sleep_us = (int(1000 * 2 ** rng.uniform(-1, 4)) for _ in range(2))
    body = op("compute", work=f"exponential({work_us}us)"), op("sleep", time=f"exponential({sleep_us}us)")
    return [task("bursty", loop(*body))]


def _finishing(rng: np.random.Generator) -> list[dict[str, Any]]:
    piece_us, total_us = int(rng.uniform(500, 8000)), int(rng.uniform(50_000, 300_000))
    work = loop(op("compute", work=f"{piece_us}us"), op("syscall"), count=max(1, total_us // piece_us))
    return [task("finishing", work, count=int(rng.integers(1, 3)))]


def _pipeline(rng: np.random.Generator) -> list[dict[str, Any]]:
    first, second = (f"{int(rng.uniform(20, 300))}us" for _ in range(2))
    count = int(rng.integers(500, 2000))
    return [
        task("head", loop(op("compute", work=first), op("send", channel="c"), count=count)),
        task("tail", loop(op("receive", channel="c"), op("compute", work=second), count=count)),
    ]


def _locking(rng: np.random.Generator) -> list[dict[str, Any]]:
    inside, outside = (f"{int(10 * 2 ** rng.uniform(1, 7))}us" for _ in range(2))
    critical = [op("lock", name="m"), op("compute", work=inside), op("unlock", name="m")]
    rounds = int(rng.integers(100, 1000))
    return [task("worker", loop(*critical, op("compute", work=outside), count=rounds), count=int(rng.integers(2, 4)))]


_TASKS = (_hogs, _jobs, _bursty, _finishing, _pipeline, _locking)
_ODDS = (0.35, 0.2, 0.15, 0.1, 0.1, 0.1)
