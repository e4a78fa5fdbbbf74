"""Workloads become flat programs: bodies, counts, samples, names of streams."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from virtsim.backends.image import Plan
from virtsim.backends.layout import layout
from virtsim.backends.program import SAMPLE_EVERY, GuestProgram
from virtsim.core.errors import BackendUnavailable, SpecError
from virtsim.core.streams import Streams
from virtsim.scenario.guest import Guest
from virtsim.workload.builders import ping_pong, repeat, request_server
from virtsim.workload.operations import (
    Compute,
    Exit,
    Lock,
    Operation,
    PageFault,
    Repeat,
    Serve,
    Sleep,
    Syscall,
    Unlock,
    Work,
)
from virtsim.workload.workload import Task, Workload


def _compile(workload: Workload, **options: Any) -> tuple[Plan, GuestProgram]:
    plan = Plan()
    return plan, GuestProgram(plan, 0, Guest(name="g", workload=workload), Streams(7), (0, 1), **options)


def _one(program: list[Operation], **options: Any) -> list[dict[str, Any]]:
    return _compile(Workload(tasks=[Task(name="t", program=program)]), **options)[0].rows["instructions"]


def _tag(row: dict[str, Any]) -> str:
    return layout().enums["opcode"][row["op"]].removeprefix("OP_").lower()


def test_bodies_follow_their_heads_and_say_how_long_they_are() -> None:
    inner = Repeat(body=[Syscall(), Syscall()], count=3)
    rows = _one([Compute(work="1ms"), Repeat(body=[inner, Sleep(time="1ms")]), Exit()])
    assert [_tag(row) for row in rows] == ["compute", "repeat", "repeat", "syscall", "syscall", "sleep", "exit"]
    assert [row.get("body", 0) for row in rows] == [0, 4, 2, 0, 0, 0, 0]
    assert [row.get("count") for row in rows[1:3]] == [-1, 3]


def test_what_only_the_model_has_is_refused() -> None:
    with pytest.raises(BackendUnavailable, match="operation work"):
        _one([Work(unit="cpuid")])
    with pytest.raises(BackendUnavailable, match="task t: tlb_misses"):
        _compile(Workload(tasks=[Task(name="t", program=[Exit()], tlb_misses=70.4)]))


def test_short_operations_are_timed_once_in_a_while_and_long_ones_always() -> None:
    rows = _one([Syscall(), Compute(work="1ms"), Compute(work="1us"), Sleep(time="1ms")])
    assert [row["sample_mask"] for row in rows] == [SAMPLE_EVERY - 1, 0, SAMPLE_EVERY - 1, 0]
    assert all(row["histogram"] == -1 for row in _one([Syscall()], operation_latency=False))


def test_each_process_has_its_own_copy_and_its_own_draws() -> None:
    plan, _ = _compile(Workload(tasks=[Task(name="t", count=3, program=[Compute(work="exponential(1ms)")])]))
    assert [row["draw"] for row in plan.rows["instructions"]] == [0, 1, 2]
    seeds = [row["state"] for row in plan.rows["draws"]]
    assert seeds == [Streams(7).seed64(f"g/t.{i}", "program[0].work") for i in range(3)]


def test_the_servers_of_an_open_queue_share_its_arrivals() -> None:
    plan, _ = _compile(request_server("100/s", "exponential(1ms)", workers=2, count=9))
    (queue,) = plan.rows["queues"]
    assert queue["left"] == 9
    assert plan.rows["draws"][queue["draw"]]["state"] == Streams(7).seed64("g", "queue.requests")
    assert [row["index"] for row in plan.rows["instructions"] if _tag(row) == "serve"] == [0, 0]


def test_closed_loops_think_for_themselves() -> None:
    serve = Serve(arrivals="closed(exponential(5ms))", body=[Compute(work="1ms")])
    plan, _ = _compile(Workload(tasks=[Task(name="t", count=2, program=[serve])]))
    draws = [plan.rows["draws"][row["draw"]]["state"] for row in plan.rows["instructions"] if _tag(row) == "serve"]
    assert draws == [Streams(7).seed64(f"g/t.{i}", "program[0].arrivals") for i in range(2)]


def test_arrivals_from_a_file_are_copied_into_the_plan(tmp_path: Path) -> None:
    file = tmp_path / "arrivals.txt"
    file.write_text("1ms\n2ms\n")
    serve = Serve(arrivals=f"file({file})", body=[Syscall()])
    plan, _ = _compile(Workload(tasks=[Task(name="t", program=[serve])]))
    assert (plan.rows["queues"][0]["times_count"], plan.rows["queues"][0]["draw"]) == (2, -1)


def test_a_file_of_arrivals_that_is_missing_names_the_operation() -> None:
    serve = Serve(arrivals="file(nowhere.txt)", body=[Syscall()])
    with pytest.raises(SpecError, match=r"workload\.tasks\[0\]\.program\[0\]\.arrivals.*cannot be read"):
        _compile(Workload(tasks=[Task(name="t", program=[serve])]))


def test_channels_and_mutexes_belong_to_the_guest() -> None:
    plan, program = _compile(ping_pong(3, "futex"))
    assert program.channels == {"ping": 0, "pong": 1}
    assert {row["kind"] for row in plan.rows["channels"]} == {layout().constants["CHANNEL_FUTEX"]}
    locks = [Lock(name="l"), Unlock(name="l")]
    plan, _ = _compile(Workload(tasks=[Task(name="t", count=2, program=locks)]))
    assert len(plan.rows["mutexes"]) == 1
    assert {row["index"] for row in plan.rows["instructions"]} == {0}


def test_a_process_says_what_memory_and_file_it_needs() -> None:
    plan, _ = _compile(repeat(PageFault(pages=5)))
    assert (plan.rows["processes"][0]["fault_bytes"], plan.rows["processes"][0]["file_bytes"]) == (5 * 4096, -1)
    plan, _ = _compile(repeat(Syscall(kind="write", size=10_000)))
    assert plan.rows["processes"][0]["file_bytes"] == 10_000
