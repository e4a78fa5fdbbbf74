"""An experiment's cases: one function of its ``run.py`` with many sets of arguments, each kept when it is finished."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import msgspec

from virtsim.core.data import user_folder
from virtsim.core.errors import SpecError, VirtsimError
from virtsim.core.files import write_whole
from virtsim.core.spec import encode_json
from virtsim.experiment.code import code_digest, files_digest, text_digest
from virtsim.experiment.engines import engine_for, worker_count
from virtsim.experiment.progress import Show, track

#: Where finished cases are, in the folder of an experiment's results.
FINISHED = "finished"


@dataclass(frozen=True)
class Script:
    """A ``run.py`` at one state of its text, so that every process calls the same function."""

    path: Path
    digest: str

    @classmethod
    def open(cls, path: Path) -> Script:
        """The file as it is now."""
        return cls(path.resolve(), files_digest([path]))

    def load(self) -> ModuleType:
        """The script as a module of its own; executed once in a process.

        Raises
        ------
        SpecError
            If the file has changed since it was opened.
        """
        return _execute(self)


@dataclass(frozen=True)
class Case:
    """One call, as data that crosses process borders, and where its result is kept.

    Attributes
    ----------
    script : Script
        Where the function is.
    function : str
        Its name.
    arguments : bytes
        Keyword arguments, as JSON.
    file : Path
        Where the result is written, or found.
    """

    script: Script
    function: str
    arguments: bytes
    file: Path

    def run(self) -> bytes:
        """The result, as JSON; written to the case's file before anyone is told."""
        function = getattr(self.script.load(), self.function)
        try:
            data = encode_json(function(**msgspec.json.decode(self.arguments)))
        except VirtsimError as problem:
            problem.add_note(f"in {self.function} with {self.arguments.decode()}")
            raise
        write_whole(self.file, data)
        return data

    def finished(self) -> bytes | None:
        """The result that an earlier run has left; a damaged one does not count."""
        try:
            data = self.file.read_bytes()
            msgspec.json.decode(data)
        except (OSError, msgspec.DecodeError):
            return None
        return data


class CaseResults(NamedTuple):
    """Results of cases in their order, and how many of them an earlier run had left."""

    results: list[Any]
    kept: int


def plan_cases(
    script: Script,
    function: Callable[..., Any],
    arguments: Iterable[Mapping[str, Any]],
    folder: Path,
    inputs: Sequence[Path | str] = (),
) -> list[Case]:
    """The cases; a file's name says code, inputs and arguments, so what differs in any is another file.

    Raises
    ------
    SpecError
        If the function is not one that other processes find by its name, or an input cannot be read.
    """
    name = getattr(function, "__name__", str(function))
    if getattr(script.load(), name, None) is not function:
        raise SpecError("cases", f"{name} is not a function of {script.path.name}; define it at the top of that file")
    cards = files_digest(user_folder().rglob("*.toml"), user_folder())
    common = [code_digest(), script.digest, _inputs_digest(inputs), cards, name]
    cases = []
    for each in arguments:
        data = encode_json(dict(each))
        key = text_digest([*common, data.decode()])
        cases.append(Case(script, name, data, folder.absolute() / FINISHED / f"{key}.json"))
    return cases


def run_cases(cases: Sequence[Case], workers: int, label: str, show: Show) -> CaseResults:
    """Results of all cases; those that exist are read, the others made on ``workers`` processes."""
    different = {case.file: case for case in cases}
    found = {file: data for file, case in different.items() if (data := case.finished()) is not None}
    missing = [case for file, case in different.items() if file not in found]
    kept = len(found)
    for case in cases[:1]:
        case.file.parent.mkdir(parents=True, exist_ok=True)
    workers = min(worker_count(workers), max(len(missing), 1))
    done = engine_for(None, workers)(missing, workers)
    for number, data in track(done, label, len(different), show, done=kept):
        found[missing[number].file] = data
    # All are decoded, so that a case that was just made is to the last bit one that was found.
    return CaseResults([msgspec.json.decode(found[case.file]) for case in cases], kept)


def _inputs_digest(inputs: Sequence[Path | str]) -> str:
    try:
        return files_digest(Path(path) for path in inputs)
    except OSError as problem:
        raise SpecError("cases", f"the input {problem.filename} cannot be read: {problem.strerror}") from None


@lru_cache(maxsize=4)
def _execute(script: Script) -> ModuleType:
    if files_digest([script.path]) != script.digest:
        raise SpecError(str(script.path), "has changed while its cases ran; start the experiment again")
    name = "virtsim_experiment_" + script.path.parent.name.replace("-", "_")
    spec = importlib.util.spec_from_file_location(name, script.path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
