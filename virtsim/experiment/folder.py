"""Experiment folders: one claim each, with what it needs to be run and checked again.

``experiments/NN-name/`` holds

- ``README.md``: the claim, why it holds, what the figures show;
- ``experiment.toml``: an :class:`ExperimentCard`;
- ``run.py`` with ``def run(context) -> None``, which records its results and writes its figures; long work is
  a function of that file with many sets of arguments, :meth:`Context.cases`;
- ``expected.json``: an :class:`Expectation` for each result that the claim rests on.
"""

from __future__ import annotations

import math
import shutil
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

import virtsim
from virtsim.core.errors import SpecError, VirtsimError
from virtsim.core.spec import Spec, Text, decode_json, encode_json, load_toml
from virtsim.experiment.cases import FINISHED, Script, plan_cases, run_cases
from virtsim.experiment.engines import worker_count
from virtsim.experiment.lock import held
from virtsim.experiment.progress import Show, track
from virtsim.results.manifest import make_manifest

T = TypeVar("T")


class ExperimentCard(Spec, frozen=True, kw_only=True):
    """What ``experiment.toml`` holds.

    Parameters
    ----------
    title : str
        One line.
    claim : str
        The one sentence that the experiment supports or refutes.
    full, quick : dict
        Parameters of the full and of the quick run; the quick ones are added to the full ones.
    needs : list of str
        Capabilities of the machine, as ``virtsim doctor`` names them.
    """

    title: Text
    claim: Text
    full: dict[str, Any] = {}
    quick: dict[str, Any] = {}
    needs: list[Text] = []

    def parameters(self, quick: bool) -> dict[str, Any]:
        """The parameters of a run."""
        return {**self.full, **self.quick} if quick else dict(self.full)


class Expectation(Spec, frozen=True, kw_only=True):
    """What a result should be: a value with tolerances, or bounds.

    Parameters
    ----------
    value : float, optional
        Expected value, met within ``relative`` of it plus ``absolute``.
    relative, absolute : float
        Tolerances, each at least 0.
    low, high : float, optional
        Bounds, inclusive, instead of a value.
    when : str
        ``always``, or only in ``full`` or ``quick`` runs.
    """

    value: float | None = None
    relative: Annotated[float, Meta(ge=0)] = 0.0
    absolute: Annotated[float, Meta(ge=0)] = 0.0
    low: float | None = None
    high: float | None = None
    when: Literal["always", "full", "quick"] = "always"

    def _check(self) -> None:
        if (self.value is None) == (self.low is None and self.high is None):
            raise ValueError("give either a value or bounds (low, high)")
        if self.value is None and (self.relative or self.absolute):
            raise ValueError("bounds have no tolerance")

    @property
    def bounds(self) -> tuple[float, float]:
        """Smallest and largest acceptable result."""
        if self.value is not None:
            margin = self.relative * abs(self.value) + self.absolute
            return self.value - margin, self.value + margin
        return (-math.inf if self.low is None else self.low), (math.inf if self.high is None else self.high)


class Check(NamedTuple):
    """One expectation against its result; ``result`` is None where the experiment recorded none."""

    name: str
    low: float
    high: float
    result: float | None

    @property
    def passed(self) -> bool:
        """Whether there is a result, within the bounds."""
        return self.result is not None and self.low <= self.result <= self.high


class ExperimentFolder(NamedTuple):
    """An experiment that can be run."""

    name: str
    path: Path
    card: ExperimentCard


class Outcome(NamedTuple):
    """What came of an experiment.

    Attributes
    ----------
    name : str
        Of the experiment.
    folder : Path
        Where its results, figures and manifest are.
    results : dict of str to float
        What it recorded.
    checks : list of Check
        Its expectations.
    cases, kept : int
        How many cases it has, and how many of them an earlier run had left.
    """

    name: str
    folder: Path
    results: dict[str, float]
    checks: list[Check]
    cases: int = 0
    kept: int = 0

    @property
    def passed(self) -> bool:
        """Whether all expectations are met."""
        return all(check.passed for check in self.checks)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{c.name}</td><td>{'missing' if c.result is None else f'{c.result:.6g}'}</td>"
            f"<td>{c.low:.6g} to {c.high:.6g}</td><td>{'met' if c.passed else '<b>not met</b>'}</td></tr>"
            for c in self.checks
        )
        return f"<b>{self.name}</b><table><tr><th>result</th><th>is</th><th>expected</th><th></th></tr>{rows}</table>"


class Context:
    """What ``run(context)`` gets.

    Attributes
    ----------
    quick : bool
        Whether the quick run is wanted.
    folder : Path
        Where results and figures are written.
    source : Path
        The experiment's own folder, for data beside ``run.py``.
    seed : int
        Root seed.
    parameters : dict
        From ``experiment.toml``.
    results : dict of str to float
        What was recorded until now.
    workers : int
        Processes for :meth:`cases`, and for what :func:`~virtsim.experiment.replicate.replicate` is asked for.
    """

    def __init__(
        self,
        experiment: ExperimentFolder,
        folder: Path,
        quick: bool,
        seed: int,
        workers: int = 1,
        progress: Show = None,
    ) -> None:
        self.quick = quick
        self.folder = folder
        self.source = experiment.path
        self.seed = seed
        self.parameters = experiment.card.parameters(quick)
        self.results: dict[str, float] = {}
        self.workers = workers
        self.case_files: set[Path] = set()
        self.kept_count = 0
        self._progress = progress
        self._script = Script.open(experiment.path / "run.py")

    def record(self, name: str, value: float) -> None:
        """Note a result, which is kept in ``results.json`` and met with ``expected.json``."""
        value = float(value)
        if not math.isfinite(value):
            raise SpecError(name, f"{value} is not a finite number, so it is no result")
        self.results[name] = value
        _write(self.folder / "results.json", self.results)

    def progress(self, items: Iterable[T], label: str) -> Iterator[T]:
        """Iterate and show how far it is."""
        return track(items, label, show=self._progress)

    def cases(
        self,
        function: Callable[..., Any],
        cases: Iterable[Mapping[str, Any]],
        label: str = "cases",
        inputs: Sequence[Path | str] = (),
    ) -> list[Any]:
        """Results of ``function(**case)`` for each case, in their order, on the run's processes.

        Each result is kept when it is finished: a run that is started again goes on from there, or has them all if the
        last one came to its end. With another code, other inputs or other arguments (the seed is one of them) it starts
        anew.

        Parameters
        ----------
        function : callable
            A function of ``run.py``, found there by its name, whose result depends on its arguments, the code and
            ``inputs`` only.
        cases : iterable of mappings
            Its keyword arguments, of what JSON has.
        label : str
            What the cases are called while they run.
        inputs : sequence of paths
            Files that the function reads.

        Returns
        -------
        list
            What JSON makes of each result: numbers keep all their digits, tuples become lists.
        """
        plan = plan_cases(self._script, function, cases, self.folder, inputs)
        self.case_files |= {case.file for case in plan}
        found = run_cases(plan, self.workers, label, self._progress)
        self.kept_count += found.kept
        return found.results


def experiments_folder() -> Path:
    """``experiments`` in the working directory, or else beside the package in a source tree."""
    here = Path.cwd() / "experiments"
    return here if here.is_dir() else Path(virtsim.__file__).resolve().parents[1] / "experiments"


def list_experiments(root: Path | str | None = None) -> list[ExperimentFolder]:
    """The experiments in ``root``, or in :func:`experiments_folder`, by number.

    Raises
    ------
    SpecError
        If an ``experiment.toml`` is not acceptable.
    """
    root = Path(root) if root is not None else experiments_folder()
    cards = sorted(root.glob("[0-9]*-*/experiment.toml")) if root.is_dir() else []
    return [_open(card.parent) for card in cards]


def find_experiment(name_or_path: str | Path) -> ExperimentFolder:
    """An experiment by path, by ``NN-name``, by ``name`` or by ``NN``."""
    path = Path(name_or_path)
    if (path / "experiment.toml").is_file():
        return _open(path)
    known = list_experiments()
    for experiment in known:
        number, _, name = experiment.name.partition("-")
        if str(name_or_path) in (experiment.name, name, number, number.lstrip("0")):
            return experiment
    names = ", ".join(experiment.name for experiment in known) or "none"
    raise SpecError("experiment", f"no experiment is called {str(name_or_path)[:60]!r}; there are: {names}")


def run_experiment(
    name_or_path: str | Path,
    quick: bool = False,
    seed: int = 7,
    out: Path | str | None = None,
    workers: int = 1,
    progress: Show = None,
    fresh: bool = False,
) -> Outcome:
    """Run an experiment and check what it claims.

    One that was interrupted goes on with its unfinished cases (:meth:`Context.cases`), and one that came to its end has
    them all; they are kept in ``out/NN-name/finished``. What is there of other code, inputs or seeds is thrown away
    when a run comes to its end.

    Parameters
    ----------
    name_or_path : str or path
        See :func:`find_experiment`.
    quick : bool
        Smaller parameters: whether the experiment works, more than what it shows.
    seed : int
        Root seed.
    out : path, optional
        Where results go; ``out/NN-name`` if absent.
    workers : int
        Processes for the cases; -1 is one for each CPU. The results do not depend on it.
    progress : bool or "lines", optional
        See :func:`virtsim.experiment.progress.track`.
    fresh : bool
        Whether all cases are made anew, whatever earlier runs have kept.

    Returns
    -------
    Outcome
        Results and checks. ``manifest.json`` in its folder tells how they were made.

    Raises
    ------
    SpecError
        If the experiment's files are not acceptable, or another run has the folder; nothing was run then.
    Exception
        What ``run`` raised; the manifest holds it as well.
    """
    experiment = find_experiment(name_or_path)
    expected = _expectations(experiment.path / "expected.json")
    run = _load_run(experiment.path / "run.py")
    workers = worker_count(workers)
    folder = _out_folder(experiment, out)
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder):
        if fresh:
            shutil.rmtree(folder / FINISHED, ignore_errors=True)
        (folder / "results.json").unlink(missing_ok=True)
        return _run(experiment, run, expected, Context(experiment, folder, quick, seed, workers, progress))


def _run(
    experiment: ExperimentFolder,
    run: Callable[[Context], None],
    expected: dict[str, Expectation],
    context: Context,
) -> Outcome:
    """Run it, and write the manifest however that ends."""
    folder = context.folder
    manifest = make_manifest(
        experiment=experiment.name,
        quick=context.quick,
        seed=context.seed,
        parameters=context.parameters,
        claim=experiment.card.claim,
    )
    started = time.monotonic()
    try:
        run(context)
        checks = _checks(expected, context)
        outcome = Outcome(experiment.name, folder, context.results, checks, len(context.case_files), context.kept_count)
        manifest["passed"] = outcome.passed
        manifest["checks"] = [{**check._asdict(), "passed": check.passed} for check in outcome.checks]
    except BaseException as problem:
        manifest["passed"] = False
        manifest["exception"] = {"type": type(problem).__name__, "message": str(problem)}
        if not isinstance(problem, (VirtsimError, KeyboardInterrupt)):
            manifest["exception"]["where"] = _where(problem, experiment.path)
        raise
    finally:
        manifest["cases"] = {
            "all": len(context.case_files),
            "finished": sum(file.exists() for file in context.case_files),
            "kept_from_an_earlier_run": context.kept_count,
        }
        manifest["seconds"] = round(time.monotonic() - started, 3)
        _write(folder / "manifest.json", manifest)
    for file in folder.absolute().glob(f"{FINISHED}/*"):
        if file not in context.case_files:
            file.unlink()
    return outcome


def finished_cases(name_or_path: str | Path, out: Path | str | None = None) -> tuple[Path, int]:
    """Where the last run keeps its finished cases, and how many it has."""
    folder = _out_folder(find_experiment(name_or_path), out)
    try:
        manifest = msgspec.json.decode((folder / "manifest.json").read_bytes())
    except FileNotFoundError:
        return folder / FINISHED, 0
    return folder / FINISHED, manifest["cases"]["finished"] if (folder / FINISHED).exists() else 0


def _open(path: Path) -> ExperimentFolder:
    return ExperimentFolder(path.resolve().name, path, load_toml(path / "experiment.toml", ExperimentCard))


def _out_folder(experiment: ExperimentFolder, out: Path | str | None) -> Path:
    return Path(out) if out is not None else Path("out") / experiment.name


def _expectations(path: Path) -> dict[str, Expectation]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise SpecError(str(path), "an experiment needs this file; an empty one is {}") from None
    return decode_json(data, dict[str, Expectation], str(path))


def _load_run(path: Path) -> Callable[[Context], None]:
    """``run`` of a ``run.py``, which is executed as a module of its own."""
    if not path.is_file():
        raise SpecError(str(path), "an experiment needs this file")
    run = getattr(Script.open(path).load(), "run", None)
    if not callable(run):
        raise SpecError(str(path), "defines no function run(context)")
    return run  # type: ignore[no-any-return]


def _checks(expected: dict[str, Expectation], context: Context) -> list[Check]:
    mode = "quick" if context.quick else "full"
    return [
        Check(name, *expectation.bounds, context.results.get(name))
        for name, expectation in expected.items()
        if expectation.when in ("always", mode)
    ]


def _where(problem: BaseException, folder: Path) -> list[str]:
    """The lines of the experiment through which the error came, without the paths of this machine."""
    frames = traceback.extract_tb(problem.__traceback__)
    mine = (frame for frame in frames if Path(frame.filename).parent.resolve() == folder.resolve())
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.line}" for frame in mine]


def _write(path: Path, data: Any) -> None:
    path.write_bytes(msgspec.json.format(encode_json(data)) + b"\n")
