"""Control groups behind one protocol, whichever version the kernel offers.

A group is named by its path below the *base*, the group that runs are made in. Limits are written in
the terms of cgroup v2 (:class:`~virtsim.scenario.guest.Limits`); each implementation translates.
Statistics are texts that the runner reads at the release and at the end; :meth:`Cgroups.account` makes
numbers of them.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from virtsim.core.errors import BackendError, BackendUnavailable
from virtsim.core.units import parse_cpu_list
from virtsim.scenario.guest import Limits

#: Every group that virtsim makes below a base begins with this.
PREFIX = "virtsim-"
REMOVAL_TIME_S = 5.0


class Write(NamedTuple):
    """A text to be written to a control file."""

    path: Path
    text: str


class Cgroups(Protocol):
    """One way to have control groups.

    Attributes
    ----------
    version : str
        ``v1``, ``v2`` or ``hybrid`` (controllers in v1, pressure in v2).
    controllers : frozenset of str
        Those that can be used, under their v2 names (``cpu, cpuset, memory, pids, io``).
    tasks_beside_groups : bool
        Whether a group may hold tasks and groups at once.
    quotas_must_fit : bool
        Whether a group is refused a larger part of the CPU than the group around it has.
    """

    version: str
    controllers: frozenset[str]
    tasks_beside_groups: bool
    quotas_must_fit: bool

    def cpus(self) -> tuple[int, ...]:
        """CPUs that the base may use."""
        ...

    def folders(self, path: str) -> list[Path]:
        """The folders that make up a group."""
        ...

    def create(self, path: str) -> None:
        """Make a group; the one around it exists."""
        ...

    def shield(self, path: str) -> None:
        """Give a group the greatest weight there is."""
        ...

    def limit(self, path: str, limits: Limits, more_pids: int) -> None:
        """Set all limits but the bandwidth; ``more_pids`` processes are the runner's own."""
        ...

    def allow_real_time(self, path: str, runtime_us: int) -> None:
        """Let tasks of the real-time class run ``runtime_us`` in every second, if that is rationed."""
        ...

    def bandwidth(self, path: str, limits: Limits) -> list[Write]:
        """What sets quota, period and burst; written at the release, so that the first period begins there."""
        ...

    def lift(self, path: str) -> list[Write]:
        """What takes the bandwidth limit away, so that throttled tasks can die."""
        ...

    def joins(self, path: str) -> list[Path]:
        """Files that a process writes "0" to, to enter the group."""
        ...

    def counters(self, path: str) -> dict[str, Path]:
        """Files of statistics, by a name that :meth:`account` knows."""
        ...

    def account(self, before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, Any]:
        """Fields of a :class:`~virtsim.results.run.GuestRecord` from the texts of the counters."""
        ...


def make_folder(path: Path) -> None:
    """Make the folder of a group; the one place where that is done."""
    os.mkdir(path, 0o755)


def write(path: Path, text: str) -> None:
    """Write to a control file, which must exist.

    Raises
    ------
    BackendError
        Says which file refused which text, and why.
    """
    try:
        file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(file, text.encode())
        finally:
            os.close(file)
    except OSError as problem:
        raise BackendError(f"{path} does not take {text!r}: {problem.strerror}") from None


def read(path: Path) -> str:
    """Text of a control file, without the newline; empty if it cannot be read."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def missing(controller: str, wanted_by: str) -> BackendUnavailable:
    """The error for a controller that a limit needs and the kernel does not give us."""
    return BackendUnavailable(
        f"cgroup controller {controller}",
        f"{wanted_by} needs it: mount it (v1), or have it delegated (v2: cgroup.subtree_control of the group around)",
    )


def listed_cpus(text: str) -> tuple[int, ...]:
    """CPUs of a cpuset's text; where there is none, those that this process may use."""
    return parse_cpu_list(text) if text else tuple(sorted(os.sched_getaffinity(0)))


def flat_keyed(text: str) -> dict[str, int]:
    """Numbers of a file such as cpu.stat: one key and one number a line."""
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def increase(before: Mapping[str, int], after: Mapping[str, int], key: str) -> int | None:
    """How much a counter grew; None if the kernel does not have it."""
    return after[key] - before.get(key, 0) if key in after else None


def pressure_ns(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, int]:
    """Growth of the pressure-stall totals of all ``*.pressure`` texts, ns by "resource.line"."""
    stalls: dict[str, int] = {}
    for name, text in after.items():
        resource, _, kind = name.partition(".")
        if kind != "pressure":
            continue
        old = _pressure_totals(before.get(name, ""))
        for line, total_us in _pressure_totals(text).items():
            stalls[f"{resource}.{line}"] = (total_us - old.get(line, 0)) * 1000
    return stalls


def _pressure_totals(text: str) -> dict[str, int]:
    totals = {}
    for line in text.splitlines():
        kind, _, total = line.partition("total=")
        if total.strip().isdigit():
            totals[kind.split()[0]] = int(total)
    return totals


def members(folder: Path) -> list[int]:
    """Processes in a group and in the groups below it."""
    try:
        below = [entry for entry in folder.iterdir() if entry.is_dir()]
    except OSError:
        return []
    found = [int(pid) for pid in read(folder / "cgroup.procs").split()]
    for entry in below:
        found += members(entry)
    return found


def remove(folders: Iterable[Path], *, patience_s: float = REMOVAL_TIME_S) -> list[Path]:
    """Kill what is in groups and remove them; those that would not go.

    Groups are given outermost first; one that is gone already is no problem.
    """
    left = [folder for folder in folders if folder.is_dir()][::-1]
    end = time.monotonic() + patience_s
    pause_s = 0.001
    while left:
        for folder in left:
            _kill_members(folder)
        left = [folder for folder in left if not _remove_folder(folder)]
        if not left or time.monotonic() > end:
            break
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, 0.05)
    return left


def _kill_members(folder: Path) -> None:
    """By the kernel's own means where it has them; a throttled task dies only when its quota is gone."""
    for quota, none in (("cpu.cfs_quota_us", "-1"), ("cpu.max", "max")):
        if (folder / quota).exists():
            try:
                write(folder / quota, none)
            except BackendError:
                continue
    for pid in members(folder):
        if pid == os.getpid() or pid == 0:
            continue
        try:
            os.kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


def _remove_folder(folder: Path) -> bool:
    try:
        os.rmdir(folder)
    except OSError as problem:
        return problem.errno == errno.ENOENT
    return True
