"""What a run leaves on the machine is written down before it is made, so that nothing stays behind.

Each run has an entry, a small JSON file with its owner (process, its start time, boot) and all it may
make: groups, folders, a trace instance. Whoever comes next removes what belongs to owners that are
dead, and nothing else.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from virtsim.backends import cgroups
from virtsim.backends.cgroups import PREFIX
from virtsim.core.errors import BackendUnavailable

_TMPFS_MAGIC = 0x01021994

#: Names of this process's runs that are still going on.
_active: set[str] = set()


class Owner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A process, recognisable even when its number is used again.

    Attributes
    ----------
    pid : int
    start : int
        Start time, clock ticks after boot.
    boot : str
        The boot's random id.
    pid_namespace : str
        In which ``pid`` is meant.
    """

    pid: int
    start: int
    boot: str
    pid_namespace: str

    @classmethod
    def this(cls) -> Owner:
        """This process."""
        return cls(os.getpid(), _start_time(os.getpid()) or 0, _boot(), _pid_namespace())

    @property
    def dead(self) -> bool:
        """Whether it is certain that the process is gone; one in another pid namespace cannot be judged."""
        if self.boot != _boot():
            return True
        return self.pid_namespace == _pid_namespace() and _start_time(self.pid) != self.start


def _start_time(pid: int) -> int | None:
    """None if there is no such process, or it has ended and only waits to be reaped."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _pid_namespace() -> str:
    return os.readlink("/proc/self/ns/pid")


class Record(msgspec.Struct, forbid_unknown_fields=True):
    """Content of an entry.

    Attributes
    ----------
    owner : Owner
    groups : list of str
        Folders of cgroups, outermost first.
    scratch : str
        Folder for files, in a tmpfs.
    trace : str
        Name of a trace instance, or empty.
    runner : str
        The runner that can remove it.
    """

    owner: Owner
    groups: list[str] = []
    scratch: str = ""
    trace: str = ""
    runner: str = ""


def journal_folder() -> Path:
    """``$XDG_RUNTIME_DIR/virtsim`` or ``$XDG_STATE_HOME/virtsim``, by default ``~/.local/state/virtsim``."""
    for variable in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME"):
        base = os.environ.get(variable, "")
        if os.path.isabs(base) and os.access(base, os.W_OK):
            return Path(base) / "virtsim"
    return Path.home() / ".local" / "state" / "virtsim"


def tmpfs_folder() -> Path:
    """A folder in a tmpfs, for the files that tasks read and write."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    for folder in (Path("/dev/shm"), Path(os.environ.get("XDG_RUNTIME_DIR") or "/run"), Path("/tmp")):
        buffer = (ctypes.c_long * 32)()
        if os.access(folder, os.W_OK) and libc.statfs(os.fsencode(folder), buffer) == 0 and buffer[0] == _TMPFS_MAGIC:
            return folder
    raise BackendUnavailable("tmpfs", "mount one that this user may write to: mount -t tmpfs none /dev/shm")


class Entry:
    """The entry of one run, a context manager: on leaving, everything in it is removed.

    Attributes
    ----------
    name : str
        Unique; names the run's groups and folders.
    record : Record
    """

    def __init__(self) -> None:
        self.name = f"{PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
        self.scratch = tmpfs_folder() / self.name
        self.record = Record(Owner.this(), scratch=str(self.scratch))
        self._file = journal_folder() / f"{self.name}.json"

    def save(self) -> None:
        """Write the entry down; call it before making what is new in it."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            part = self._file.with_suffix(".part")
            part.write_bytes(msgspec.json.encode(self.record))
            os.replace(part, self._file)
        except OSError as problem:
            raise BackendUnavailable(
                "journal", f"make {self._file.parent} writable, or set XDG_STATE_HOME ({problem.strerror})"
            ) from None

    def __enter__(self) -> Self:
        _active.add(self.name)
        self.save()
        self.scratch.mkdir(mode=0o700)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if _remove(self.record):
                self._file.unlink(missing_ok=True)
        finally:
            _active.discard(self.name)


def _remove(record: Record) -> bool:
    """Remove what a record lists; False if something would not go."""
    groups = [Path(group) for group in record.groups if PREFIX in group]
    left = cgroups.remove(groups)
    if PREFIX in record.scratch:
        shutil.rmtree(record.scratch, ignore_errors=True)
    if record.trace.startswith(PREFIX) and os.access(record.runner, os.X_OK):
        subprocess.run([record.runner, "untrace", record.trace], check=False, capture_output=True)
    return not left


def _entries() -> Iterator[tuple[Path, Record]]:
    for file in sorted(journal_folder().glob(f"{PREFIX}*.json")):
        try:
            yield file, msgspec.json.decode(file.read_bytes(), type=Record)
        except (OSError, msgspec.MsgspecError):
            continue  # removed just now, or not ours


def clean() -> list[str]:
    """Remove what runs that were killed left behind, and nothing of runs that are going on.

    Returns
    -------
    list of str
        Names of the runs that were cleaned up.
    """
    cleaned = []
    for file, record in _entries():
        if _abandoned(file, record) and _remove(record):
            file.unlink(missing_ok=True)
            cleaned.append(file.stem)
    return cleaned


def left_behind() -> list[str]:
    """Names of runs that are over and whose remains are still there."""
    return [file.stem for file, record in _entries() if _abandoned(file, record)]


def _abandoned(file: Path, record: Record) -> bool:
    """By a dead owner, or by ourselves, when even the clean-up of a run was interrupted."""
    return record.owner.dead or (record.owner == Owner.this() and file.stem not in _active)
