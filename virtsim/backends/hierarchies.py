"""Which control groups this process can use: what is mounted where, and where we are in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from virtsim.backends import cgroups
from virtsim.backends.cgroups import Cgroups
from virtsim.backends.cgroups_hybrid import CgroupsHybrid
from virtsim.backends.cgroups_v1 import CONTROLLERS, CgroupsV1
from virtsim.backends.cgroups_v2 import CgroupsV2
from virtsim.core.errors import BackendUnavailable


class Hierarchy(NamedTuple):
    """A mounted hierarchy.

    Attributes
    ----------
    folder : Path
        Where it is mounted.
    own : Path
        The folder of the group that this process is in.
    controllers : tuple of str
        v1 controllers; empty for v2.
    unified : bool
        Whether it is v2.
    """

    folder: Path
    own: Path
    controllers: tuple[str, ...]
    unified: bool


def hierarchies(mountinfo: str, membership: str) -> list[Hierarchy]:
    """Read the texts of ``/proc/self/mountinfo`` and ``/proc/self/cgroup``; the last mount of each counts."""
    paths = dict(_memberships(membership))
    found: dict[tuple[str, ...], Hierarchy] = {}
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = [*right.split(), "", "", ""][:3]
        if kind not in ("cgroup", "cgroup2"):
            continue
        root, folder = (_unescape(field) for field in left.split()[3:5])
        names = tuple(name for name in options.split(",") if name in CONTROLLERS) if kind == "cgroup" else ()
        if kind == "cgroup" and not names:
            continue
        path = paths.get(names[0] if names else "", "/")
        below = os.path.relpath(path, root) if path.startswith(root) else "."
        found[names] = Hierarchy(Path(folder), Path(folder) / below, names, kind == "cgroup2")
    return list(found.values())


def _memberships(text: str) -> Iterator[tuple[str, str]]:
    """Lines such as "4:memory:/a" and, for v2, "0::/b"."""
    for line in text.splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            yield name, path


def _unescape(field: str) -> str:
    """Mount points write a space as \\040."""
    for code, character in ((r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")):
        field = field.replace(code, character)
    return field


def find_cgroups(mountinfo: str | None = None, membership: str | None = None) -> Cgroups:
    """The groups to use: v1 where the cpu controller is a v1 one, else v2.

    Raises
    ------
    BackendUnavailable
        If there are none that this process may make groups in.
    """
    found = hierarchies(
        mountinfo if mountinfo is not None else Path("/proc/self/mountinfo").read_text(),
        membership if membership is not None else Path("/proc/self/cgroup").read_text(),
    )
    bases = {name: hierarchy.own for hierarchy in found for name in hierarchy.controllers}
    unified = next((hierarchy for hierarchy in found if hierarchy.unified), None)
    if "cpu" in bases and "cpuacct" in bases:
        usable = {name: base for name, base in bases.items() if os.access(base, os.W_OK)}
        if not {"cpu", "cpuacct"} <= usable.keys():
            raise BackendUnavailable("cgroups", f"become root, or have {bases['cpu']} given to this user")
        if unified is not None and os.access(unified.own, os.W_OK):
            return CgroupsHybrid(usable, unified.own)
        return CgroupsV1(usable)
    if unified is None:
        raise BackendUnavailable("cgroups", "mount them: mount -t cgroup2 none /sys/fs/cgroup")
    return CgroupsV2(_delegated(unified))


def _delegated(unified: Hierarchy) -> Path:
    """The innermost group around us that can have child groups with the cpu controller.

    A group that holds processes cannot hand controllers down, the root excepted; so it is seldom our
    own, more often one above it that was delegated to the user.
    """
    folder = unified.own
    while True:
        if os.access(folder, os.W_OK) and _hands_down_cpu(folder, folder == unified.folder):
            return folder
        if folder == unified.folder:
            break
        folder = folder.parent
    raise BackendUnavailable(
        "cgroups",
        "no group here may be written to and can hand the cpu controller down; start inside a delegated one, as in "
        "'systemd-run --user --scope -p Delegate=yes sh -c \"mkdir $CG/leaf; echo $$ > $CG/leaf/cgroup.procs; ...\"' "
        "with CG=/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup), or become root",
    )


def _hands_down_cpu(folder: Path, is_root: bool) -> bool:
    if "cpu" in cgroups.read(folder / "cgroup.subtree_control").split():
        return True
    occupied = bool(cgroups.read(folder / "cgroup.procs")) and not is_root
    return "cpu" in cgroups.read(folder / "cgroup.controllers").split() and not occupied
