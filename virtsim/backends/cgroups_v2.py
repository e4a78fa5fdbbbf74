"""Cgroup v2: one hierarchy; a group's children get the controllers that it hands down.

References
----------
Linux, Documentation/admin-guide/cgroup-v2.rst (no internal processes, delegation, the files' meaning).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from virtsim.backends import cgroups
from virtsim.backends.cgroups import Write, flat_keyed, increase
from virtsim.core.errors import BackendError, BackendUnavailable
from virtsim.scenario.guest import Limits

GREATEST_WEIGHT = 10_000
WANTED = ("cpu", "cpuset", "memory", "pids", "io")
_PRESSURES = ("cpu.pressure", "memory.pressure", "io.pressure")


class CgroupsV2:
    """Groups below a folder of the unified hierarchy that we may write to.

    Parameters
    ----------
    base : Path
        Its controllers are handed down before the first group is made.
    """

    version = "v2"
    tasks_beside_groups = False
    quotas_must_fit = False

    def __init__(self, base: Path) -> None:
        self.base = base
        available = cgroups.read(base / "cgroup.controllers").split()
        self.controllers = frozenset(name for name in WANTED if name in available)

    def cpus(self) -> tuple[int, ...]:
        """CPUs that the base may use."""
        return cgroups.listed_cpus(cgroups.read(self.base / "cpuset.cpus.effective"))

    def folder(self, path: str) -> Path:
        """Folder of a group."""
        return self.base / path

    def folders(self, path: str) -> list[Path]:
        """The one folder."""
        return [self.folder(path)]

    def create(self, path: str) -> None:
        """Hand the controllers down from the group around, then make the group."""
        folder = self.folder(path)
        self.hand_down(folder.parent)
        cgroups.make_folder(folder)

    def hand_down(self, folder: Path) -> None:
        """Enable each controller for the children, one by one: a refused one must not cost the others."""
        enabled = cgroups.read(folder / "cgroup.subtree_control").split()
        for controller in WANTED:
            if controller in self.controllers and controller not in enabled:
                try:
                    cgroups.write(folder / "cgroup.subtree_control", f"+{controller}")
                except BackendError:
                    if controller == "cpu":
                        raise cgroups.missing("cpu", "every run") from None

    def shield(self, path: str) -> None:
        """The greatest weight."""
        cgroups.write(self._file("cpu", path, "cpu.weight", "every run"), str(GREATEST_WEIGHT))

    def limit(self, path: str, limits: Limits, more_pids: int) -> None:
        """Weight, cpuset, memory (without swap), pids, I/O weight."""
        if path.count("/"):
            cgroups.write(self._file("cpu", path, "cpu.weight", "cpu_weight"), str(limits.cpu_weight))
        if limits.cpus is not None and "cpuset" in self.controllers:  # else the tasks' affinity alone does it
            cgroups.write(self._file("cpuset", path, "cpuset.cpus", "cpus"), str(limits.cpus))
        if limits.memory_max is not None:
            cgroups.write(self._file("memory", path, "memory.max", "memory_max"), str(limits.memory_max))
            swap = self.folder(path) / "memory.swap.max"
            if swap.exists():
                cgroups.write(swap, "0")
        if limits.pids_max is not None:
            cgroups.write(self._file("pids", path, "pids.max", "pids_max"), str(limits.pids_max + more_pids))
        if limits.io_weight is not None:
            cgroups.write(self._file("io", path, "io.weight", "io_weight"), f"default {limits.io_weight}")

    def _file(self, controller: str, path: str, name: str, wanted_by: str) -> Path:
        file = self.folder(path) / name
        if controller not in self.controllers or not file.exists():
            raise cgroups.missing(controller, wanted_by)
        return file

    def allow_real_time(self, path: str, runtime_us: int) -> None:
        """v2 does not ration real-time."""

    def bandwidth(self, path: str, limits: Limits) -> list[Write]:
        """Quota and period in one, then the burst."""
        if limits.cpu_max is None:
            return []
        quota_us, period_us = limits.cpu_max.quota_ns // 1000, limits.cpu_max.period_ns // 1000
        writes = [Write(self._file("cpu", path, "cpu.max", "cpu_max"), f"{quota_us} {period_us}")]
        if limits.cpu_burst:
            burst = self.folder(path) / "cpu.max.burst"
            if not burst.exists():
                raise BackendUnavailable("CPU burst", "cpu_burst needs Linux 5.14 or later")
            writes.append(Write(burst, str(limits.cpu_burst // 1000)))
        return writes

    def lift(self, path: str) -> list[Write]:
        """No quota."""
        return [Write(self.folder(path) / "cpu.max", "max")]

    def joins(self, path: str) -> list[Path]:
        """The group's cgroup.procs."""
        return [self.folder(path) / "cgroup.procs"]

    def counters(self, path: str) -> dict[str, Path]:
        """CPU, memory and pressure."""
        folder = self.folder(path)
        files = {"cpu.stat": folder / "cpu.stat"}
        if "memory" in self.controllers:
            files |= {"memory.peak": folder / "memory.peak", "memory.events": folder / "memory.events"}
        return files | self.pressures(path)

    def pressures(self, path: str) -> dict[str, Path]:
        """The pressure-stall files; every group of v2 has them, with or without controllers."""
        return {name: self.folder(path) / name for name in _PRESSURES if (self.base / name).exists()}

    def account(self, before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, Any]:
        """v2 counts in us; the peak and the kills are those since the group was made."""
        old, new = flat_keyed(before.get("cpu.stat", "")), flat_keyed(after.get("cpu.stat", ""))

        def ns(key: str) -> int | None:
            grown_us = increase(old, new, key)
            return None if grown_us is None else grown_us * 1000

        return {
            "cpu_time_ns": ns("usage_usec") or 0,
            "periods": increase(old, new, "nr_periods"),
            "throttled_periods": increase(old, new, "nr_throttled"),
            "throttled_time_ns": ns("throttled_usec"),
            "bursts": increase(old, new, "nr_bursts"),
            "burst_time_ns": ns("burst_usec"),
            "memory_peak_bytes": int(after["memory.peak"]) if after.get("memory.peak", "").strip().isdigit() else None,
            "oom_kills": flat_keyed(after.get("memory.events", "")).get("oom_kill"),
            "pressure_ns": cgroups.pressure_ns(before, after),
        }
