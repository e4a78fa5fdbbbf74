"""What this machine has for the real back end, what it lacks, and what to do about it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from virtsim.backends import noise
from virtsim.backends.build import Runner, compiled_runner
from virtsim.backends.cgroups import Cgroups
from virtsim.backends.hierarchies import find_cgroups
from virtsim.backends.journal import Entry, left_behind
from virtsim.core.errors import BackendError, BackendUnavailable
from virtsim.core.variant import WHY_INTERPRETED

#: Namespaces of every container; the others are an option of its isolation.
NAMESPACES = ("mount", "pid", "uts", "ipc", "net", "cgroup")
OPTIONAL_NAMESPACES = ("user", "time")
_PROBE_S = 0.5


class Capability(NamedTuple):
    """One thing that a back end may need.

    Attributes
    ----------
    name : str
        As errors and test marks call it.
    present : bool
    why : str
        What was found.
    how_to_fix : str
        What to do if it is absent; empty if it is there.
    """

    name: str
    present: bool
    why: str
    how_to_fix: str = ""


def doctor() -> list[Capability]:
    """Examine the machine. Takes about a second; changes nothing that it does not put back."""
    return list(_examine())


def capability(name: str) -> Capability:
    """One capability by name; ``KeyError`` if there is none of that name."""
    for found in _examine():
        if found.name == name:
            return found
    raise KeyError(name)


def _examine() -> Iterator[Capability]:
    runner: Runner | None = None
    cgroups: Cgroups | None = None
    needed = []
    for examine in (_compiler, _cgroups):
        found = examine()
        needed.append(found[0])
        yield found[0]
        if isinstance(found[1], Runner):
            runner = found[1]
        elif found[1] is not None:
            cgroups = found[1]
    yield _static(runner)
    yield from _controllers(cgroups)
    probes = {name: _namespace(runner, name) for name in (*NAMESPACES, *OPTIONAL_NAMESPACES)}
    yield from probes.values()
    yield _container([*needed, *(probes[name] for name in NAMESPACES)])
    yield _probe(runner, "seccomp", "seccomp", "needs a kernel with CONFIG_SECCOMP_FILTER")
    yield _probe(runner, "tracefs", "tracefs", "run as root; without it timelines come from the runner's time stamps")
    yield _schedstat()
    yield _perf()
    yield _privileges()
    yield _heart()
    yield _quiet()
    yield _tidy()


def _compiler() -> tuple[Capability, Runner | None]:
    try:
        runner = compiled_runner()
    except BackendUnavailable as problem:
        return Capability("compiler", False, "the runner cannot be compiled", problem.how_to_fix), None
    return Capability("compiler", True, f"{runner.compiler}; runner {runner.path}"), runner


def _cgroups() -> tuple[Capability, Cgroups | None]:
    """Found, and a group can be made and entered."""
    try:
        cgroups = find_cgroups()
        _try_group(cgroups)
    except (BackendError, OSError) as problem:
        fix = (
            problem.how_to_fix if isinstance(problem, BackendUnavailable) else "become root, or have a group delegated"
        )
        return Capability("cgroups", False, str(problem), fix), None
    return Capability("cgroups", True, f"version: {cgroups.version}"), cgroups


def _try_group(cgroups: Cgroups) -> None:
    """Make a group, as a run would; the journal knows of it."""
    with Entry() as entry:
        entry.record.groups = [str(folder) for folder in cgroups.folders(entry.name)]
        entry.save()
        cgroups.create(entry.name)
        child = subprocess.Popen(["sleep", "10"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            for file in cgroups.joins(entry.name):
                file.write_text(str(child.pid))
        finally:
            child.kill()
            child.wait()


def _static(runner: Runner | None) -> Capability:
    present = runner is not None and runner.static
    fix = "" if present else "install libc.a (Debian: libc6-dev, Fedora: glibc-static)"
    return Capability("static libc", present, "fork_exec in containers needs a program without libraries", fix)


def _controllers(cgroups: Cgroups | None) -> Iterator[Capability]:
    for name in ("cpu", "cpuset", "memory", "pids", "io"):
        present = cgroups is not None and name in cgroups.controllers
        fix = "" if present else "mount it (v1) or have it delegated (v2: cgroup.subtree_control)"
        yield Capability(f"cgroup controller {name}", present, "usable" if present else "not available to us", fix)


def _namespace(runner: Runner | None, name: str) -> Capability:
    remedy = "run as root with CAP_SYS_ADMIN, or allow user namespaces (user.max_user_namespaces)"
    return _probe(
        runner, name, f"{name} namespace", "needs Linux 5.6 with CONFIG_TIME_NS" if name == "time" else remedy
    )


def _probe(runner: Runner | None, what: str, name: str, remedy: str) -> Capability:
    if runner is None:
        return Capability(name, False, "cannot be tried without the runner", "install a C compiler")
    status = subprocess.run([runner.path, "probe", what], check=False, capture_output=True).returncode
    return Capability(name, status == 0, "works" if status == 0 else os.strerror(status), "" if status == 0 else remedy)


def _container(needed: list[Capability]) -> Capability:
    """Everything that observing container guests takes."""
    lacking = [found for found in needed if not found.present]
    why = (
        "container guests can be observed" if not lacking else f"lacking: {', '.join(found.name for found in lacking)}"
    )
    return Capability("container", not lacking, why, lacking[0].how_to_fix if lacking else "")


def _schedstat() -> Capability:
    try:
        present = len(Path("/proc/self/schedstat").read_text().split()) == 3
    except OSError:
        present = False
    fix = "" if present else "needs a kernel with CONFIG_SCHED_INFO; run delays stay unknown"
    return Capability("schedstat", present, "run delays are counted" if present else "no /proc/PID/schedstat", fix)


def _perf() -> Capability:
    try:
        level = int(Path("/proc/sys/kernel/perf_event_paranoid").read_text())
    except OSError:
        return Capability("perf", False, "the kernel has no perf events", "needs CONFIG_PERF_EVENTS")
    hardware = Path("/sys/bus/event_source/devices/cpu").exists()
    if not hardware:
        return Capability("perf", False, "no hardware counters, as in most virtual machines", "expose a virtual PMU")
    present = os.geteuid() == 0 or level <= 2
    fix = "" if present else "sysctl kernel.perf_event_paranoid=2"
    return Capability("perf", present, f"perf_event_paranoid is {level}", fix)


def _privileges() -> Capability:
    root = os.geteuid() == 0
    why = "root" if root else "not root; containers need user namespaces and a delegated cgroup"
    return Capability("privileges", root, why, "" if root else "run as root for negative nice, fifo, rr and traces")


def _heart() -> Capability:
    """Whether the scheduler heart of the models runs compiled."""
    if not WHY_INTERPRETED:
        return Capability("compiled heart", True, "compiled from the sources that are there")
    fix = "install a C compiler, then reinstall virtsim; results are the same, only slower"
    return Capability("compiled heart", False, f"interpreted: {WHY_INTERPRETED}", fix)


def _quiet() -> Capability:
    """Whether the machine is quiet now: stolen and foreign time of half a second."""
    before, begin = Path("/proc/stat").read_text(), time.monotonic_ns()
    time.sleep(_PROBE_S)
    after, window_ns = Path("/proc/stat").read_text(), time.monotonic_ns() - begin
    measured = noise.measure(before, after, None, window_ns, 0, (0, 0), noise.NoiseLimits())
    why = f"stolen {measured.steal_share:.0%}, in use {measured.foreign_share:.0%}"
    fix = "" if not measured.disturbed else "stop what else runs, or wait; disturbed runs are repeated and marked"
    return Capability("quiet machine", not measured.disturbed, why, fix)


def _tidy() -> Capability:
    names = left_behind()
    why = f"left behind by runs that were killed: {', '.join(names)}" if names else "nothing left behind"
    return Capability("tidy", not names, why, "virtsim.backends.clean() removes it" if names else "")
