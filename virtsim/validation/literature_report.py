"""Published values beside the model's, and what they say together."""

from __future__ import annotations

import math
import statistics
from itertools import combinations
from typing import Any, NamedTuple


class Result(NamedTuple):
    """One published value beside the model's.

    Attributes
    ----------
    paper, benchmark, where, level, stack, unit : str
        Which.
    use : str
        ``base``, ``calibration`` or ``prediction``.
    published, predicted : float
        In the paper's unit.
    spread : float or None
        Published run-to-run spread, relative.
    why : str
        Why it misses, where it does.
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

    @property
    def error(self) -> float:
        """Signed relative error of the prediction."""
        return self.predicted / self.published - 1.0


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

    def orderings(self, gap: float = 0.10, paper: str = "") -> tuple[int, int]:
        """Pairs of stacks in one row whose published values differ by more than ``gap``: right, and in all.

        A pair counts if at least one of the two is a prediction.
        """
        right = total = 0
        rows: dict[tuple[str, str, str], list[Result]] = {}
        for r in self.results:
            if not paper or r.paper == paper:
                rows.setdefault((r.paper, r.where, r.benchmark), []).append(r)
        for row in rows.values():
            for a, b in combinations(row, 2):
                far = max(a.published, b.published) > (1 + gap) * min(a.published, b.published)
                if far and "prediction" in (a.use, b.use):
                    total += 1
                    right += (a.published < b.published) == (a.predicted < b.predicted)
        return right, total

    def rank_correlation(self, paper: str = "") -> float:
        """Mean Spearman correlation of the stacks' order over the rows with three stacks or more.

        Ties have mean ranks. NaN if there is no such row.
        """
        rows: dict[tuple[str, str, str], list[Result]] = {}
        for r in self.results:
            if not paper or r.paper == paper:
                rows.setdefault((r.paper, r.where, r.benchmark), []).append(r)
        found = [
            _spearman([r.published for r in row], [r.predicted for r in row])
            for row in rows.values()
            if len(row) >= 3 and any(r.use == "prediction" for r in row)
        ]
        known = [value for value in found if not math.isnan(value)]
        return statistics.fmean(known) if known else math.nan

    def summary(self) -> list[tuple[str, int, float, float, float, str]]:
        """A row for each paper and level: name, predictions, median error, largest, rank correlation, order."""
        rows = []
        for paper in dict.fromkeys(r.paper for r in self.results):
            right, total = self.orderings(paper=paper)
            for level in ("micro", "macro"):
                errors = [abs(r.error) for r in self.predictions(level, paper)]
                if errors:
                    label = f"{paper} {level}"
                    rank = self.rank_correlation(paper)
                    rows.append((label, len(errors), statistics.median(errors), max(errors), rank, f"{right}/{total}"))
        return rows

    def __str__(self) -> str:
        lines = [f"{'paper · benchmark':<44} {'stack':<14}{'published':>11} {'model':>11}  {'error':>7}  use"]
        for r in self.results:
            if r.use == "base":
                continue
            name = f"{r.paper} · {r.benchmark}"[:44]
            note = f"  {r.why}" if r.why and abs(r.error) > 0.1 else ""
            spread = "" if r.spread is None else f" (spread {r.spread:.1%})"
            values = f"{r.published:>11.5g} {r.predicted:>11.5g} {r.error:>+8.1%}"
            lines.append(f"{name:<44} {r.stack:<14}{values}  {r.use}{spread}{note}")
        lines.append("")
        for label, n, median, worst, rank, order in self.summary():
            lines.append(
                f"{label:<30} {n:>3} predictions, median error {median:.1%}, largest {worst:.1%}, "
                f"rank correlation {rank:.2f}, order right in {order}"
            )
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head = "".join(
            f"<th>{c}</th>" for c in ("paper", "benchmark", "stack", "unit", "published", "model", "error", "use")
        )
        cells = "".join(
            f"<tr><td>{r.paper}</td><td>{r.benchmark}</td><td>{r.stack}</td><td>{r.unit}</td><td>{r.published:.5g}</td>"
            f"<td>{r.predicted:.5g}</td><td>{r.error:+.1%}</td><td>{r.use}</td></tr>"
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


def _ranks(values: list[float]) -> list[float]:
    order = sorted(values)
    return [(order.index(v) + len(order) - 1 - order[::-1].index(v)) / 2 for v in values]


def _spearman(a: list[float], b: list[float]) -> float:
    ra, rb = _ranks(a), _ranks(b)
    ma, mb = statistics.fmean(ra), statistics.fmean(rb)
    cov = math.fsum((x - ma) * (y - mb) for x, y in zip(ra, rb, strict=True))
    norm = math.sqrt(math.fsum((x - ma) ** 2 for x in ra) * math.fsum((y - mb) ** 2 for y in rb))
    return cov / norm if norm else math.nan
