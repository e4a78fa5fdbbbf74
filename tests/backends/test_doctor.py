"""The doctor names everything that errors and test marks name, and says what to do about what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from virtsim.backends import build, capability, doctor
from virtsim.core.errors import BackendUnavailable


def test_every_capability_is_there_or_says_what_to_do() -> None:
    found = doctor()
    names = [one.name for one in found]
    assert len(names) == len(set(names))
    assert {"compiler", "cgroups", "container", "seccomp", "tracefs", "schedstat", "perf", "privileges"} <= set(names)
    for one in found:
        assert one.why
        assert bool(one.how_to_fix) != one.present, one


def test_an_unknown_capability_is_an_error() -> None:
    with pytest.raises(KeyError):
        capability("telepathy")


def test_without_a_compiler_nothing_that_needs_the_runner_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    missing = {one.name: one for one in doctor() if not one.present}
    assert {"compiler", "container", "seccomp", "pid namespace"} <= missing.keys()
    assert "apt install gcc" in missing["container"].how_to_fix


def test_a_compiler_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "mycc"
    compiler.write_text('#!/bin/sh\ntest "$1" = --version && echo mycc 1 && exit\necho no header >&2; exit 1\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(BackendUnavailable, match="mycc could not make the runner: no header"):
        build.compiled_runner()
    assert [path.name for path in (tmp_path / "virtsim").iterdir()] == []


@pytest.mark.needs("compiler")
def test_the_runner_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = build.compiled_runner()
    made = first.path.stat().st_mtime_ns
    assert build.compiled_runner() == first
    assert first.path.stat().st_mtime_ns == made
    assert [path.name for path in (tmp_path / "virtsim").iterdir()] == [first.path.name]
