"""Ready-made workloads, so that common cases are one call."""

from __future__ import annotations

from virtsim.core.spec import Duration
from virtsim.workload.arrivals import Arrivals
from virtsim.workload.draw import Draw
from virtsim.workload.operations import (
    Compute,
    ForkExec,
    Operation,
    Periodic,
    Receive,
    Repeat,
    Send,
    Serve,
    Syscall,
)
from virtsim.workload.workload import Task, Workload


def _draw(value: str | Draw) -> Draw:
    return value if isinstance(value, Draw) else Draw.parse(value)


def spin(tasks: int = 1, work: str | Draw | None = None, nice: int = 0) -> Workload:
    """``tasks`` processes that compute: for ``work`` of the reference core, or until the run ends."""
    body: list[Operation] = [Compute(work=_draw(work or "10ms"))]
    program: list[Operation] = body if work is not None else [Repeat(body=body)]
    return Workload(tasks=[Task(name="spin", program=program, count=tasks, nice=nice)])


def repeat(operation: Operation, count: int | None = None, tasks: int = 1) -> Workload:
    """``tasks`` processes that run one operation ``count`` times, or until the run ends."""
    return Workload(tasks=[Task(name="repeat", program=[Repeat(body=[operation], count=count)], count=tasks)])


def syscall_loop(count: int, kind: str = "null") -> Workload:
    """One process that makes ``count`` system calls."""
    return repeat(Syscall.from_builtins({"op": "syscall", "kind": kind}), count)


def fork_exec_loop(count: int) -> Workload:
    """One process that forks, executes and waits ``count`` times."""
    return repeat(ForkExec(), count)


def periodic(work: str | Draw, period: str | int, count: int | None = None) -> Workload:
    """One process that computes ``work`` in every ``period``."""
    body: list[Operation] = [Compute(work=_draw(work))]
    job = Periodic(period=Duration(period) if isinstance(period, int) else period, body=body, count=count)  # type: ignore[arg-type]
    return Workload(tasks=[Task(name="periodic", program=[job])])


def ping_pong(count: int, kind: str = "pipe", cpus: tuple[str, str] | None = None) -> Workload:
    """Two processes that pass one byte to and fro ``count`` times, through pipes or futexes."""
    ping = Repeat(body=[Send(channel="ping"), Receive(channel="pong")], count=count)
    pong = Repeat(body=[Receive(channel="ping"), Send(channel="pong")], count=count)
    left, right = cpus or (None, None)
    return Workload.from_builtins(
        {
            "tasks": [
                {"name": "ping", "program": [ping.to_builtins()]} | ({"cpus": left} if left else {}),
                {"name": "pong", "program": [pong.to_builtins()]} | ({"cpus": right} if right else {}),
            ],
            "channels": {"ping": kind, "pong": kind},
        }
    )


def request_server(rate: str, service: str | Draw, workers: int = 1, count: int | None = None) -> Workload:
    """``workers`` processes that serve a Poisson stream of ``rate`` from one queue, ``service`` each."""
    serve = Serve(arrivals=Arrivals("poisson", rate), body=[Compute(work=_draw(service))], count=count)
    return Workload(tasks=[Task(name="server", program=[serve], count=workers)])
