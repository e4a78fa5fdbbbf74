"""Facts about this kernel and machine that a run's manifest records."""

from __future__ import annotations

import gzip
import os
import platform
import re
from pathlib import Path
from typing import Any

_SYSCTLS = (
    "sched_autogroup_enabled",
    "sched_cfs_bandwidth_slice_us",
    "sched_rt_runtime_us",
    "sched_schedstats",
    "timer_migration",
)


def facts() -> dict[str, Any]:
    """Kernel, processor and scheduler, as far as they can be read; what cannot is left out."""
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
        "base_slice_ns": _number(_read("/sys/kernel/debug/sched/base_slice_ns")),
        "scheduler_features": _read("/sys/kernel/debug/sched/features"),
        "preemption": _chosen(_read("/sys/kernel/debug/sched/preempt")),
    }
    found |= {name: _number(_read(f"/proc/sys/kernel/{name}")) for name in _SYSCTLS}
    return {name: value for name, value in found.items() if value not in (None, "")}


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
