"""Writing a file so that it appears whole or not at all."""

from __future__ import annotations

import gzip
import os
from pathlib import Path


def write_whole(path: Path, data: bytes) -> None:
    """Write ``data`` beside ``path`` and put it in its place; gzipped where the name ends in ``.gz``.

    Equal data give equal bytes: the gzip header holds no time.
    """
    if path.suffix == ".gz":
        data = gzip.compress(data, mtime=0)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        scratch.write_bytes(data)
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)
