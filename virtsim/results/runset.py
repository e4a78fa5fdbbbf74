"""Many runs of related scenarios: replications of each, and the factors that tell them apart."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from virtsim.core.errors import SpecError
from virtsim.core.files import write_whole
from virtsim.core.spec import decode_json, encode_json
from virtsim.core.units import show_duration
from virtsim.results.run import Run
from virtsim.results.statistics import Interval, PairedDifference, mean_interval, paired_difference
from virtsim.results.store import load_runs, save_runs

if TYPE_CHECKING:
    import pandas

Level = str | int | float | bool | None
#: Rows that a notebook shows of a summary.
_ROWS_SHOWN = 60
#: What is drawn where nobody says what to draw: the first of these that the runs have.
_DRAWN_FIRST = ("request_latency_p99", "response_time_p99", "completion_time", "cpu_time")


class Entry(NamedTuple):
    """One run of a set.

    Attributes
    ----------
    factors : dict of str to text or number
        What was changed in the scenario for this run, by path.
    replication : int
        Its number; runs of one number share their random numbers across the set.
    run : Run
        The run.
    """

    factors: dict[str, Level]
    replication: int
    run: Run


class SummaryRow(NamedTuple):
    """One metric of one entity at one point of a set; ``interval.n`` runs of ``runs`` had it."""

    factors: dict[str, Level]
    entity: str
    metric: str
    unit: str
    interval: Interval
    runs: int


class ComparisonRow(NamedTuple):
    """How a metric at one point differs from the baseline, paired by replication."""

    factors: dict[str, Level]
    entity: str
    metric: str
    unit: str
    baseline_mean: float
    difference: PairedDifference

    @property
    def ratio(self) -> float:
        """Mean over the baseline's mean; infinite for a baseline of 0."""
        if self.baseline_mean == 0:
            return 1.0 if self.difference.interval.mean == 0 else float("inf")
        return 1 + self.difference.interval.mean / self.baseline_mean


class _Index(msgspec.Struct, forbid_unknown_fields=True):
    """The table beside the runs of a saved set."""

    factors: list[dict[str, Level]]
    replications: list[int]
    manifest: dict[str, Any]


class RunSet:
    """Runs with the factors they differ in; a sequence of :class:`~virtsim.results.run.Run`.

    Parameters
    ----------
    entries : iterable of Entry
        The runs, in the order in which tables shall show them.
    manifest : dict
        How the set was made.
    """

    def __init__(self, entries: Iterable[Entry], manifest: dict[str, Any] | None = None) -> None:
        self.entries = list(entries)
        self.manifest = manifest or {}

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Run]:
        return (entry.run for entry in self.entries)

    def __getitem__(self, index: int) -> Run:
        return self.entries[index].run

    def __add__(self, other: RunSet) -> RunSet:
        return RunSet(self.entries + other.entries, self.manifest)

    def __repr__(self) -> str:
        return f"<RunSet of {len(self)} runs at {len(self.points)} points of {', '.join(self.factors) or 'no factor'}>"

    @property
    def factors(self) -> list[str]:
        """Paths of the factors, in order."""
        return list(dict.fromkeys(name for entry in self.entries for name in entry.factors))

    @property
    def points(self) -> list[dict[str, Level]]:
        """The different settings of the factors, in order."""
        return [dict(key) for key in dict.fromkeys(_key(entry.factors) for entry in self.entries)]

    @property
    def digest(self) -> str:
        """Hash of the digests of all runs, in order."""
        import hashlib

        parts = [(_key(entry.factors), entry.replication, entry.run.digest) for entry in self.entries]
        return hashlib.blake2b(encode_json(parts), digest_size=16).hexdigest()

    def select(self, factors: Mapping[str, Level]) -> RunSet:
        """The runs at which each named factor has the given level.

        Raises
        ------
        SpecError
            If the set has no such factor or level; the message lists what it has.
        """
        for name, level in factors.items():
            if name not in self.factors:
                raise SpecError(name, f"the runs have no such factor; they have: {', '.join(self.factors) or 'none'}")
            levels = list(dict.fromkeys(entry.factors.get(name) for entry in self.entries))
            if level not in levels:
                raise SpecError(name, f"no run has the level {level!r}; there are: {', '.join(map(repr, levels))}")
        chosen = [entry for entry in self.entries if _matches(entry.factors, factors)]
        return RunSet(chosen, self.manifest)

    def values(self, entity: str, metric: str) -> list[float]:
        """The metric's value in each run that has it, in order."""
        return list(self._by_replication(entity, metric).values())

    def _by_replication(self, entity: str, metric: str) -> dict[tuple[Any, ...], float]:
        found: dict[tuple[Any, ...], float] = {}
        for i, entry in enumerate(self.entries):
            try:
                found[_key(entry.factors), entry.replication, i] = entry.run.value(entity, metric)
            except KeyError:
                continue
        return found

    def summary_rows(self, metric: str | None = None, confidence: float = 0.95) -> list[SummaryRow]:
        """Mean and interval of each metric (or only ``metric``) of each entity at each point."""
        cells: dict[tuple[Any, ...], dict[tuple[str, str, str], list[float]]] = {}
        counts: dict[tuple[Any, ...], int] = {}
        for entry in self.entries:
            key = _key(entry.factors)
            counts[key] = counts.get(key, 0) + 1
            mine = cells.setdefault(key, {})
            for row in entry.run.metrics():
                if metric is None or row.metric == metric:
                    mine.setdefault((row.entity, row.metric, row.unit), []).append(row.value)
        if metric is not None and self.entries and not any(cells.values()):
            known = sorted({row.metric for run in self for row in run.metrics()})
            raise SpecError("metric", f"no run has {metric!r}; there are: {', '.join(known)}")
        return [
            SummaryRow(dict(key), *name, mean_interval(values, confidence), counts[key])
            for key, mine in cells.items()
            for name, values in mine.items()
        ]

    def summary(self, metric: str | None = None, confidence: float = 0.95) -> pandas.DataFrame:
        """The table of :meth:`summary_rows`: factors, entity, metric, unit, mean, low, high, n, runs."""
        rows = self.summary_rows(metric, confidence)
        return _frame(
            {
                **row.factors,
                "entity": row.entity,
                "metric": row.metric,
                "unit": row.unit,
                "mean": row.interval.mean,
                "low": row.interval.low,
                "high": row.interval.high,
                "n": row.interval.n,
                "runs": row.runs,
            }
            for row in rows
        )

    def to_frame(self) -> pandas.DataFrame:
        """All metrics of all runs, tidy: factors, replication, seed, world, entity, metric, unit, value."""
        return _frame(
            {
                **entry.factors,
                "replication": entry.replication,
                "seed": entry.run.seed,
                "world": entry.run.world,
                **row._asdict(),
            }
            for entry in self.entries
            for row in entry.run.metrics()
        )

    def compare_rows(
        self, metric: str, baseline: Mapping[str, Level], entity: str | None = None, confidence: float = 0.95
    ) -> list[ComparisonRow]:
        """Each point against the point that has the baseline's levels and else the same factors.

        Pairs are replications of one number; only pairs of which both runs have the metric count.

        Parameters
        ----------
        metric : str
            A metric of the runs, such as ``cpu_time``.
        baseline : mapping of str to level
            Levels of one or more factors: ``{"guests.web.stack": "native"}``.
        entity : str, optional
            A guest or ``guest/task``; all that have the metric if absent.
        """
        self.select(baseline)
        means = self.summary_rows(metric, confidence)
        entities = dict.fromkeys((row.entity, row.unit) for row in means if entity in (None, row.entity))
        if not entities:
            known = ", ".join(sorted({row.entity for row in means}))
            raise SpecError("entity", f"no run has {metric} of {entity!r}; there are: {known}")
        table = {name: self._table(name, metric) for name, _ in entities}
        rows = []
        for point in self.points:
            reference = {**point, **baseline}
            if reference == point:
                continue
            for name, unit in entities:
                ours, theirs = table[name].get(_key(point), {}), table[name].get(_key(reference), {})
                common = [number for number in ours if number in theirs]
                if common:
                    base = [theirs[number] for number in common]
                    difference = paired_difference([ours[number] for number in common], base, confidence)
                    rows.append(ComparisonRow(point, name, metric, unit, sum(base) / len(base), difference))
        return rows

    def _table(self, entity: str, metric: str) -> dict[tuple[Any, ...], dict[int, float]]:
        table: dict[tuple[Any, ...], dict[int, float]] = {}
        for (key, replication, _), value in self._by_replication(entity, metric).items():
            table.setdefault(key, {})[replication] = value
        return table

    def compare(
        self, metric: str, baseline: Mapping[str, Level], entity: str | None = None, confidence: float = 0.95
    ) -> pandas.DataFrame:
        """The table of :meth:`compare_rows`; ``low`` and ``high`` bound the difference."""
        return _frame(
            {
                **row.factors,
                "entity": row.entity,
                "metric": row.metric,
                "unit": row.unit,
                "baseline": row.baseline_mean,
                "difference": row.difference.interval.mean,
                "low": row.difference.interval.low,
                "high": row.difference.interval.high,
                "ratio": row.ratio,
                "significant": row.difference.significant,
                "n": row.difference.interval.n,
            }
            for row in self.compare_rows(metric, baseline, entity, confidence)
        )

    def plot(self, metric: str | None = None, entity: str | None = None, **options: Any) -> Any:
        """Draw the metric over the factors with intervals; see :func:`virtsim.plots.sweep.plot_sweep`.

        Without a metric, the tail of the requests' latency is drawn, or of the response time, or else the
        completion time or the CPU time: the first that the runs have.
        """
        if metric is None:
            known = {row.metric for run in self for row in run.metrics()}
            metric = next((name for name in _DRAWN_FIRST if name in known), _DRAWN_FIRST[-1])
        # By name: the drawing rooms stand above this one, and are entered only when asked.
        draw: Callable[..., Any] = import_module("virtsim.plots.sweep").plot_sweep
        return draw(self, metric, entity, **options)

    def save(self, folder: Path | str) -> None:
        """Write ``runs.jsonl.gz`` and ``runset.json`` into ``folder``, which is made where it is missing."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        save_runs(folder / "runs.jsonl.gz", self)
        index = _Index([e.factors for e in self.entries], [e.replication for e in self.entries], self.manifest)
        write_whole(folder / "runset.json", msgspec.json.format(encode_json(index)))

    @classmethod
    def load(cls, folder: Path | str) -> RunSet:
        """Read what :meth:`save` wrote.

        Raises
        ------
        SpecError
            If a file is missing, damaged, or the two do not belong together.
        """
        path = Path(folder) / "runset.json"
        try:
            index = decode_json(path.read_bytes(), _Index, str(path))
        except OSError as problem:
            raise SpecError(str(path), f"the set of runs cannot be read: {problem.strerror}") from None
        runs = list(load_runs(path.with_name("runs.jsonl.gz")))
        if not len(runs) == len(index.factors) == len(index.replications):
            raise SpecError(str(path), f"describes {len(index.factors)} runs, but there are {len(runs)}")
        return cls(map(Entry, index.factors, index.replications, runs), index.manifest)

    def _repr_html_(self) -> str:
        rows = self.summary_rows()
        titles = [*self.factors, "entity", "metric", "mean", "95 % interval", "n"]
        head = "".join(f"<th>{html.escape(title)}</th>" for title in titles)
        body = "".join(_html_row(row, self.factors) for row in rows[:_ROWS_SHOWN])
        more = f"<p>{len(rows) - _ROWS_SHOWN} more rows in summary()</p>" if len(rows) > _ROWS_SHOWN else ""
        return f"{html.escape(repr(self))}<table><tr>{head}</tr>{body}</table>{more}"


def _key(factors: Mapping[str, Level]) -> tuple[tuple[str, Level], ...]:
    return tuple(factors.items())


def _matches(factors: Mapping[str, Level], wanted: Mapping[str, Level]) -> bool:
    return all(name in factors and factors[name] == level for name, level in wanted.items())


def _frame(rows: Iterable[dict[str, Any]]) -> pandas.DataFrame:
    import pandas

    return pandas.DataFrame(list(rows))


def _html_row(row: SummaryRow, factors: Sequence[str]) -> str:
    def show(value: float) -> str:
        return show_duration(value) if row.unit == "ns" else f"{value:.6g}"

    interval = row.interval
    between = f"{show(interval.low)} to {show(interval.high)}" if interval.n > 1 else "one run"
    levels = [str(row.factors.get(name, "")) for name in factors]
    n = str(interval.n) if interval.n == row.runs else f"{interval.n} of {row.runs}"
    cells = [*levels, row.entity, row.metric, show(interval.mean), between, n]
    return "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"
