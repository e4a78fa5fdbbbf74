"""What is written down is removed, by its owner or by whoever comes after a dead one, and nothing else."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import msgspec
import pytest

from virtsim.backends import journal
from virtsim.backends.journal import Entry, Owner, Record, clean, journal_folder, left_behind


@pytest.fixture(autouse=True)
def own_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(journal, "tmpfs_folder", lambda: tmp_path)
    return tmp_path / "virtsim"


def _entry_of(owner: Owner, folder: Path, name: str) -> Path:
    scratch = folder / f"virtsim-{name}"
    scratch.mkdir()
    file = journal_folder() / f"virtsim-{name}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(msgspec.json.encode(Record(owner, scratch=str(scratch))))
    return scratch


def _dead_owner() -> Owner:
    child = subprocess.Popen(["true"])
    child.wait()
    return msgspec.structs.replace(Owner.this(), pid=child.pid)


def test_an_entry_removes_its_folder_and_itself() -> None:
    with Entry() as entry:
        assert entry.scratch.is_dir()
        assert [file.stem for file in journal_folder().iterdir()] == [entry.name]
    assert not entry.scratch.exists()
    assert not list(journal_folder().iterdir())


def test_an_entry_removes_its_folder_when_something_goes_wrong() -> None:
    with pytest.raises(KeyboardInterrupt), Entry() as entry:
        raise KeyboardInterrupt
    assert not entry.scratch.exists()


def test_only_what_dead_owners_left_is_cleaned_up(tmp_path: Path) -> None:
    dead = _entry_of(_dead_owner(), tmp_path, "dead")
    alive = _entry_of(_parent(), tmp_path, "alive")
    assert left_behind() == ["virtsim-dead"]
    assert clean() == ["virtsim-dead"]
    assert not dead.exists()
    assert alive.exists()
    assert clean() == []


def test_a_run_of_ours_is_cleaned_up_only_when_it_is_over(tmp_path: Path) -> None:
    abandoned = _entry_of(Owner.this(), tmp_path, "abandoned")
    with Entry() as entry:
        assert clean() == ["virtsim-abandoned"]
        assert entry.scratch.exists()
    assert not abandoned.exists()


def _parent() -> Owner:
    return msgspec.structs.replace(Owner.this(), pid=os.getppid(), start=_start(os.getppid()))


def test_a_number_that_is_used_again_is_another_process() -> None:
    this = Owner.this()
    assert not this.dead
    assert msgspec.structs.replace(this, start=this.start + 1).dead


def test_another_boot_is_dead_and_another_pid_namespace_cannot_be_judged() -> None:
    this = Owner.this()
    assert msgspec.structs.replace(this, boot="another").dead
    assert not msgspec.structs.replace(_dead_owner(), pid_namespace="pid:[1]").dead


def test_a_zombie_is_dead() -> None:
    child = subprocess.Popen(["true"])
    owner = msgspec.structs.replace(Owner.this(), pid=child.pid, start=_start(child.pid))
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert owner.dead
    child.wait()


def _start(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def test_folders_of_other_names_are_never_touched(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    file = journal_folder() / "virtsim-x.json"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(msgspec.json.encode(Record(_dead_owner(), groups=[str(precious)], scratch=str(precious))))
    clean()
    assert precious.exists()


def test_a_file_that_is_no_entry_is_left_alone() -> None:
    file = journal_folder() / "virtsim-odd.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text("{")
    assert clean() == []
    assert file.exists()
