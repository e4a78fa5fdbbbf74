"""How a result was made: versions, machine, time, command, what was run."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import virtsim

#: Packages whose version can change a result or its file.
PACKAGES = ("simpy", "numpy", "msgspec", "networkx", "scipy", "pandas", "joblib", "matplotlib")


def make_manifest(**entries: Any) -> dict[str, Any]:
    """A manifest of this process, now, with further ``entries`` (seed, digest of the spec, parameters).

    It names the kernel and the processor, not the host or the user: it is made to be published.

    Returns
    -------
    dict
        JSON-ready: virtsim, python, packages, platform, command, started (ISO 8601, UTC), and the entries.
    """
    return {
        "virtsim": virtsim.__version__,
        "python": platform.python_version(),
        "packages": dict(package_versions()),
        "platform": {
            "system": platform.system(),
            "kernel": platform.release(),
            "machine": platform.machine(),
            "cpu": _cpu_model(),
            "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        },
        "command": [os.path.basename(sys.argv[0] or "python"), *sys.argv[1:]],
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **entries,
    }


def package_versions() -> Iterator[tuple[str, str]]:
    """The installed ones of :data:`PACKAGES`, each with its version."""
    from importlib.metadata import PackageNotFoundError, version

    for name in PACKAGES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return platform.processor() or "unknown"
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown")
