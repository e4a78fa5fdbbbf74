"""Cgroup v1: one hierarchy for each controller, or for a few that are mounted together.

References
----------
Linux, Documentation/admin-guide/cgroup-v1/ (cpusets.rst, memory.rst, pids.rst, blkio-controller.rst),
Documentation/scheduler/sched-bwc.rst (quota, period, burst) and sched-design-CFS.rst (shares).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from virtsim.backends import cgroups
from virtsim.backends.cgroups import Write, flat_keyed, increase
from virtsim.core.errors import BackendError, BackendUnavailable
from virtsim.scenario.guest import Limits

GREATEST_SHARES = 262_144
LEAST_SHARES = 2
#: v1 controller, and its name in v2.
CONTROLLERS = {
    "cpu": "cpu",
    "cpuacct": "cpuacct",
    "cpuset": "cpuset",
    "memory": "memory",
    "pids": "pids",
    "blkio": "io",
}
GREATEST_IO_WEIGHT = 1000
GIVEN_BACK_S = 2.0


def shares(weight: int) -> int:
    """CPU shares of a v2 weight: 1024 for 100.

    >>> shares(100), shares(1), shares(10_000)
    (1024, 10, 102400)
    """
    return max(LEAST_SHARES, round(weight * 1024 / 100))


class CgroupsV1:
    """Groups in v1 hierarchies.

    Parameters
    ----------
    bases : dict of str to Path
        Folder of the base in the hierarchy of each v1 controller; controllers that are mounted
        together have the same.
    """

    version = "v1"
    tasks_beside_groups = True
    quotas_must_fit = True

    def __init__(self, bases: Mapping[str, Path]) -> None:
        self.bases = {name: base for name, base in bases.items() if name in CONTROLLERS}
        for needed in ("cpu", "cpuacct"):
            if needed not in self.bases:
                raise cgroups.missing(needed, "every run")
        self.controllers = frozenset(CONTROLLERS[name] for name in self.bases)

    def cpus(self) -> tuple[int, ...]:
        """CPUs that the base may use."""
        base = self.bases.get("cpuset")
        return cgroups.listed_cpus(cgroups.read(base / "cpuset.cpus") if base else "")

    def folder(self, controller: str, path: str) -> Path:
        """Folder of a group in one controller's hierarchy."""
        return self.bases[controller] / path

    def folders(self, path: str) -> list[Path]:
        """One folder in each hierarchy."""
        return list(dict.fromkeys(base / path for base in self.bases.values()))

    def create(self, path: str) -> None:
        """Make a group; its cpuset begins as that of the group around it, for it may not be empty."""
        for folder in self.folders(path):
            cgroups.make_folder(folder)
        if "cpuset" in self.bases:
            folder = self.folder("cpuset", path)
            for file in ("cpuset.cpus", "cpuset.mems"):
                if not cgroups.read(folder / file):
                    cgroups.write(folder / file, cgroups.read(folder.parent / file))

    def shield(self, path: str) -> None:
        """The greatest number of shares."""
        cgroups.write(self.folder("cpu", path) / "cpu.shares", str(GREATEST_SHARES))

    def limit(self, path: str, limits: Limits, more_pids: int) -> None:
        """Shares, cpuset, memory, pids, I/O weight."""
        if path.count("/"):
            cgroups.write(self.folder("cpu", path) / "cpu.shares", str(shares(limits.cpu_weight)))
        if limits.cpus is not None and "cpuset" in self.controllers:  # else the tasks' affinity alone does it
            cgroups.write(self._file("cpuset", path, "cpuset.cpus", "cpus"), str(limits.cpus))
        if limits.memory_max is not None:
            file = self._file("memory", path, "memory.limit_in_bytes", "memory_max")
            cgroups.write(file, str(limits.memory_max))
            swap = file.with_name("memory.memsw.limit_in_bytes")
            if swap.exists():
                cgroups.write(swap, str(limits.memory_max))
        if limits.pids_max is not None:
            cgroups.write(self._file("pids", path, "pids.max", "pids_max"), str(limits.pids_max + more_pids))
        if limits.io_weight is not None:
            self._weigh_io(path, limits.io_weight)

    def _file(self, controller: str, path: str, name: str, wanted_by: str) -> Path:
        if controller not in self.bases:
            raise cgroups.missing(controller, wanted_by)
        return self.folder(controller, path) / name

    def _weigh_io(self, path: str, weight: int) -> None:
        """BFQ's weight has the same scale as v2's, but ends at 1000."""
        file = self._file("blkio", path, "blkio.bfq.weight", "io_weight")
        if not file.exists():
            raise BackendUnavailable("I/O weight", "io_weight needs the BFQ I/O scheduler (blkio.bfq.weight)")
        if weight > GREATEST_IO_WEIGHT:
            raise BackendUnavailable("I/O weight", f"with cgroup v1 it is at most {GREATEST_IO_WEIGHT}, not {weight}")
        cgroups.write(file, str(weight))

    def allow_real_time(self, path: str, runtime_us: int) -> None:
        """Kernels with CONFIG_RT_GROUP_SCHED give a new group no real-time at all.

        What a removed group had is given back a little later, so this may have to wait.
        """
        file = self.folder("cpu", path) / "cpu.rt_runtime_us"
        end = time.monotonic() + GIVEN_BACK_S
        while file.exists():
            try:
                return cgroups.write(file, str(runtime_us))
            except BackendError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)
        return None

    def bandwidth(self, path: str, limits: Limits) -> list[Write]:
        """Period, quota, burst, in that order: a burst may not be larger than the quota."""
        if limits.cpu_max is None:
            return []
        folder = self.folder("cpu", path)
        writes = [
            Write(folder / "cpu.cfs_period_us", str(limits.cpu_max.period_ns // 1000)),
            Write(folder / "cpu.cfs_quota_us", str(limits.cpu_max.quota_ns // 1000)),
        ]
        if limits.cpu_burst:
            burst = folder / "cpu.cfs_burst_us"
            if not burst.exists():
                raise BackendUnavailable("CPU burst", "cpu_burst needs Linux 5.14 or later")
            writes.append(Write(burst, str(limits.cpu_burst // 1000)))
        return writes

    def lift(self, path: str) -> list[Write]:
        """No quota."""
        return [Write(self.folder("cpu", path) / "cpu.cfs_quota_us", "-1")]

    def joins(self, path: str) -> list[Path]:
        """cgroup.procs in each hierarchy."""
        return [folder / "cgroup.procs" for folder in self.folders(path)]

    def counters(self, path: str) -> dict[str, Path]:
        """CPU usage, bandwidth, memory."""
        files = {
            "cpuacct.usage": self.folder("cpuacct", path) / "cpuacct.usage",
            "cpu.stat": self.folder("cpu", path) / "cpu.stat",
        }
        if "memory" in self.bases:
            memory = self.folder("memory", path)
            files["memory.peak"] = memory / "memory.max_usage_in_bytes"
            files["memory.oom"] = memory / "memory.oom_control"
        return files

    def account(self, before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, Any]:
        """v1 counts in ns; the peak and the kills are those since the group was made."""
        old, new = flat_keyed(before.get("cpu.stat", "")), flat_keyed(after.get("cpu.stat", ""))
        return {
            "cpu_time_ns": int(after["cpuacct.usage"]) - int(before["cpuacct.usage"]),
            "periods": increase(old, new, "nr_periods"),
            "throttled_periods": increase(old, new, "nr_throttled"),
            "throttled_time_ns": increase(old, new, "throttled_time"),
            "bursts": increase(old, new, "nr_bursts"),
            "burst_time_ns": increase(old, new, "burst_time"),
            "memory_peak_bytes": int(after["memory.peak"]) if after.get("memory.peak") else None,
            "oom_kills": flat_keyed(after.get("memory.oom", "")).get("oom_kill"),
        }
