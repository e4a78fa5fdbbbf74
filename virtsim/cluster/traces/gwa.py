"""Bitbrains traces of the Grid Workloads Archive (GWA-T-12): a CSV file per VM.

References
----------
S. Shen, V. van Beek, A. Iosup, "Statistical characterization of business-critical workloads hosted in cloud
datacenters", CCGrid 2015; http://gwa.ewi.tudelft.nl/datasets/gwa-t-12-bitbrains. Columns are separated by
``;`` and a tab; times are seconds since the epoch although the heading says milliseconds.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from virtsim.cluster.traces.traces import Floats, Traces
from virtsim.core.errors import SpecError
from virtsim.core.units import NS_PER_S

_TIME, _CORES = "Timestamp", "CPU cores"
_PERCENT = "CPU usage [%]"
_MEMORY_KB, _MEMORY_USED_KB = "Memory capacity provisioned [KB]", "Memory usage [KB]"
# Sampling by a hypervisor reports up to a few percent more than was provisioned; that counts as all of it.
_OVERSHOOT_PERCENT = 10.0


def read_gwa(path: Path | str, step: int = 300 * NS_PER_S, limit: int | None = None) -> Traces:
    """All ``*.csv`` files of a folder, or one file, on a common grid.

    Parameters
    ----------
    path : path
        Folder or file.
    step : int, ns
        Time between samples of the result; every grid point takes the last sample at or before it.
    limit : int, optional
        Read only so many VMs, in the order of their numbers.

    Raises
    ------
    SpecError
        If a column is missing or a value is not what its column says; names file and line.
    """
    path = Path(path)
    files = sorted(path.glob("*.csv"), key=lambda f: (len(f.stem), f.stem)) if path.is_dir() else [path]
    if not files:
        raise SpecError(str(path), "there is no *.csv file in this folder")
    vms = [_read_vm(file) for file in files[:limit]]
    first = min(float(vm["time"][0]) for vm in vms)
    last = max(float(vm["time"][-1]) for vm in vms)
    step_s = step / NS_PER_S
    samples = int((last - first) // step_s) + 1
    grid = first + step_s * np.arange(samples)
    use, memory_use = np.zeros((len(vms), samples)), np.zeros((len(vms), samples))
    for row, vm in enumerate(vms):
        at = np.searchsorted(vm["time"], grid, side="right") - 1
        use[row] = np.where(at >= 0, vm["use"][at], 0.0)
        memory_use[row] = np.where(at >= 0, vm["memory_use"][at], 0.0)
    start = [int((float(vm["time"][0]) - first) // step_s) for vm in vms]
    end = [int((float(vm["time"][-1]) - first) // step_s) + 1 for vm in vms]
    return Traces(
        name=f"gwa {path.name}",
        guests=[file.stem for file in files[: len(vms)]],
        use=use,
        step_ns=step,
        start_ns=np.array(start, dtype=np.int64) * step,
        end_ns=np.array(end, dtype=np.int64) * step,
        cores=np.array([float(vm["cores"][0]) for vm in vms]),
        memory_bytes=np.array([int(vm["memory"][0]) for vm in vms], dtype=np.int64),
        memory_use=memory_use,
    )


def _read_vm(file: Path) -> dict[str, Floats]:
    try:
        with file.open(newline="") as text:
            rows = [[cell.strip() for cell in row] for row in csv.reader(text, delimiter=";")]
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise SpecError(str(file), f"the trace cannot be read: {problem}") from None
    if len(rows) < 2:
        raise SpecError(str(file), "the trace has no samples")
    head = rows[0]
    place = {}
    for wanted in (_TIME, _CORES, _PERCENT, _MEMORY_KB, _MEMORY_USED_KB):
        found = [i for i, name in enumerate(head) if name.startswith(wanted)]
        if not found:
            raise SpecError(str(file), f"there is no column {wanted!r}; is this a GWA-T-12 file?")
        place[wanted] = found[0]
    table = np.empty((len(rows) - 1, len(place)))
    for i, row in enumerate(rows[1:]):
        for j, column in enumerate(place.values()):
            try:
                table[i, j] = float(row[column])
            except (ValueError, IndexError):
                raise SpecError(f"{file} line {i + 2}", f"{head[column]!r} is not a number") from None
    return _checked(file, table)


def _checked(file: Path, table: Floats) -> dict[str, Floats]:
    time, cores, percent, memory_kb, used_kb = table.T
    bad = ~np.isfinite(table).all(axis=1) | (percent < 0) | (percent > 100 + _OVERSHOOT_PERCENT)
    bad |= np.concatenate([[False], np.diff(time) <= 0]) | (cores <= 0)
    if bad.any():
        line = int(bad.argmax()) + 2
        raise SpecError(
            f"{file} line {line}",
            f"CPU usage of {percent[line - 2]:g} % at {time[line - 2]:g} with {cores[line - 2]:g} cores: usage must be "
            "0 to 100 %, times must grow, cores be more than 0",
        )
    largest = max(float(memory_kb.max()), float(used_kb.max()), 1.0)
    return {
        "time": time,
        "cores": cores,
        "use": np.minimum(percent / 100.0, 1.0),
        "memory": np.full(len(time), float(memory_kb.max()) * 1024),
        "memory_use": np.clip(used_kb / largest, 0.0, 1.0),
    }
