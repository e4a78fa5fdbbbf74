"""Which control groups are found, from recorded texts of /proc."""

from __future__ import annotations

from pathlib import Path

import pytest

from virtsim.backends.hierarchies import find_cgroups, hierarchies
from virtsim.core.errors import BackendUnavailable

_V1 = """30 24 0:26 / /cg ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755
31 30 0:27 / /cg/cpu,cpuacct rw shared:10 - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /cg/memory rw shared:11 - cgroup cgroup rw,memory
33 30 0:29 / /cg/systemd rw shared:12 - cgroup cgroup rw,xattr,name=systemd
34 30 0:30 / /cg/unified rw shared:13 - cgroup2 cgroup2 rw,nsdelegate
"""
_MEMBERSHIP = "5:cpu,cpuacct:/a\n4:memory:/a/b\n1:name=systemd:/\n0::/u\n"


def test_controllers_mounted_together_share_a_folder() -> None:
    found = {hierarchy.controllers: hierarchy for hierarchy in hierarchies(_V1, _MEMBERSHIP)}
    assert found["cpu", "cpuacct"].own == Path("/cg/cpu,cpuacct/a")
    assert found["memory",].own == Path("/cg/memory/a/b")
    assert found[()].own == Path("/cg/unified/u")
    assert found[()].unified
    assert len(found) == 3


def test_inside_a_container_the_path_is_counted_from_the_mount() -> None:
    mount = "31 30 0:27 /docker/x /cg/cpu rw - cgroup cgroup rw,cpu\n"
    (found,) = hierarchies(mount, "5:cpu:/docker/x/y\n")
    assert found.own == Path("/cg/cpu/y")


def test_a_mount_point_with_a_space() -> None:
    (found,) = hierarchies("31 30 0:27 / /my\\040groups rw - cgroup2 none rw\n", "0::/\n")
    assert found.folder == Path("/my groups")


def test_nothing_mounted_says_what_to_do() -> None:
    with pytest.raises(BackendUnavailable, match="mount -t cgroup2"):
        find_cgroups("", "0::/\n")


def _v2(tmp_path: Path, folders: dict[str, tuple[str, str, str]], own: str) -> object:
    """Folders with (controllers, subtree_control, procs)."""
    for name, (controllers, handed_down, procs) in folders.items():
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cgroup.controllers").write_text(controllers)
        (folder / "cgroup.subtree_control").write_text(handed_down)
        (folder / "cgroup.procs").write_text(procs)
    return find_cgroups(f"31 30 0:27 / {tmp_path} rw - cgroup2 none rw\n", f"0::/{own}\n")


def test_the_innermost_group_that_can_hand_down_the_cpu_is_the_base(tmp_path: Path) -> None:
    folders = {
        ".": ("cpu memory", "cpu memory", ""),
        "user": ("cpu memory", "cpu memory", ""),
        "user/session": ("cpu memory", "", "1234\n"),
    }
    found = _v2(tmp_path, folders, "user/session")
    assert found.version == "v2"  # type: ignore[attr-defined]
    assert found.base == tmp_path / "user"  # type: ignore[attr-defined]
    assert found.controllers == {"cpu", "memory"}  # type: ignore[attr-defined]


def test_the_root_may_hold_processes(tmp_path: Path) -> None:
    found = _v2(tmp_path, {".": ("cpu", "", "1\n2\n")}, "")
    assert found.base == tmp_path / "."  # type: ignore[attr-defined]


def test_without_a_group_that_can_the_error_tells_how_to_get_one(tmp_path: Path) -> None:
    folders = {".": ("hugetlb", "", ""), "a": ("hugetlb", "", "")}
    with pytest.raises(BackendUnavailable, match="Delegate=yes"):
        _v2(tmp_path, folders, "a")
