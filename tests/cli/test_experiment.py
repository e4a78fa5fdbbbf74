"""``virtsim experiment run`` as it is interrupted and started again; in processes of its own, as in a terminal."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.experiment.made import write_experiment

pytest.importorskip("typer", reason="needs virtsim[cli]")

TOML = 'title = "Naps"\nclaim = "They end."\n'
RUN = """
import time
from pathlib import Path

HERE = Path(__file__).parent


def run(context):
    context.record("sum", sum(context.cases(nap, [{"number": k} for k in range(6)], "naps")))


def nap(number):
    while number >= 2 and not (HERE / "go").exists():
        time.sleep(0.01)
    return number
"""


@pytest.fixture
def folder(tmp_path):
    return write_experiment(tmp_path / "experiments" / "08-naps", TOML, RUN, {"sum": {"value": 15}})


def start(folder, workers):
    """The command in a process group of its own, as a shell would start it."""
    # A shell's background jobs ignore the interrupt; a terminal's do not.
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from virtsim.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "experiment", "run", "08-naps", "--workers", str(workers)]
    return subprocess.Popen(
        command, cwd=folder.parents[1], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
    )


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def alive(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("number", "code", "workers"),
    [(signal.SIGINT, 130, 1), (signal.SIGINT, 130, 2), (signal.SIGTERM, 143, 1), (signal.SIGKILL, -9, 2)],
)
def test_it_says_how_to_go_on_and_goes_on(folder, number, code, workers):
    finished = folder.parents[1] / "out" / "08-naps" / "finished"
    running = start(folder, workers)
    try:
        wait_for(lambda: len(list(finished.glob("*.json"))) == 2)
        # The keys of a terminal reach the whole group; other signals are sent to the command.
        (os.killpg if number == signal.SIGINT else os.kill)(running.pid, number)
        _, said = running.communicate(timeout=30)
        wait_for(lambda: not alive(running.pid))
    finally:
        if alive(running.pid):
            os.killpg(running.pid, signal.SIGKILL)
    assert running.returncode == code
    if number != signal.SIGKILL:
        lines = ["virtsim: 2 finished cases are kept in out/08-naps/finished; the same command goes on from there"]
        assert said.splitlines() == lines + ["virtsim: interrupted"] * (number == signal.SIGINT)
    (folder / "go").touch()
    again = start(folder, workers)
    out, said = again.communicate(timeout=60)
    assert (again.returncode, said) == (0, "")
    assert "of 6 cases are those of an earlier run of the same code and inputs" in out
    once_more = start(folder, workers)
    out, said = once_more.communicate(timeout=60)
    assert (once_more.returncode, said) == (0, "")
    assert "it was finished: its 6 cases are those of an earlier run" in out
