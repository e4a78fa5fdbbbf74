"""Compiling the runner, once: with this machine's C compiler, into the user's cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from virtsim.backends.layout import RUNNER
from virtsim.core.errors import BackendUnavailable

FLAGS = ("-O2", "-std=gnu11", "-ffp-contract=off")
_NAME = "runner"


class Runner(NamedTuple):
    """A compiled runner.

    Attributes
    ----------
    path : Path
    static : bool
        Whether it needs no libraries, as a program must in a container's empty root.
    compiler : str
        First line of the compiler's version.
    digest : str
        Of sources, flags and compiler.
    """

    path: Path
    static: bool
    compiler: str
    digest: str


def cache_folder() -> Path:
    """Where compiled runners are kept: ``$XDG_CACHE_HOME/virtsim``, by default ``~/.cache/virtsim``."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "virtsim"


def find_compiler() -> str:
    """Path of the C compiler: ``$CC``, ``cc``, ``gcc`` or ``clang``."""
    for name in (os.environ.get("CC", ""), "cc", "gcc", "clang"):
        path = shutil.which(name) if name else None
        if path:
            return path
    raise BackendUnavailable("compiler", "install a C compiler (Debian: apt install gcc libc6-dev) or set CC to one")


def compiled_runner() -> Runner:
    """The runner for this source and this compiler; compiled if it is not in the cache yet.

    Raises
    ------
    BackendUnavailable
        If there is no compiler, or it cannot compile the runner.
    """
    compiler = find_compiler()
    version = _output([compiler, "--version"]).splitlines()[0]
    digest = _digest(version)
    folder = cache_folder()
    for static in (True, False):
        path = folder / f"{_NAME}-{digest}-{'static' if static else 'dynamic'}"
        if path.exists():
            return Runner(path, static, version, digest)
    return _compile(compiler, version, digest, folder)


def _digest(version: str) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for source in sorted(RUNNER.glob("*.[ch]")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    digest.update(" ".join((*FLAGS, version, os.uname().machine)).encode())
    return digest.hexdigest()


def _compile(compiler: str, version: str, digest: str, folder: Path) -> Runner:
    """Compile static, or else dynamic; the file appears in the cache whole or not at all."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix="build-", dir=folder))
    except OSError as problem:
        raise BackendUnavailable(
            "compiler", f"make {folder} writable, or set XDG_CACHE_HOME to a folder that is ({problem.strerror})"
        ) from None
    try:
        problems = []
        for static in (True, False):
            product = scratch / _NAME
            link = ["-static"] if static else []
            sources = map(str, sorted(RUNNER.glob("*.c")))
            command = [compiler, *FLAGS, *link, "-o", str(product), *sources, "-lm"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0 and _runs(product):
                path = folder / f"{_NAME}-{digest}-{'static' if static else 'dynamic'}"
                os.replace(product, path)
                return Runner(path, static, version, digest)
            problems.append((done.stderr.strip().splitlines() or ["the runner does not start"])[-1])
        raise BackendUnavailable("compiler", f"{compiler} could not make the runner: {problems[-1]}")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _runs(product: Path) -> bool:
    try:
        return subprocess.run([product, "exit"], check=False).returncode == 0
    except OSError:
        return False


def _output(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout or "?"
    except (OSError, subprocess.CalledProcessError):
        raise BackendUnavailable("compiler", f"{command[0]} does not work; install a C compiler") from None
