"""Comparing runs of the model with runs on the kernel, metric by metric."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from virtsim.core.errors import SpecError
from virtsim.core.units import show_duration
from virtsim.results.run import Run
from virtsim.validation.verdict import MARGINS, Verdict, judge

if TYPE_CHECKING:
    import pandas

#: Part of the model's runs that its interval leaves out on either side.
TAIL = 0.05


class Row(NamedTuple):
    """One metric of one guest or task.

    Attributes
    ----------
    scenario, entity, metric, unit : str
    role : str
        ``prediction``; ``calibration`` for what a price was fitted to.
    model, model_low, model_high : float
        Median of the model's runs, and their 90 % interval.
    real : float or None
        Median of the real runs; None if there are none.
    real_spread : float or None
        Half the range of the real runs over their median.
    error : float or None
        (model - real) / real; None if the real value is 0 and the model's is not.
    verdict : str
    margin : float
        The relative margin that was applied.
    real_values : tuple of float
        Each run's value.
    reason : str
        Of a row that is SKIPPED, or whose runs were all disturbed.
    """

    scenario: str
    entity: str
    metric: str
    unit: str
    role: str
    model: float | None
    model_low: float | None
    model_high: float | None
    real: float | None
    real_spread: float | None
    error: float | None
    verdict: str
    margin: float
    real_values: tuple[float, ...] = ()
    reason: str = ""


class Comparison:
    """Rows with their presentation.

    Attributes
    ----------
    rows : list of Row
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = list(rows)

    def to_frame(self) -> pandas.DataFrame:
        """The rows as a data frame (needs pandas)."""
        import pandas

        return pandas.DataFrame(self.rows, columns=list(Row._fields)).drop(columns=["real_values"])

    def counts(self) -> dict[str, int]:
        """How many rows have each verdict."""
        return {verdict.value: sum(row.verdict == verdict for row in self.rows) for verdict in Verdict}

    def table(self) -> list[tuple[str, ...]]:
        """Texts for a table: a head and a line for each row."""
        head = ("scenario", "entity", "metric", "model", "90 % interval", "real", "spread", "error", "verdict")
        return [head, *(_texts(row) for row in self.rows)]

    def _repr_html_(self) -> str:
        head, *lines = self.table()
        cells = "".join("<tr>" + "".join(f"<td>{text}</td>" for text in line) + "</tr>" for line in lines)
        return f"<table><tr>{''.join(f'<th>{text}</th>' for text in head)}</tr>{cells}</table>"

    def __repr__(self) -> str:
        lines = self.table()
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        return "\n".join("  ".join(text.ljust(width) for text, width in zip(line, widths)).rstrip() for line in lines)


def compare(
    model: Run | Sequence[Run],
    real: Run | Sequence[Run],
    metrics: Sequence[str] | None = None,
    *,
    interval: Sequence[Run] | None = None,
    repeatability: tuple[float, float] = (0.0, 0.0),
    role: str = "prediction",
) -> Comparison:
    """Compare runs of one scenario in both worlds.

    Parameters
    ----------
    model : Run or sequence of Run
        Runs of the model, of which the median is compared; best with the same seed and phases as the real ones.
    real : Run or sequence of Run
        Repetitions on the kernel.
    metrics : sequence of str, optional
        Which to compare; all that have a margin and that both worlds know if absent.
    interval : sequence of Run, optional
        Replications whose quantiles are the prediction's interval; ``model``'s own if absent.
    repeatability : (float, float)
        Relative differences, from a negative to a positive one, by which single real runs differ without
        any reason that is in the model: the intervals of times are widened by them.
    role : str
        ``prediction`` or ``calibration``.

    Raises
    ------
    SpecError
        If a sequence is empty, a run is of the wrong world, or the runs are of different scenarios.
    """
    models = _runs(model, "model")
    reals = _runs(real, "real")
    replications = _runs(interval, "model") if interval is not None else models
    digests = {run.scenario.digest for run in (*models, *reals, *replications)}
    if len(digests) > 1:
        raise SpecError("scenario", "the runs are of different scenarios; compare runs of one")
    predicted, observed, replicated = _values(models), _values(reals), _values(replications)
    name = models[0].scenario.name
    rows = []
    for (entity, metric, unit), values in predicted.items():
        wanted = metric in metrics if metrics is not None else metric in MARGINS
        key = (entity, metric, unit)
        if wanted and key in observed:
            spread = _interval(values, replicated.get(key, values), repeatability if unit == "ns" else (0.0, 0.0))
            rows.append(_row(name, key, values, spread, observed[key], role))
    return Comparison(rows)


def _runs(given: Run | Sequence[Run], world: str) -> list[Run]:
    runs = [given] if isinstance(given, Run) else list(given)
    if not runs:
        raise SpecError(world, "there is no run to compare")
    for run in runs:
        if run.world != world:
            raise SpecError(world, f"expected runs of the {world} world, got one of the {run.world} world")
    return runs


def _values(runs: list[Run]) -> dict[tuple[str, str, str], list[float]]:
    """Values of each metric that all runs have."""
    found: dict[tuple[str, str, str], list[float]] = {}
    for run in runs:
        for row in run.metrics():
            found.setdefault((row.entity, row.metric, row.unit), []).append(row.value)
    return {key: values for key, values in found.items() if len(values) == len(runs)}


def _interval(model: list[float], replicated: list[float], widening: tuple[float, float]) -> tuple[float, float]:
    """90 % interval of a single real run: the replications' quantiles, and what no model explains."""
    middle = quantile(model, 0.5)
    low, high = quantile(replicated, TAIL), quantile(replicated, 1 - TAIL)
    return min(middle, low) * (1 + widening[0]), max(middle, high) * (1 + widening[1])


def _row(
    scenario: str,
    key: tuple[str, str, str],
    model: list[float],
    interval: tuple[float, float],
    real: list[float],
    role: str,
) -> Row:
    entity, metric, unit = key
    middle, truth = quantile(model, 0.5), quantile(real, 0.5)
    spread = (max(real) - min(real)) / 2 / abs(truth) if truth else 0.0
    margin = MARGINS[metric] if metric in MARGINS else MARGINS["completion_time"]
    error = (middle - truth) / truth if truth else (0.0 if middle == 0 else None)
    return Row(
        scenario=scenario,
        entity=entity,
        metric=metric,
        unit=unit,
        role=role,
        model=middle,
        model_low=interval[0],
        model_high=interval[1],
        real=truth,
        real_spread=spread,
        error=error,
        verdict=judge(middle, truth, spread, margin).value,
        margin=margin.relative,
        real_values=tuple(real),
    )


def quantile(values: Sequence[float], level: float) -> float:
    """Quantile by linear interpolation between order statistics (Hyndman and Fan's type 7)."""
    ordered = sorted(values)
    place = level * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def _texts(row: Row) -> tuple[str, ...]:
    return (
        row.scenario,
        row.entity,
        row.metric,
        _show(row.model, row.unit),
        f"{_show(row.model_low, row.unit)} to {_show(row.model_high, row.unit)}" if row.model is not None else "",
        _show(row.real, row.unit),
        "" if row.real_spread is None else f"{row.real_spread:.1%}",
        "" if row.error is None else f"{row.error:+.1%}",
        row.verdict + (f" ({row.reason})" if row.reason else ""),
    )


def _show(value: Any, unit: str) -> str:
    if value is None:
        return ""
    return show_duration(value, 4) if unit == "ns" else f"{value:.4g}{'' if unit == '1' else ' ' + unit}"
