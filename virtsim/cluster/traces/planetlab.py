"""PlanetLab days: CPU use of about a thousand VMs every five minutes.

References
----------
K. S. Park, V. S. Pai, "CoMon: a mostly-scalable monitoring system for PlanetLab", ACM SIGOPS OSR 40(1), 2006 (the
measurements); A. Beloglazov, R. Buyya, CCPE 24(13), 2012 (the ten days). Provenance: ``data/PLANETLAB.md``.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np

from virtsim.cluster.traces.traces import Traces
from virtsim.core.errors import SpecError
from virtsim.core.units import NS_PER_S

_STEP_NS = 300 * NS_PER_S


def planetlab_days(path: Path | str) -> list[str]:
    """Days in a file, as ``YYYYMMDD``, in order."""
    with _open(path) as archive:
        return sorted(name[1:] for name in archive.files if name[0] == "u" and name[1:].isdigit())


def read_planetlab(path: Path | str, day: str) -> Traces:
    """One day of an ``npz`` file with ``u<day>`` (percent, a row a VM) and, if it has them, ``names<day>``.

    Raises
    ------
    SpecError
        If the file cannot be read, has no such day, or holds something that is no percentage.
    """
    with _open(path) as archive:
        if f"u{day}" not in archive.files:
            days = ", ".join(sorted(name[1:] for name in archive.files if name[:1] == "u")) or "none"
            raise SpecError(str(path), f"has no day {str(day)[:20]!r}; days in it: {days}")
        try:
            percent = archive[f"u{day}"]
            names = bytes(archive[f"names{day}"]).decode().split("\n") if f"names{day}" in archive.files else []
        except (ValueError, OSError, zipfile.BadZipFile, UnicodeDecodeError) as problem:
            raise SpecError(str(path), f"day {day} cannot be read: {problem}") from None
    if percent.ndim != 2 or percent.dtype.kind not in "uif":
        raise SpecError(str(path), f"day {day} is not a table of numbers")
    if len(names) != len(percent):
        names = [f"vm{i}" for i in range(len(percent))]
    return Traces(name=f"planetlab {day}", guests=names, use=percent / 100.0, step_ns=_STEP_NS)


def _open(path: Path | str) -> np.lib.npyio.NpzFile:
    try:
        # Through memory: a broken archive must not leave its file open.
        archive = np.load(io.BytesIO(Path(path).read_bytes()), allow_pickle=False)
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as problem:
        # NumPy takes whatever it does not know for pickled objects, and advises to load them: never.
        reason = getattr(problem, "strerror", None) or "it is no NumPy file"
        raise SpecError(str(path), f"the traces cannot be read: {reason}; give a NumPy .npz file") from None
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise SpecError(str(path), "the traces are not an .npz file")
    return archive
