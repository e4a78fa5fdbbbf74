"""Scenario files for the commands."""

import pytest

pytest.importorskip("typer", reason="needs virtsim[cli]")

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


@pytest.fixture
def scenario(tmp_path):
    """A small scenario's file."""
    path = tmp_path / "pair.toml"
    path.write_text(SCENARIO)
    return path
