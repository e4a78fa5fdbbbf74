"""Runs on disk: JSON lines, one run a line, gzipped where the name ends in ``.gz``."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path

from virtsim.core.errors import SpecError
from virtsim.core.files import write_whole
from virtsim.core.spec import decode_json, encode_json
from virtsim.results.run import Run


def save_runs(path: Path | str, runs: Iterable[Run]) -> None:
    """Write runs; the file appears whole or not at all."""
    path = Path(path)
    data = b"".join(encode_json(run) + b"\n" for run in runs)
    write_whole(path, data)


def load_runs(path: Path | str) -> Iterator[Run]:
    """Read runs back, in order."""
    path = Path(path)
    try:
        data = path.read_bytes()
        lines = (gzip.decompress(data) if path.suffix == ".gz" else data).splitlines()
    except (OSError, EOFError, gzip.BadGzipFile) as problem:
        raise SpecError(str(path), f"the recorded runs cannot be read: {problem}") from None
    for number, line in enumerate(lines, start=1):
        yield decode_json(line, Run, f"{path} line {number}")
