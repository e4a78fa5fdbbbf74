"""Which of its two speeds the scheduler's heart runs at: compiled where it can be, interpreted everywhere.

A module with a ``.pxd`` file beside it is compiled at install if there is a C compiler; the import system
prefers what is compiled. This file steps in where that must not happen: when ``VIRTSIM_INTERPRETED`` is
set, when only a part was compiled, and when a source has changed since. The heart is then interpreted as
a whole. Results are the same at both speeds, to the bit.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec
from pathlib import Path
from types import ModuleType
from zlib import crc32

#: Set to anything but nothing and 0, it has the heart interpreted.
ENVIRONMENT = "VIRTSIM_INTERPRETED"
#: Folders of the package in which modules are compiled.
FOLDERS = ("core", "scheduling", "scheduling/policies", "cluster/cloudsim")
#: The module that says what all were compiled from.
WITNESS = "virtsim.scheduling.events"


def sources(package: Path) -> dict[str, Path]:
    """What is compiled: the source of each module, by its name, in the package's folder."""
    found = {}
    for folder in FOLDERS:
        for declared in sorted((package / folder).glob("*.pxd")):
            for suffix in (".pyx", ".py"):
                if declared.with_suffix(suffix).exists():
                    found[f"virtsim.{folder.replace('/', '.')}.{declared.stem}"] = declared.with_suffix(suffix)
                    break
    return found


def digest(package: Path) -> int:
    """A check sum of all that is compiled."""
    total = 0
    for folder in FOLDERS:
        for declared in sorted((package / folder).glob("*.pxd")):
            for suffix in (".pxd", ".pyx", ".py"):
                if declared.with_suffix(suffix).exists():
                    total = crc32(declared.with_suffix(suffix).read_bytes(), total)
    return total


class _Interpreted(MetaPathFinder):
    """Finds the Python files of modules that are compiled as well."""

    def __init__(self, files: dict[str, Path]) -> None:
        self.files = files

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        file = self.files.get(fullname)
        return None if file is None else importlib.util.spec_from_file_location(fullname, file.with_suffix(".py"))


def _compiled(source: Path) -> Path | None:
    for suffix in EXTENSION_SUFFIXES:
        file = source.with_name(source.stem + suffix)
        if file.exists():
            return file
    return None


def _obstacles(files: dict[str, Path], package: Path) -> Iterator[str]:
    """What keeps the heart from running compiled."""
    if os.environ.get(ENVIRONMENT, "0") not in ("", "0"):
        yield f"{ENVIRONMENT} is set"
    missing = [name for name, source in files.items() if _compiled(source) is None]
    if missing:
        yield "not compiled at install" if len(missing) == len(files) else f"not compiled: {', '.join(missing)}"
    elif _digest_compiled(files[WITNESS]) != digest(package):
        yield "a source has changed since it was compiled"


def _digest_compiled(source: Path) -> int:
    file = str(_compiled(source))
    loader = ExtensionFileLoader(WITNESS, file)
    spec = importlib.util.spec_from_file_location(WITNESS, file, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return int(module.DIGEST)


def choose() -> str:
    """Have the heart's modules interpreted if they cannot all be compiled; says why, or nothing."""
    package = Path(__file__).parent.parent
    files = sources(package)
    obstacle = next(_obstacles(files, package), "")
    if obstacle:
        sys.meta_path.insert(0, _Interpreted(files))
    return obstacle


#: Why the heart is interpreted; empty if it is compiled.
WHY_INTERPRETED = choose() if __name__ == "virtsim.core.variant" else ""
