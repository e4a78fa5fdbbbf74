"""The code that makes results, as a digest: what was finished by other code is not finished."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import virtsim
from virtsim.core.data import models_folder
from virtsim.results.manifest import package_versions

#: Sources of the package, whether it is compiled or not, and its cards.
_SOURCES = ("*.py", "*.pyx", "*.pxd", "*.c", "*.h")


@cache
def code_digest() -> str:
    """Digest of this package's sources and cards, and of the versions of Python and of the packages it computes with.

    The version's number alone would not do: in a checkout it stays while the code changes.
    """
    package = Path(virtsim.__file__).resolve().parent
    sources = [path for pattern in _SOURCES for path in package.rglob(pattern)]
    versions = [platform.python_version(), *(f"{name} {version}" for name, version in package_versions())]
    return text_digest([files_digest(sources, package), files_digest(models_folder().rglob("*.toml")), *versions])


def files_digest(paths: Iterable[Path], root: Path | None = None) -> str:
    """Digest of files' contents, with their names below ``root``, or their bare names, in any order."""
    lines = (f"{path.relative_to(root) if root else path.name} {_file_digest(path)}" for path in paths)
    return text_digest(sorted(lines))


def text_digest(parts: Iterable[str]) -> str:
    """Digest of texts in their order."""
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
