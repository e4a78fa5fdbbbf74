"""Small builders for tests of the heart."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from virtsim.scheduling.heart import Heart
from virtsim.scheduling.program import Code, Program
from virtsim.scheduling.task import Task
from virtsim.scheduling.weight import NICE_0_LOAD

MS = 1_000_000


def hog(piece_ns: int = 10 * MS) -> Program:
    """Compute for ever."""
    program = Program()
    counter = program.slot()
    program.emit(Code.LOOP_BEGIN, 0, counter)
    top = program.emit(Code.CPU, piece_ns)
    program.emit(Code.LOOP_END, top, counter)
    return program


def job(run_ns: int, period_ns: int, count: int = 0) -> Program:
    """Run for ``run_ns`` in every period; histogram 0 is the wake-up latency, 1 the response time."""
    program = Program()
    counter, due = program.slot(), program.slot()
    program.emit(Code.PERIODIC_BEGIN, 0, due)
    program.emit(Code.LOOP_BEGIN, count, counter)
    top = program.emit(Code.PERIODIC_WAIT, period_ns, due)
    program.emit(Code.RECORD_SINCE, 0, due)
    program.emit(Code.CPU, run_ns)
    program.emit(Code.RECORD_SINCE, 1, due)
    program.emit(Code.LOOP_END, top, counter)
    program.emit(Code.EXIT)
    return program


def add(heart: Heart, name: str, program: Program, **options: object) -> Task:
    """A task of nice 0 in the root group, started at once."""
    group = options.pop("group", heart.root)
    cpus = options.pop("cpus", None) or group.cpus  # type: ignore[attr-defined]
    load = options.pop("load", NICE_0_LOAD)
    start = options.pop("start", 0)
    task = Task(name, group, load, program, frozenset(cpus), heart.kernel.base_slice_ns, **options)  # type: ignore[arg-type]
    heart.start(task, start, min(cpus))  # type: ignore[arg-type]
    return task


@pytest.fixture
def switches() -> Callable[[Heart], list[tuple[int, int, str | None]]]:
    """Attach a list of (time, cpu, name of the next task) to a heart."""

    def attach(heart: Heart) -> list[tuple[int, int, str | None]]:
        seen: list[tuple[int, int, str | None]] = []
        heart.on_switch = lambda time, cpu, _, task: seen.append((time, cpu, task.name if task else None))
        return seen

    return attach
