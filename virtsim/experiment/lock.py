"""A folder of results belongs to one run at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from virtsim.core.errors import SpecError

#: The file that says so, in the folder; it holds the number of the process.
RUNNING = "running"


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder; the kernel ends that with the process, however it ends.

    Raises
    ------
    SpecError
        If another run has it.
    """
    file = _locked(folder / RUNNING)
    try:
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
    finally:
        (folder / RUNNING).unlink(missing_ok=True)
        file.close()


def _locked(path: Path) -> IO[str]:
    while True:
        file = path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            process = file.read().strip()
            file.close()
            raise SpecError(
                "out",
                f"{path.parent} is in use by another run{f', process {process}' if process else ''}; wait for its end, "
                "or give another folder",
            ) from None
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            file.truncate(0)
            return file
        # Its last owner has just taken the file away.
        file.close()
