"""Tables of guests as Azure and Google publish them: id, start, end, cores, memory, utilisation.

References
----------
E. Cortez et al., "Resource Central: understanding and predicting workloads for improved resource management in
large cloud platforms", SOSP 2017 (Azure); M. Tirmazi et al., "Borg: the next generation", EuroSys 2020 (Google).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from virtsim.cluster.traces.traces import Traces
from virtsim.core.errors import SpecError
from virtsim.core.units import NS_PER_S

#: Default names of the columns; all other columns are ignored.
COLUMNS = {
    "id": "id",
    "start": "start",
    "end": "end",
    "cores": "cores",
    "memory": "ram_gib",
    "utilisation": "utilisation",
}


def read_table(
    path: Path | str,
    columns: Mapping[str, str] | None = None,
    step: int = 300 * NS_PER_S,
) -> Traces:
    """A CSV file with a row a guest; its utilisation is constant over its life.

    Parameters
    ----------
    path : path
        The file, with a heading.
    columns : mapping, optional
        Names of the columns where they differ from :data:`COLUMNS`: ``{"id": "vmid", "memory": "vmmemory"}``.
        Start and end are seconds, memory is GiB, utilisation is percent.
    step : int, ns
        Time between samples of the result.

    Raises
    ------
    SpecError
        If a column is missing, a value is not a number, or a guest ends before it starts; names the line.
    """
    unknown = set(columns or ()) - set(COLUMNS)
    if unknown:
        raise SpecError("columns", f"there is no field {sorted(unknown)[0]!r}; known: {', '.join(COLUMNS)}")
    names = {**COLUMNS, **(columns or {})}
    try:
        with Path(path).open(newline="") as text:
            reader = csv.DictReader(text)
            missing = [name for name in names.values() if name not in (reader.fieldnames or [])]
            if missing:
                raise SpecError(
                    str(path), f"there is no column {missing[0]!r}; say with columns what it is called here"
                )
            rows = [_row(line, record, names, path) for line, record in enumerate(reader, start=2)]
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        reason = getattr(problem, "strerror", None) or str(problem)
        raise SpecError(str(path), f"the table cannot be read: {reason}") from None
    if not rows:
        raise SpecError(str(path), "the table has no rows")
    first = min(row[1] for row in rows)
    start = np.array([round((row[1] - first) * NS_PER_S) for row in rows], dtype=np.int64)
    end = np.array([round((row[2] - first) * NS_PER_S) for row in rows], dtype=np.int64)
    samples = max(1, int(-(-int(end.max()) // step)))
    begins = step * np.arange(samples)
    alive = (begins[None, :] < end[:, None]) & (begins[None, :] + step > start[:, None])
    share = np.array([row[5] for row in rows]) / 100.0
    return Traces(
        name=Path(path).name,
        guests=[row[0] for row in rows],
        use=alive * share[:, None],
        step_ns=step,
        start_ns=start,
        end_ns=end,
        cores=np.array([row[3] for row in rows]),
        memory_bytes=np.array([round(row[4] * 2**30) for row in rows], dtype=np.int64),
    )


def _row(
    line: int, record: Mapping[str, str], names: Mapping[str, str], path: Path | str
) -> tuple[str, float, float, float, float, float]:
    values = []
    for field in ("start", "end", "cores", "memory", "utilisation"):
        try:
            value = float(record[names[field]])
        except (TypeError, ValueError):
            raise SpecError(f"{path} line {line}", f"{names[field]!r} is not a number") from None
        if not np.isfinite(value) or value < 0 or (field == "utilisation" and value > 100):
            raise SpecError(
                f"{path} line {line}",
                f"{names[field]!r} of guest {record[names['id']]!r} is {value:g}, which is out of range; times, cores "
                "and memory are at least 0, utilisation is 0 to 100 %: repair or drop the line",
            )
        values.append(value)
    if values[1] <= values[0]:
        raise SpecError(
            f"{path} line {line}", f"the guest ends at {values[1]:g} s, not after its start {values[0]:g} s"
        )
    return (record[names["id"]], values[0], values[1], values[2], values[3], values[4])
