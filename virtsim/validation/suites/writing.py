"""Short ways to write scenarios of suites."""

from __future__ import annotations

from typing import Any

from virtsim.scenario.scenario import Scenario


def scenario(name: str, guests: list[dict[str, Any]], duration: str, cpus: str | None = "0", **rest: Any) -> Scenario:
    """A scenario from plain data, as it would stand in a TOML file."""
    data: dict[str, Any] = {"name": name, "guests": guests, "duration": duration, **rest}
    if cpus is not None:
        data["cpus"] = cpus
    return Scenario.from_builtins(data, name)


def guest(name: str, *tasks: dict[str, Any], channels: dict[str, str] | None = None, **rest: Any) -> dict[str, Any]:
    """A container guest with its tasks."""
    workload: dict[str, Any] = {"tasks": list(tasks)}
    if channels:
        workload["channels"] = channels
    return {"name": name, "stack": "container", "workload": workload, **rest}


def task(name: str, *program: dict[str, Any], **rest: Any) -> dict[str, Any]:
    """A task with its program."""
    return {"name": name, "program": list(program), **rest}


def op(name: str, /, **fields: Any) -> dict[str, Any]:
    """An operation."""
    return {"op": name, **fields}


def loop(*body: dict[str, Any], count: int | None = None) -> dict[str, Any]:
    """A loop; without a count until the end of the run."""
    return op("repeat", body=list(body)) if count is None else op("repeat", body=list(body), count=count)


def hog(name: str = "hog", **rest: Any) -> dict[str, Any]:
    """A task that computes until the end of the run."""
    return task(name, loop(op("compute", work="10ms")), **rest)


def job(name: str, work: str, period: str) -> dict[str, Any]:
    """A task that computes ``work`` in every ``period``."""
    return task(name, op("periodic", period=period, body=[op("compute", work=work)]))
