"""Calling the command line in this process, with a clean folder and configuration."""

import re
import signal
import warnings
from typing import NamedTuple

import pytest

pytest.importorskip("typer", reason="needs virtsim[cli]")

from virtsim.cli.main import main

SCENARIO = """\
name = "pair"
host = "epyc-guest-linux-6.18"
duration = "50ms"
cpus = "0"

[[guests]]
name = "a"
cpu_weight = 200
[[guests.workload.tasks]]
name = "spin"
program = [{ op = "repeat", body = [{ op = "compute", work = "10ms" }] }]

[[guests]]
name = "b"
[[guests.workload.tasks]]
name = "job"
program = [{ op = "periodic", period = "10ms", body = [{ op = "compute", work = "exponential(1ms)" }] }]
"""


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """Standard output with all white space as single blanks."""
        return re.sub(r"\s+", " ", self.out)


@pytest.fixture
def call(tmp_path, monkeypatch, capfd):
    """``call("run", "x.toml")`` in an empty folder; gives exit code, output, errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    handler = signal.getsignal(signal.SIGTERM)

    def run(*arguments):
        capfd.readouterr()
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            code = main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return Result(code, captured.out, captured.err)

    yield run
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def scenario(tmp_path):
    """A small scenario's file."""
    path = tmp_path / "pair.toml"
    path.write_text(SCENARIO)
    return path
