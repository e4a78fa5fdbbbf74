"""Facts about this kernel and machine that a run's manifest records."""

from __future__ import annotations

import gzip
import os
import platform
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

_SYSCTLS = (
    "sched_autogroup_enabled",
    "sched_cfs_bandwidth_slice_us",
    "sched_rt_runtime_us",
    "sched_schedstats",
    "timer_migration",
)

#: Monitors by the signature that CPUID tells in leaf 0x40000000.
_MONITORS = {
    "KVMKVMKVM": "KVM",
    "Linux KVM Hv": "KVM",
    "Microsoft Hv": "Hyper-V",
    "TCGTCGTCGTCG": "QEMU",
    "VBoxVBoxVBox": "VirtualBox",
    "VMwareVMware": "VMware",
    "XenVMMXenVMM": "Xen",
    "bhyve bhyve": "bhyve",
}


def facts(runner: Path) -> dict[str, Any]:
    """Kernel, processor and scheduler, as far as they can be read; what cannot is left out.

    Parameters
    ----------
    runner : Path
        The compiled runner, which looks into debugfs in a mount namespace of its own.
    """
    found: dict[str, Any] = {
        "release": os.uname().release,
        "version": os.uname().version,
        "machine": os.uname().machine,
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "cpu_model": _cpu_model(),
        "hz": tick_rate(),
        "clock_source": _read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "huge_pages": _chosen(_read("/sys/kernel/mm/transparent_hugepage/enabled")),
        "timer_slack_ns": _number(_read("/proc/self/timerslack_ns")),
        "cpu_governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "bpf_jit": _number(_read("/proc/sys/net/core/bpf_jit_enable")),
        "cpu_mhz": _cpu_mhz(),
        "preemption": _chosen(_read("/sys/kernel/debug/sched/preempt")),
        "rt_group_sched": _groups_real_time(),
        "vcpu_pack": _packs_vcpus(),
        "monitor": monitor(runner),
    }
    found |= scheduler(runner)
    found |= {name: _number(_read(f"/proc/sys/kernel/{name}")) for name in _SYSCTLS}
    return {name: value for name, value in found.items() if value not in (None, "")}


@cache
def scheduler(runner: Path) -> dict[str, str]:
    """Settings of the scheduler from the head of its ``sched/debug``; empty where that is out of reach."""
    done = subprocess.run([runner, "scheduler"], capture_output=True, text=True, check=False)
    settings = re.findall(r"^\s*\.(sysctl_\w+)\s*:\s*(\S.*)$", done.stdout, re.MULTILINE)
    return {name.removeprefix("sysctl_"): value.strip() for name, value in settings}


def monitor(runner: Path) -> str:
    """The monitor that this machine is a virtual machine of; empty on the bare machine."""
    told = re.search(r"^monitor (.*)$", _machine(runner), re.MULTILINE)
    if told:
        signature = told[1].strip()
        return _MONITORS.get(signature, signature)
    if found := _read("/sys/hypervisor/type"):
        return found
    flagged = re.search(r"^flags\s*:.*\bhypervisor\b", _read("/proc/cpuinfo"), re.MULTILINE)
    return "an unknown monitor" if flagged else ""


def cpuid_ns(runner: Path) -> list[float]:
    """What CPUID takes, in several batches, ns; none where there is no such instruction."""
    told = re.search(r"^cpuid (.*)$", _machine(runner), re.MULTILINE)
    return [float(value) for value in told[1].split()] if told else []


@cache
def _machine(runner: Path) -> str:
    return subprocess.run([runner, "machine"], capture_output=True, text=True, errors="replace", check=False).stdout


def _groups_real_time() -> bool:
    """Whether groups of the cpu controller have a part of the real-time class's time (v1 only)."""
    mounts = [line.split() for line in _read("/proc/mounts").splitlines()]
    folders = [Path(fields[1]) for fields in mounts if fields[2] == "cgroup" and "cpu" in fields[3].split(",")]
    return any((folder / "cpu.rt_runtime_us").exists() for folder in folders)


def _packs_vcpus() -> bool:
    """Whether this kernel is one for guests that wakes no halted vCPU where another will do."""
    match = re.search(r"\bsched_vcpu_pack=(\d+)", _read("/proc/cmdline"))
    return match is not None and int(match[1]) > 0


def _cpu_mhz() -> float | None:
    match = re.search(r"^cpu MHz\s*: ([0-9.]+)$", _read("/proc/cpuinfo"), re.MULTILINE)
    return float(match[1]) if match else None


@cache
def tick_rate() -> int | None:
    """The kernel's HZ, from its configuration; None where that is not published."""
    for file in (Path("/proc/config.gz"), Path(f"/boot/config-{os.uname().release}")):
        try:
            data = file.read_bytes()
        except OSError:
            continue
        match = re.search(rb"^CONFIG_HZ=(\d+)$", gzip.decompress(data) if file.suffix == ".gz" else data, re.MULTILINE)
        if match:
            return int(match[1])
    return None


def _cpu_model() -> str:
    match = re.search(r"^model name\s*: (.*)$", _read("/proc/cpuinfo"), re.MULTILINE)
    return match[1] if match else platform.processor()


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _number(text: str) -> int | None:
    return int(text) if text.lstrip("-").isdigit() else None


def _chosen(text: str) -> str:
    """The word in brackets of "always [madvise] never"."""
    match = re.search(r"\[(\w+)\]|\((\w+)\)", text)
    return next(filter(None, match.groups()), "") if match else ""
