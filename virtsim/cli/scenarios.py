"""Scenario files and files of runs, as commands read them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from virtsim.core.errors import SpecError

if TYPE_CHECKING:
    from virtsim.results.run import Run
    from virtsim.scenario.scenario import Scenario


def load_scenario(path: Path) -> Scenario:
    """A scenario file; relative names of arrival files in it are meant from its own folder.

    Raises
    ------
    SpecError
        One line that names the file and the field.
    """
    from virtsim.scenario.scenario import Scenario

    scenario = Scenario.load(path)
    folder = os.path.relpath(path.parent)
    if folder == ".":
        return scenario
    data = scenario.to_builtins()
    return Scenario.from_builtins(data, str(path)) if _move(data, folder) else scenario


def _move(node: Any, folder: str) -> bool:
    """Put ``folder`` before every relative ``file(...)``; tells whether there was one."""
    moved = False
    for item in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        moved |= _move(item, folder)
    text = node.get("arrivals") if isinstance(node, dict) else None
    if isinstance(text, str) and text.startswith("file(") and not os.path.isabs(text[5:-1]):
        node["arrivals"] = f"file({os.path.join(folder, text[5:-1])})"
        moved = True
    return moved


def load_some_runs(paths: Iterable[Path]) -> list[Run]:
    """The runs of files, or of folders that a sweep has saved; at least one.

    Raises
    ------
    SpecError
        If a file cannot be read, is not one of runs, or holds none.
    """
    runs = [run for path in paths for run in _runs(path)]
    if not runs:
        raise SpecError(", ".join(map(str, paths)), "there are no runs in it")
    return runs


def _runs(path: Path) -> Iterator[Run]:
    from virtsim.results.runset import RunSet
    from virtsim.results.store import load_runs

    return iter(RunSet.load(path)) if path.is_dir() else load_runs(path)
