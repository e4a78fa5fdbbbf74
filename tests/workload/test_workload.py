"""Programs, tasks, workloads and builders: rules between fields, with the path of the offender."""

import pytest

from virtsim.core.errors import SpecError
from virtsim.core.spec import decode_json, dump_toml, encode_json, load_toml
from virtsim.workload import builders
from virtsim.workload.operations import (
    Compute,
    Lock,
    Operation,
    Periodic,
    Receive,
    Repeat,
    Send,
    Serve,
    Syscall,
    Touch,
    Unlock,
)
from virtsim.workload.workload import Task, Workload

EXIT = {"op": "exit"}


def load(*program, **fields):
    task = {"name": "t", "program": list(program)}
    return Workload.from_builtins({"tasks": [task], **fields}, "w.toml")


BUILT = {
    "spin": builders.spin(),
    "spin for a while": builders.spin(3, work="exponential(5ms)", nice=5),
    "system calls": builders.syscall_loop(1000),
    "other system calls": builders.syscall_loop(10, "open_close"),
    "fork and exec": builders.fork_exec_loop(20),
    "periodic": builders.periodic("1ms", "10ms", count=5),
    "periodic in ns": builders.periodic("1ms", 10_000_000),
    "pipe": builders.ping_pong(100),
    "futex on two CPUs": builders.ping_pong(100, "futex", cpus=("0", "1")),
    "server": builders.request_server("200/s", "1ms", workers=2, count=50),
    "repeat": builders.repeat(Touch(pages=8), tasks=2),
}


@pytest.mark.parametrize("name", BUILT)
def test_builders_survive_toml_and_json(tmp_path, name):
    workload = BUILT[name]
    (tmp_path / "w.toml").write_text(dump_toml(workload), encoding="utf-8")
    assert load_toml(tmp_path / "w.toml", Workload) == workload
    assert decode_json(encode_json(workload), Workload) == workload


def test_every_operation_is_reachable_by_its_tag():
    tags = {kind.__struct_config__.tag for kind in Operation.__args__}
    assert len(tags) == len(Operation.__args__) == 25
    with pytest.raises(SpecError, match=r"w\.toml: tasks\[0\]\.program\[0\]\.op: 'jump' is none of the values"):
        load({"op": "jump"})


@pytest.mark.parametrize(
    ("operation", "path", "reason"),
    [
        ({"op": "compute"}, ".work", "required"),
        ({"op": "compute", "work": "fast"}, ".work", "not a duration"),
        ({"op": "compute", "work": 5}, ".work", "expected text with a unit"),
        ({"op": "touch", "pages": 0}, ".pages", ">= 1"),
        ({"op": "touch", "pages": 2**22 + 1}, ".pages", "<="),
        ({"op": "touch", "pages": 1, "working_set": "5GiB"}, "", "working_set must be"),
        ({"op": "touch", "pages": 1, "stride": "2MiB"}, "", "stride must be"),
        ({"op": "syscall", "kind": "reboot"}, ".kind", "none of the values; known: null, stat"),
        ({"op": "syscall", "size": "4KiB"}, "", "only read and write have a size"),
        ({"op": "syscall", "kind": "read", "size": "65MiB"}, "", "at most 64MiB"),
        ({"op": "send", "channel": "c", "size": "5KiB"}, "", "one atomic pipe write"),
        ({"op": "write_fsync", "size": "0B"}, "", "size must be"),
        ({"op": "periodic", "period": "1ns", "body": [EXIT]}, "", "period must be"),
        ({"op": "periodic", "period": "1ms", "body": []}, ".body", "at least 1 entry"),
        ({"op": "repeat", "body": [EXIT], "count": 0}, ".count", ">= 1"),
        ({"op": "repeat", "body": [{"op": "repeat", "body": [EXIT | {"x": 1}]}]}, ".body[0].body[0].x", "no such"),
        ({"op": "serve", "arrivals": "sometimes", "body": [EXIT]}, ".arrivals", "not an arrival process"),
    ],
)  # fmt: skip
def test_bad_operations_name_their_field(operation, path, reason):
    with pytest.raises(SpecError) as caught:
        load(operation)
    assert caught.value.path == f"w.toml: tasks[0].program[0]{path}"
    assert reason in caught.value.reason


@pytest.mark.parametrize(
    ("task", "path"),
    [
        ({"policy": "fifo"}, "priority"),
        ({"priority": 5}, "priority"),
        ({"policy": "fifo", "priority": 5, "slice": "1ms"}, "slice"),
        ({"slice": "1us"}, "slice"),
        ({"slice": "1s"}, "slice"),
        ({"timer_slack": "0s"}, "timer_slack"),
        ({"timer_slack": "2s"}, "timer_slack"),
        ({"nice": 20}, "nice"),
        ({"count": 0}, "count"),
        ({"count": 100_001}, "count"),
        ({"cpus": "x"}, "cpus"),
        ({"program": []}, "program"),
    ],
)
def test_bad_tasks_name_their_field(task, path):
    with pytest.raises(SpecError) as caught:
        Task.from_builtins({"name": "t", "program": [EXIT], **task})
    assert caught.value.path == path


def test_process_names():
    assert Task(name="a", program=[Compute(work="1ms")]).process_names == ("a",)
    many = Task(name="a", program=[Compute(work="1ms")], count=3)
    assert many.process_names == ("a.0", "a.1", "a.2")
    with pytest.raises(SpecError, match=r"^tasks\[1\]\.name: two processes would be called 'a\.1'"):
        Workload(tasks=[many, many.replace(name="a.1", count=1)])
    assert Workload(tasks=[many, many.replace(name="b")]).process_count == 6


def test_channels():
    pair = builders.ping_pong(1, "futex")
    assert (pair.kind_of("ping"), pair.kind_of("other")) == ("futex", "pipe")
    with pytest.raises(SpecError, match="never sent to"):
        load({"op": "receive", "channel": "c"})
    with pytest.raises(SpecError, match=r"channels\.d: no task uses this channel"):
        load({"op": "send", "channel": "c"}, channels={"d": "pipe"})
    with pytest.raises(SpecError, match=r"program\[1\]\.size: all messages of channel 'c' must have one size"):
        load({"op": "send", "channel": "c"}, {"op": "receive", "channel": "c", "size": "2B"})


def test_queues_have_one_set_of_arrivals():
    def serve(rate):
        return Serve(arrivals=f"poisson({rate}/s)", body=[Compute(work="1ms")])

    Workload(tasks=[Task(name="a", program=[serve(5)]), Task(name="b", program=[serve(5)])])
    with pytest.raises(SpecError, match=r"tasks\[1\]\.program\[0\]: all servers of queue 'requests'"):
        Workload(tasks=[Task(name="a", program=[serve(5)]), Task(name="b", program=[serve(6)])])


@pytest.mark.parametrize(
    ("program", "path"),
    [
        ([Lock(name="m")], "tasks[0].program"),
        ([Unlock(name="m")], "tasks[0].program[0].name"),
        ([Lock(name="m"), Lock(name="m"), Unlock(name="m"), Unlock(name="m")], "tasks[0].program[1].name"),
        ([Lock(name="m"), Lock(name="n"), Unlock(name="m"), Unlock(name="n")], "tasks[0].program[2].name"),
        ([Lock(name="m"), Repeat(body=[Unlock(name="m")])], "tasks[0].program[1].body[0].name"),
        ([Repeat(body=[Lock(name="m")], count=2)], "tasks[0].program[0].body"),
        (
            [Lock(name="m"), Repeat(body=[Lock(name="m"), Unlock(name="m")]), Unlock(name="m")],
            "tasks[0].program[1].body[0].name",
        ),
    ],
)  # fmt: skip
def test_locks_are_taken_and_released_in_pairs(program, path):
    with pytest.raises(SpecError) as caught:
        Workload(tasks=[Task(name="t", program=program)])
    assert caught.value.path == path


def test_nested_locks_are_allowed():
    body = [Lock(name="n"), Syscall(), Unlock(name="n")]
    Workload(tasks=[Task(name="t", program=[Lock(name="m"), Repeat(body=body, count=3), Unlock(name="m")])])


def test_walking_gives_paths_in_program_order():
    program = [Send(channel="c"), Periodic(period="1ms", body=[Receive(channel="c"), Repeat(body=[Syscall()])])]
    paths = [path for path, _ in Workload(tasks=[Task(name="t", program=program)]).walk()]
    assert paths == [
        "tasks[0].program[0]",
        "tasks[0].program[1]",
        "tasks[0].program[1].body[0]",
        "tasks[0].program[1].body[1]",
        "tasks[0].program[1].body[1].body[0]",
    ]
