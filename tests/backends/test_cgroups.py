"""The protocol of v1, v2 and hybrid groups against a folder tree that makes control files as the kernel does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from virtsim.backends import cgroups
from virtsim.backends.cgroups import Cgroups
from virtsim.backends.cgroups_hybrid import CgroupsHybrid
from virtsim.backends.cgroups_v1 import CgroupsV1
from virtsim.backends.cgroups_v2 import CgroupsV2
from virtsim.backends.groups import RunGroups
from virtsim.core.errors import BackendError, BackendUnavailable
from virtsim.scenario.guest import Group, Guest, Limits
from virtsim.scenario.scenario import Scenario
from virtsim.workload.builders import spin

_FILES = {
    "cpu": ("cpu.shares", "cpu.cfs_period_us", "cpu.cfs_quota_us", "cpu.cfs_burst_us", "cpu.stat", "cpu.rt_runtime_us"),
    "cpuacct": ("cpuacct.usage",),
    "cpuset": ("cpuset.cpus", "cpuset.mems"),
    "memory": ("memory.limit_in_bytes", "memory.max_usage_in_bytes", "memory.oom_control"),
    "pids": ("pids.max",),
    "blkio": (),
    "v2": (
        "cgroup.controllers",
        "cgroup.subtree_control",
        *("cpu.weight", "cpu.max", "cpu.max.burst", "cpu.stat", "cpuset.cpus", "memory.max", "memory.swap.max"),
        *("memory.peak", "memory.events", "pids.max", "io.weight", "cpu.pressure", "memory.pressure", "io.pressure"),
    ),
}


class FakeKernel:
    """Makes the control files of a new group; notes nothing else."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        monkeypatch.setattr(cgroups, "make_folder", self.make)
        for hierarchy in _FILES:
            self.make(root / hierarchy)
        (root / "cpuset" / "cpuset.cpus").write_text("0-3\n")
        (root / "cpuset" / "cpuset.mems").write_text("0\n")
        for file in ("cgroup.controllers", "cgroup.subtree_control"):
            (root / "v2" / file).write_text("cpuset cpu io memory pids\n")

    def make(self, folder: Path) -> None:
        os.mkdir(folder)
        for file in (*_FILES[folder.relative_to(self.root).parts[0]], "cgroup.procs"):
            (folder / file).write_text("")
        if folder.is_relative_to(self.root / "v2") and folder != self.root / "v2":
            (folder / "cgroup.controllers").write_text((folder.parent / "cgroup.subtree_control").read_text())

    def v1(self) -> CgroupsV1:
        return CgroupsV1(self._bases())

    def v2(self) -> CgroupsV2:
        return CgroupsV2(self.root / "v2")

    def hybrid(self) -> CgroupsHybrid:
        return CgroupsHybrid(self._bases(), self.root / "v2")

    def _bases(self) -> dict[str, Path]:
        return {name: self.root / name for name in _FILES if name != "v2"}

    def __getitem__(self, path: str) -> str:
        return (self.root / path).read_text().strip()


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    return FakeKernel(tmp_path, monkeypatch)


_LIMITS: dict[str, Any] = {
    "cpu_weight": 250,
    "cpu_max": "30ms/100ms",
    "cpu_burst": "10ms",
    "cpus": "1-2",
    "memory_max": "64MiB",
    "pids_max": 10,
}


def test_v1_translates_the_limits(kernel: FakeKernel) -> None:
    groups = kernel.v1()
    groups.create("virtsim-1")
    groups.shield("virtsim-1")
    groups.create("virtsim-1/a")
    groups.limit("virtsim-1/a", Limits(**_LIMITS), 1)
    assert kernel["cpu/virtsim-1/cpu.shares"] == "262144"
    assert kernel["cpu/virtsim-1/a/cpu.shares"] == "2560"
    assert kernel["cpuset/virtsim-1/cpuset.cpus"] == "0-3"
    assert kernel["cpuset/virtsim-1/cpuset.mems"] == "0"
    assert kernel["cpuset/virtsim-1/a/cpuset.cpus"] == "1-2"
    assert kernel["memory/virtsim-1/a/memory.limit_in_bytes"] == str(64 << 20)
    assert kernel["pids/virtsim-1/a/pids.max"] == "11"
    written = [(w.path.name, w.text) for w in groups.bandwidth("virtsim-1/a", Limits(**_LIMITS))]
    assert written == [("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "30000"), ("cpu.cfs_burst_us", "10000")]
    assert [(w.path.name, w.text) for w in groups.lift("virtsim-1/a")] == [("cpu.cfs_quota_us", "-1")]


def test_v2_takes_the_limits_as_they_are(kernel: FakeKernel) -> None:
    groups = kernel.v2()
    groups.create("virtsim-1")
    groups.shield("virtsim-1")
    (kernel.root / "v2/virtsim-1/cgroup.subtree_control").write_text("cpu cpuset memory pids io")
    groups.create("virtsim-1/a")
    groups.limit("virtsim-1/a", Limits(**_LIMITS, io_weight=70), 1)
    assert kernel["v2/virtsim-1/cpu.weight"] == "10000"
    assert kernel["v2/virtsim-1/a/cpu.weight"] == "250"
    assert kernel["v2/virtsim-1/a/cpuset.cpus"] == "1-2"
    assert kernel["v2/virtsim-1/a/memory.max"] == str(64 << 20)
    assert kernel["v2/virtsim-1/a/memory.swap.max"] == "0"
    assert kernel["v2/virtsim-1/a/pids.max"] == "11"
    assert kernel["v2/virtsim-1/a/io.weight"] == "default 70"
    written = [(w.path.name, w.text) for w in groups.bandwidth("virtsim-1/a", Limits(**_LIMITS))]
    assert written == [("cpu.max", "30000 100000"), ("cpu.max.burst", "10000")]


def test_v2_hands_controllers_down_one_by_one_before_it_makes_a_group(
    kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    (kernel.root / "v2/cgroup.subtree_control").write_text("cpu")
    written: list[str] = []

    def refuse_cpuset(path: Path, text: str) -> None:
        assert not (kernel.root / "v2/virtsim-1").exists()
        written.append(text)
        if text == "+cpuset":
            raise BackendError("refused")

    monkeypatch.setattr(cgroups, "write", refuse_cpuset)
    kernel.v2().create("virtsim-1")
    assert written == ["+cpuset", "+memory", "+pids", "+io"]


def test_v2_without_the_cpu_controller_is_an_error(kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, text: str) -> None:
        raise BackendError("refused")

    (kernel.root / "v2/cgroup.subtree_control").write_text("")
    monkeypatch.setattr(cgroups, "write", refuse)
    with pytest.raises(BackendUnavailable, match="cgroup controller cpu"):
        kernel.v2().create("virtsim-1")


def test_hybrid_groups_have_a_namesake_in_v2(kernel: FakeKernel) -> None:
    groups = kernel.hybrid()
    groups.create("virtsim-1")
    assert (kernel.root / "v2/virtsim-1").is_dir()
    assert kernel.root / "v2/virtsim-1/cgroup.procs" in groups.joins("virtsim-1")
    assert "cpu.pressure" in groups.counters("virtsim-1")


def test_v1_statistics_are_differences_in_ns() -> None:
    before = {"cpuacct.usage": "100\n", "cpu.stat": "nr_periods 1\nnr_throttled 0\nthrottled_time 5\n"}
    after = {
        "cpuacct.usage": "1100\n",
        "cpu.stat": "nr_periods 11\nnr_throttled 4\nthrottled_time 905\nnr_bursts 2\nburst_time 30\n",
        "memory.peak": "4096\n",
        "memory.oom": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    }
    account = CgroupsV1({"cpu": Path("/x"), "cpuacct": Path("/x")}).account(before, after)
    assert account == {
        "cpu_time_ns": 1000,
        "periods": 10,
        "throttled_periods": 4,
        "throttled_time_ns": 900,
        "bursts": 2,
        "burst_time_ns": 30,
        "memory_peak_bytes": 4096,
        "oom_kills": 2,
    }


def test_v2_statistics_are_differences_in_us() -> None:
    before = {"cpu.stat": "usage_usec 10\nnr_periods 1\nthrottled_usec 3\n", "cpu.pressure": "some avg10=0 total=5\n"}
    after = {
        "cpu.stat": "usage_usec 110\nnr_periods 4\nnr_throttled 1\nthrottled_usec 8\nnr_bursts 0\nburst_usec 0\n",
        "cpu.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=25\nfull avg10=0.00 total=2\n",
        "memory.peak": "8192\n",
        "memory.events": "low 0\noom 1\noom_kill 1\n",
    }
    account = CgroupsV2(Path("/nowhere")).account(before, after)
    assert account["cpu_time_ns"] == 100_000
    assert (account["periods"], account["throttled_periods"], account["throttled_time_ns"]) == (3, 1, 5000)
    assert (account["memory_peak_bytes"], account["oom_kills"]) == (8192, 1)
    assert account["pressure_ns"] == {"cpu.some": 20_000, "cpu.full": 2_000}


def test_what_a_kernel_does_not_count_stays_unknown() -> None:
    account = CgroupsV2(Path("/nowhere")).account({"cpu.stat": "usage_usec 1"}, {"cpu.stat": "usage_usec 2"})
    assert account["cpu_time_ns"] == 1000
    assert account["periods"] is account["bursts"] is account["memory_peak_bytes"] is account["oom_kills"] is None


def test_a_missing_controller_is_named_with_what_wants_it(kernel: FakeKernel) -> None:
    groups = CgroupsV1({"cpu": kernel.root / "cpu", "cpuacct": kernel.root / "cpuacct"})
    groups.create("virtsim-1")
    with pytest.raises(BackendUnavailable, match=r"cgroup controller memory.*memory_max needs it"):
        groups.limit("virtsim-1", Limits(memory_max="64MiB"), 0)
    with pytest.raises(BackendUnavailable, match="cgroup controller cpuacct"):
        CgroupsV1({"cpu": kernel.root / "cpu"})


def test_a_refused_write_names_file_and_text(kernel: FakeKernel) -> None:
    with pytest.raises(BackendError, match=r"cpu\.weight does not take '5'"):
        cgroups.write(kernel.root / "cpu.weight", "5")


def _scenario() -> Scenario:
    return Scenario(
        groups=[
            Group(name="pod", cpu_max="20ms/100ms", pids_max=5),
            Group(name="in", parent="pod", cpu_max="50ms/100ms"),
        ],
        guests=[
            Guest(name="n", stack="native", group="pod", workload=spin(2)),
            Guest(name="c", group="in", workload=spin(), cpu_max="50ms/200ms"),
            Guest(name="m", stack="native", workload=spin()),
        ],
        duration="1s",
    )


@pytest.mark.parametrize("version", ["v1", "hybrid", "v2"])
def test_the_tree_of_a_run(kernel: FakeKernel, version: str) -> None:
    groups: Cgroups = getattr(kernel, version)()
    run = RunGroups(groups, "virtsim-1", _scenario())
    leaf = "/guest-n" if version == "v2" else ""
    assert run.of_guest["n"] == f"virtsim-1/group-pod{leaf}"
    assert run.of_guest["c"] == "virtsim-1/group-pod/group-in/guest-c"
    assert run.leaves == (("n", "m") if version == "v2" else ())
    assert [path.count("/") for path in run.paths] == sorted(path.count("/") for path in run.paths) or run.leaves
    run.create()
    assert all(folder.is_dir() for folder in run.folders)
    if version == "v2":
        assert kernel["v2/virtsim-1/group-pod/guest-n/cpu.weight"] == "200"


def test_v1_quotas_are_cut_to_what_is_around_them(kernel: FakeKernel) -> None:
    run = RunGroups(kernel.v1(), "virtsim-1", _scenario())
    quotas = {w.path.parent.name: w.text for w in run.bandwidth() if w.path.name == "cpu.cfs_quota_us"}
    assert quotas == {"group-pod": "20000", "group-in": "20000", "guest-c": "40000"}
    assert run.clamped == ["in", "c"]


def test_a_v1_quota_that_would_be_cut_below_what_the_kernel_takes_is_that_of_the_group_around(
    kernel: FakeKernel,
) -> None:
    """6 % of 5 ms are 0.3 ms, of which the kernel makes no quota; 6 % of 50 ms are as much of a CPU."""
    scenario = Scenario(
        groups=[Group(name="outer", cpu_max="3ms/50ms")],
        guests=[Guest(name="c", group="outer", cpu_max="2ms/5ms", workload=spin())],
        duration="1s",
    )
    run = RunGroups(kernel.v1(), "virtsim-1", scenario)
    written = {(w.path.parent.name, w.path.name): w.text for w in run.bandwidth()}
    assert written["guest-c", "cpu.cfs_quota_us"] == "3000"
    assert written["guest-c", "cpu.cfs_period_us"] == "50000"


def test_v2_quotas_stay_as_they_are(kernel: FakeKernel) -> None:
    run = RunGroups(kernel.v2(), "virtsim-1", _scenario())
    run.create()
    assert [w.text for w in run.bandwidth()] == ["20000 100000", "50000 100000", "50000 200000"]
    assert run.clamped == []


def test_more_processes_are_allowed_for_the_first_of_each_guest(kernel: FakeKernel) -> None:
    run = RunGroups(kernel.v1(), "virtsim-1", _scenario())
    run.create()
    assert kernel["pids/virtsim-1/group-pod/pids.max"] == "7"


def test_real_time_is_shared_out(kernel: FakeKernel) -> None:
    task = {"name": "t", "policy": "fifo", "priority": 1, "program": [{"op": "compute", "work": "1ms"}]}
    guests = [{"name": name, "group": "g", "workload": {"tasks": [task]}, "cpu_max": "50%"} for name in ("a", "b")]
    scenario = Scenario.from_builtins({"groups": [{"name": "g"}], "guests": guests, "duration": "1s"})
    RunGroups(kernel.v1(), "virtsim-1", scenario).create()
    assert kernel["cpu/virtsim-1/cpu.rt_runtime_us"] == "950000"
    assert kernel["cpu/virtsim-1/group-g/cpu.rt_runtime_us"] == "950000"
    assert kernel["cpu/virtsim-1/group-g/guest-a/cpu.rt_runtime_us"] == "475000"


def test_groups_without_the_prefix_are_refused(kernel: FakeKernel) -> None:
    with pytest.raises(ValueError, match="must begin with"):
        RunGroups(kernel.v1(), "system.slice", _scenario())


def test_removal_goes_from_inside_out_and_forgives_what_is_gone(tmp_path: Path) -> None:
    outer, inner = tmp_path / "virtsim-1", tmp_path / "virtsim-1" / "guest-a"
    inner.mkdir(parents=True)
    assert cgroups.remove([outer, inner, tmp_path / "virtsim-gone"]) == []
    assert not outer.exists()
