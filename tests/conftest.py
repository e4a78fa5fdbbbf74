"""Capabilities, Hypothesis profiles and the command line for the whole suite.

A test that needs something of the machine says so with ``@pytest.mark.needs("container")``; the names
are those of ``virtsim doctor``. Where it is missing the test is skipped with the reason, or fails if
``VIRTSIM_REQUIRE`` (names, separated by commas) demands it, so that a machine that is meant to have
everything cannot pass by skipping.
"""

from __future__ import annotations

import os
import re
import signal
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, settings

from virtsim.backends import Capability, capability

settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile(
    "nightly",
    deadline=None,
    max_examples=2000,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@cache
def _examined(name: str) -> Capability:
    return capability(name)


def _required() -> set[str]:
    return {name.strip() for name in os.environ.get("VIRTSIM_REQUIRE", "").split(",")} - {""}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, or fail, a test whose machine lacks something."""
    for mark in item.iter_markers("needs"):
        for name in mark.args:
            found = _examined(name)
            if found.present:
                continue
            reason = f"needs {name}: {found.why}; {found.how_to_fix}"
            if name in _required():
                pytest.fail(f"VIRTSIM_REQUIRE demands it, but the test {reason}", pytrace=False)
            pytest.skip(reason)


class Result(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """Standard output with all white space as single blanks."""
        return re.sub(r"\s+", " ", self.out)


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Result]]:
    """``call("run", "x.toml")`` in this process, in an empty folder; gives exit code, output, errors."""
    pytest.importorskip("typer", reason="needs virtsim[cli]")
    from virtsim.cli.main import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    handler = signal.getsignal(signal.SIGTERM)

    def run(*arguments: object) -> Result:
        capfd.readouterr()
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            code = main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return Result(code, captured.out, captured.err)

    yield run
    signal.signal(signal.SIGTERM, handler)
