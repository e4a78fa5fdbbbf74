"""The runner without root: a container by means of a user namespace.

Control groups are left out; a delegated v2 subtree is what :func:`observe` needs for them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from virtsim.backends.build import compiled_runner
from virtsim.backends.image import Plan
from virtsim.backends.journal import tmpfs_folder
from virtsim.backends.layout import layout
from virtsim.backends.program import GuestProgram
from virtsim.core.streams import Streams
from virtsim.scenario.guest import Guest
from virtsim.workload.builders import ping_pong
from virtsim.workload.operations import Compute, ForkExec, Repeat, Syscall, WriteFsync
from virtsim.workload.workload import Task, Workload

NOBODY = 65534


@pytest.fixture
def folder() -> Path:  # type: ignore[misc]
    """In a tmpfs, with the runner in it, of an unprivileged user."""
    path = tmpfs_folder() / f"virtsim-test-{os.getpid()}"
    (path / "scratch").mkdir(parents=True)
    shutil.copy(compiled_runner().path, path / "runner")
    if os.geteuid() == 0:
        os.chown(path / "scratch", NOBODY, NOBODY)
    yield path
    shutil.rmtree(path)


def _observe(folder: Path, guest: Guest) -> list[dict[str, object]]:
    plan = Plan()
    constants = layout().constants
    program = GuestProgram(plan, 0, guest, Streams(0), sorted(os.sched_getaffinity(0)))
    count = len(program.processes)
    plan.add("guests", name=plan.text("g"), isolated=1, processes_count=count, channels_count=len(program.channels))
    plan.header = {
        "owner_pid": os.getpid(),
        "duration_ns": 5_000_000_000,
        "timeline": constants["TIMELINE_NONE"],
        "scratch": plan.text(folder / "scratch"),
        "runner": plan.text(folder / "runner"),
    }
    image = plan.image()
    user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    try:
        command = [folder / "runner", "run", str(image.file), str(os.getpid())]
        code = subprocess.run(command, pass_fds=[image.file], check=False, timeout=30, **user).returncode  # type: ignore[call-overload]
        assert code == 0, (image.header_text("failed_step"), os.strerror(image.header("failed_errno")))
        return [{name: image.row("processes", i)[name] for name in ("ended_ns", "wait_status")} for i in range(count)]
    finally:
        image.close()


@pytest.mark.needs("compiler", "user namespace")
def test_a_container_without_root(folder: Path) -> None:
    body = [Compute(work="10us"), Syscall(kind="stat"), ForkExec(), WriteFsync()]
    workload = Workload(tasks=[Task(name="t", program=[Repeat(body=body, count=20)], count=2)])
    for process in _observe(folder, Guest(name="g", workload=workload)):
        assert process["wait_status"] == 0
        assert process["ended_ns"] != 0


@pytest.mark.needs("compiler", "user namespace")
def test_tasks_without_root_talk_to_each_other(folder: Path) -> None:
    assert all(process["wait_status"] == 0 for process in _observe(folder, Guest(name="g", workload=ping_pong(200))))
