"""Published values beside the model's, and what they say together."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from itertools import combinations
from typing import Any, NamedTuple

from virtsim.validation.literature_statistics import Estimate, bootstrap, kendall, mean_known, spearman

#: A miss beyond this must have a reason.
FAR = 0.25


class Result(NamedTuple):
    """One published value beside the model's.

    Attributes
    ----------
    paper, benchmark, where, level, stack, unit : str
        Which.
    use : str
        ``base``, ``calibration``, ``prediction``, or ``unpublished`` for a prediction that nothing is compared with.
    published, predicted : float
        In the paper's unit; NaN where none is published.
    spread : float or None
        Published run-to-run spread, relative.
    why : str
        Why it misses, where it does.
    low, high : float
        90 % interval of the prediction from the intervals of the prices; NaN where none was worked out.
    reach_low, reach_high : float
        Values that any mix of the paper's micro rows could give; NaN where that was not asked.
    """

    paper: str
    benchmark: str
    where: str
    level: str
    stack: str
    unit: str
    use: str
    published: float
    predicted: float
    spread: float | None
    why: str
    low: float = math.nan
    high: float = math.nan
    reach_low: float = math.nan
    reach_high: float = math.nan

    @property
    def error(self) -> float:
        """Signed relative error of the prediction."""
        return self.predicted / self.published - 1.0

    @property
    def beyond_reach(self) -> bool:
        """Whether no mix of the paper's micro rows could give the published value; false where that was not asked."""
        return self.published < self.reach_low or self.published > self.reach_high

    @property
    def covered(self) -> bool:
        """Whether the published value, give or take its own spread, meets the interval of the prediction."""
        slack = (self.spread or 0.0) * self.published
        return self.low <= self.published + slack and self.published - slack <= self.high


class Summary(NamedTuple):
    """What the predictions of one paper and level come to.

    Attributes
    ----------
    name : str
        Paper and level, or ``all``.
    predictions : int
    median_error : Estimate
        Of the absolute relative errors.
    largest_error : float
    far : int
        Predictions that miss by more than a quarter.
    covered : float
        Share of published values in the 90 % intervals; NaN where there are none.
    spearman, kendall : Estimate
        Mean over the rows with three stacks or more of the correlation of predicted and published order.
    order_right, pairs : int
        Pairs of stacks whose published values differ by more than a tenth: in the right order, and in all.
    """

    name: str
    predictions: int
    median_error: Estimate
    largest_error: float
    far: int
    covered: float
    spearman: Estimate
    kendall: Estimate
    order_right: int
    pairs: int


class LiteratureReport:
    """All results, with their summary.

    Parameters
    ----------
    results : list of Result
        Of one or more papers.
    """

    def __init__(self, results: list[Result]) -> None:
        self.results = results

    def predictions(self, level: str = "", paper: str = "") -> list[Result]:
        """Predicted values only, of a level and a paper where given."""
        return [
            r
            for r in self.results
            if r.use == "prediction" and (not level or r.level == level) and (not paper or r.paper == paper)
        ]

    def median_error(self, level: str = "", paper: str = "") -> float:
        """Median absolute relative error of the predictions; NaN if there are none."""
        errors = [abs(r.error) for r in self.predictions(level, paper)]
        return statistics.median(errors) if errors else math.nan

    def rows(self, level: str = "", paper: str = "") -> list[list[Result]]:
        """Results by row: one benchmark on all its stacks."""
        rows: dict[tuple[str, str, str], list[Result]] = {}
        for r in self.results:
            if (not level or r.level == level) and (not paper or r.paper == paper):
                rows.setdefault((r.paper, r.where, r.benchmark), []).append(r)
        return list(rows.values())

    def orderings(self, gap: float = 0.10, level: str = "", paper: str = "") -> tuple[int, int]:
        """Pairs of stacks in one row whose published values differ by more than ``gap``: right, and in all.

        A pair counts if at least one of the two is a prediction.
        """
        right = total = 0
        for row in self.rows(level, paper):
            for a, b in combinations(_known(row), 2):
                far = max(a.published, b.published) > (1 + gap) * min(a.published, b.published)
                if far and "prediction" in (a.use, b.use):
                    total += 1
                    right += (a.published < b.published) == (a.predicted < b.predicted)
        return right, total

    def median_interval(self, level: str = "", paper: str = "") -> Estimate:
        """Median absolute relative error with its 90 % bootstrap interval over the rows."""
        rows = [_errors(row) for row in self.rows(level, paper)]
        return bootstrap([row for row in rows if row], _median, "median error")

    def rank_correlation(self, level: str = "", paper: str = "") -> tuple[Estimate, Estimate]:
        """Mean Spearman and Kendall correlation of the stacks' order over the rows with three stacks or more.

        Each with its 90 % bootstrap interval over those rows; NaN if there is no such row.
        """
        pairs = [
            ([r.published for r in row], [r.predicted for r in row])
            for row in map(_known, self.rows(level, paper))
            if len(row) >= 3 and any(r.use == "prediction" for r in row)
        ]
        by_rank, by_pairs = ([f(a, b) for a, b in pairs] for f in (spearman, kendall))
        return bootstrap(by_rank, mean_known, "Spearman"), bootstrap(by_pairs, mean_known, "Kendall")

    def coverage(self, level: str = "", paper: str = "") -> float:
        """Share of the predictions whose published value lies in their interval; NaN without intervals."""
        known = [r for r in self.predictions(level, paper) if not math.isnan(r.low)]
        return sum(r.covered for r in known) / len(known) if known else math.nan

    def summary(self) -> list[Summary]:
        """A row for each paper and level, then one for each level, then one for all."""
        papers = dict.fromkeys(r.paper for r in self.results)
        parts = [(f"{paper} {level}", level, paper) for paper in papers for level in ("micro", "macro")]
        parts += [("all micro", "micro", ""), ("all macro", "macro", ""), ("all", "", "")]
        return [self._summary(*part) for part in parts if self.predictions(*part[1:])]

    def _summary(self, name: str, level: str, paper: str) -> Summary:
        errors = [abs(r.error) for r in self.predictions(level, paper)]
        right, pairs = self.orderings(level=level, paper=paper)
        by_rank, by_pairs = self.rank_correlation(level, paper)
        return Summary(
            name=name,
            predictions=len(errors),
            median_error=self.median_interval(level, paper),
            largest_error=max(errors),
            far=sum(error > FAR for error in errors),
            covered=self.coverage(level, paper),
            spearman=by_rank,
            kendall=by_pairs,
            order_right=right,
            pairs=pairs,
        )

    def __str__(self) -> str:
        values = f"{'published':>11} {'model':>11} {'90 % interval':>21}  {'error':>7}"
        lines = [f"{'paper · benchmark':<44} {'stack':<14}{values}  use"]
        for r in self.results:
            if r.use == "base":
                continue
            name = f"{r.paper} · {r.benchmark}"[:44]
            note = _note(r) if abs(r.error) > 0.1 else ""
            spread = "" if r.spread is None else f" (spread {r.spread:.1%})"
            interval = "" if math.isnan(r.low) else f"{r.low:.4g} … {r.high:.4g}"
            published, error = _shown(r)
            values = f"{published:>11} {r.predicted:>11.5g} {interval:>21} {error:>8}"
            lines.append(f"{name:<44} {r.stack:<14}{values}  {r.use}{spread}{note}")
        summary = self.summary()
        return "\n".join([*lines, "", *_table(summary)] if summary else lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head = "".join(
            f"<th>{c}</th>" for c in ("paper", "benchmark", "stack", "unit", "published", "model", "error", "use")
        )
        cells = "".join(
            f"<tr><td>{r.paper}</td><td>{r.benchmark}</td><td>{r.stack}</td><td>{r.unit}</td><td>{_shown(r)[0]}</td>"
            f"<td>{r.predicted:.5g}</td><td>{_shown(r)[1]}</td><td>{r.use}</td></tr>"
            for r in self.results
            if r.use != "base"
        )
        return f"<table><tr>{head}</tr>{cells}</table>"

    def to_frame(self) -> Any:
        """The results as a data frame (needs pandas)."""
        import pandas

        frame = pandas.DataFrame(self.results, columns=list(Result._fields))
        frame["error"] = [r.error for r in self.results]
        return frame


def _known(row: Iterable[Result]) -> list[Result]:
    """Those of a row that have a published value."""
    return [r for r in row if r.use != "unpublished"]


def _shown(r: Result) -> tuple[str, str]:
    """Published value and error as text; empty where nothing is published."""
    return ("", "") if math.isnan(r.published) else (f"{r.published:.5g}", f"{r.error:+.1%}")


def _note(r: Result) -> str:
    """Why it misses, and whether another mix could have met it."""
    reach = f" No mix of the paper's micro rows gives it: they reach {r.reach_low:.4g} to {r.reach_high:.4g}."
    return f"  {r.why}{reach if r.beyond_reach else ''}".rstrip()


def _errors(row: Iterable[Result]) -> list[float]:
    return [abs(r.error) for r in row if r.use == "prediction"]


def _median(rows: Iterable[list[float]]) -> float:
    return statistics.median(error for row in rows for error in row)


def _table(summary: Iterable[Summary]) -> list[str]:
    """The summary as lines; intervals are 90 %, by drawing rows again."""
    lines = [
        f"{'predictions':<26}{'n':>4}  {'median error':<22}{'largest':>8} {'> 25 %':>7} {'covered':>8}  "
        f"{'Spearman':<20}{'Kendall':<20}order right"
    ]
    for s in summary:
        covered = "" if math.isnan(s.covered) else f"{s.covered:.0%}"
        ranks = [e.text(".2f") if not math.isnan(e.value) else "" for e in (s.spearman, s.kendall)]
        lines.append(
            f"{s.name:<26}{s.predictions:>4}  {s.median_error.text('.1%'):<22}{s.largest_error:>8.0%} {s.far:>7} "
            f"{covered:>8}  {ranks[0]:<20}{ranks[1]:<20}{s.order_right}/{s.pairs}"
        )
    return lines
