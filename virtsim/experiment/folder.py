"""Experiment folders: one claim each, with what it needs to be run and checked again.

``experiments/NN-name/`` holds

- ``README.md``: the claim, why it holds, what the figures show;
- ``experiment.toml``: an :class:`ExperimentCard`;
- ``run.py`` with ``def run(context) -> None``, which records its results and writes its figures;
- ``expected.json``: an :class:`Expectation` for each result that the claim rests on.
"""

from __future__ import annotations

import importlib.util
import math
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

import virtsim
from virtsim.core.errors import SpecError, VirtsimError
from virtsim.core.spec import Spec, decode_json, encode_json, load_toml
from virtsim.experiment.progress import track
from virtsim.results.manifest import make_manifest

T = TypeVar("T")
Text = Annotated[str, Meta(min_length=1, max_length=2000)]


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
    """

    name: str
    folder: Path
    results: dict[str, float]
    checks: list[Check]

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
    """

    def __init__(self, experiment: ExperimentFolder, folder: Path, quick: bool, seed: int) -> None:
        self.quick = quick
        self.folder = folder
        self.source = experiment.path
        self.seed = seed
        self.parameters = experiment.card.parameters(quick)
        self.results: dict[str, float] = {}

    def record(self, name: str, value: float) -> None:
        """Note a result, which is kept in ``results.json`` and met with ``expected.json``."""
        value = float(value)
        if not math.isfinite(value):
            raise SpecError(name, f"{value} is not a finite number, so it is no result")
        self.results[name] = value
        _write(self.folder / "results.json", self.results)

    def progress(self, items: Iterable[T], label: str) -> Iterator[T]:
        """Iterate with a progress bar, where somebody watches."""
        return track(items, label)


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
    name_or_path: str | Path, quick: bool = False, seed: int = 7, out: Path | str | None = None
) -> Outcome:
    """Run an experiment and check what it claims.

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

    Returns
    -------
    Outcome
        Results and checks. ``manifest.json`` in its folder tells how they were made.

    Raises
    ------
    SpecError
        If the experiment's files are not acceptable; nothing was run then.
    Exception
        What ``run`` raised; the manifest holds it as well.
    """
    experiment = find_experiment(name_or_path)
    expected = _expectations(experiment.path / "expected.json")
    run = _load_run(experiment.path / "run.py")
    folder = Path(out) if out is not None else Path("out") / experiment.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").unlink(missing_ok=True)
    context = Context(experiment, folder, quick, seed)
    manifest = make_manifest(
        experiment=experiment.name, quick=quick, seed=seed, parameters=context.parameters, claim=experiment.card.claim
    )
    started = time.monotonic()
    try:
        run(context)
        outcome = Outcome(experiment.name, folder, context.results, _checks(expected, context))
        manifest["passed"] = outcome.passed
        manifest["checks"] = [{**check._asdict(), "passed": check.passed} for check in outcome.checks]
    except BaseException as problem:
        manifest["passed"] = False
        manifest["exception"] = {"type": type(problem).__name__, "message": str(problem)}
        if not isinstance(problem, (VirtsimError, KeyboardInterrupt)):
            manifest["exception"]["where"] = _where(problem, experiment.path)
        raise
    finally:
        manifest["seconds"] = round(time.monotonic() - started, 3)
        _write(folder / "manifest.json", manifest)
    return outcome


def _open(path: Path) -> ExperimentFolder:
    return ExperimentFolder(path.resolve().name, path, load_toml(path / "experiment.toml", ExperimentCard))


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
    spec = importlib.util.spec_from_file_location("virtsim_experiment_" + path.parent.name.replace("-", "_"), path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    run = getattr(module, "run", None)
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
