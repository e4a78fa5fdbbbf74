"""Published results as a test of the platform model: calibrate on some rows, predict the others.

A *paper* is a card: the machine's host card, the stacks that were compared, and rows, each a benchmark with
one published value a stack. What a benchmark does is a *mix* of platform events, from a workload card that
says where the mix is from. Every value is either **calibration** (prices or one scale were fitted to it)
or **prediction**; one that would be both is refused, and nothing that misses is left out.

    T(stack) = T(base) + fixed * [c(fixed mix, stack) - c(fixed mix, base)]
                       + S     * [c(scaled mix, stack) - c(scaled mix, base)]

``T(base)`` is the published value on the base stack (native, where there is one) and ``c`` the priced
expansion; ``S`` is either given or fitted to the calibration rows of that benchmark. A rate is predicted
through the time of one unit.

References
----------
The papers are named in their cards, ``models/literature``.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from functools import cache
from itertools import combinations
from typing import Annotated, Any, Literal, NamedTuple

from msgspec import Meta

from virtsim.core.data import card_names, find_card
from virtsim.core.errors import SpecError
from virtsim.core.parameter import Parameter
from virtsim.core.spec import Spec, load_toml
from virtsim.platform.expand import combine, expand, price
from virtsim.platform.host import HostCard, load_host
from virtsim.platform.stack import Stack, StackCard, load_stack
from virtsim.workload.operations import Name

Text = Annotated[str, Meta(min_length=1, max_length=2000)]
Positive = Annotated[float, Meta(gt=0)]

#: ns in one unit of a published value; cycles are turned by the host's clock, and a share is its own unit.
UNITS_NS = {"%": 1.0, "ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9}


class MixEvent(Spec, frozen=True, kw_only=True):
    """``times`` platform events of ``size`` bytes; negative times are what a benchmark subtracts."""

    event: Text
    times: float = 1.0
    size: Annotated[int, Meta(ge=0)] = 0


class Mix(Spec, frozen=True, kw_only=True):
    """What one unit of a benchmark asks of its platform."""

    source: Text
    events: Annotated[list[MixEvent], Meta(min_length=1, max_length=100)]


class MixCard(Spec, frozen=True, kw_only=True):
    """A workload card: named mixes, each with its source."""

    name: Name
    description: Text
    mixes: dict[Name, Mix]


class PaperStack(Spec, frozen=True, kw_only=True):
    """A stack as it was in the paper: a stack card, with parameters of some layers replaced."""

    card: Text
    parameters: dict[str, dict[str, Parameter]] = {}


class Row(Spec, frozen=True, kw_only=True):
    """One benchmark of a paper.

    Parameters
    ----------
    benchmark : str
        Its name in the paper.
    where : str
        Table or section.
    level : str
        ``micro`` or ``macro``.
    unit : str
        ``ns``, ``us``, ``ms``, ``s``, ``cycles``, or for rates any text.
    rate : bool
        More is better: units of work in a second, ``work`` of them in the published number.
    fixed, scaled : str
        Mixes as ``card/mix``; ``fixed`` is taken ``times``, ``scaled`` as often as fits the calibration.
    times : float
        How often the fixed mix happens in one unit; for ``per_second``, in a second of the base time.
    published : dict of str to float
        By the paper's name of the stack; the base stack's is the starting point.
    calibration : list of str
        Stacks whose value is used to fit prices (without ``scaled``) or the scale (with it).
    line : bool
        The base is limited by a line, not by its processor: a unit takes the base's time or, if that is
        longer, the whole cost of the fixed mix.
    critical : bool
        Only what the asking processor spends counts: the others work beside it and are not the bottleneck.
    spread : float, optional
        Published run-to-run spread, relative.
    why : str
        Why it misses, where it does.
    """

    benchmark: Text
    where: Text
    level: Literal["micro", "macro"]
    unit: Text
    published: dict[Name, Positive]
    calibration: list[Name] = []
    fixed: str = ""
    scaled: str = ""
    times: float = 1.0
    per_second: bool = False
    rate: bool = False
    line: bool = False
    critical: bool = False
    work: Positive = 1.0
    spread: float | None = None
    why: str = ""

    def _check(self) -> None:
        if not self.fixed and not self.scaled:
            raise SpecError("fixed", "a row needs a mix")
        for name in self.calibration:
            if name not in self.published:
                raise SpecError("calibration", f"no value is published for {name!r}")


class Paper(Spec, frozen=True, kw_only=True):
    """A paper's results.

    Parameters
    ----------
    name, title : str
        Of the card, and of the paper with its venue and year.
    host : str
        Host card, with prices fitted from the calibration rows of level ``micro``.
    base : str
        The stack that the others are compared with.
    stacks : dict of str to PaperStack
        By the paper's names.
    given : dict of str to Parameter
        Prices that the paper, or another, states outright.
    assumed : dict of str to Parameter
        Where the fit begins for prices that nobody states; it may move them.
    prior : float
        Other prices begin at this many times those of ``models/priors/bare-machine.toml``.
    rows : list of Row
        All of them, whether they are met or not.
    """

    name: Name
    title: Text
    host: Name
    base: Name
    stacks: dict[Name, PaperStack]
    given: dict[str, Parameter] = {}
    assumed: dict[str, Parameter] = {}
    prior: Positive = 1.0
    rows: Annotated[list[Row], Meta(min_length=1)]

    def _check(self) -> None:
        if self.base not in self.stacks:
            raise SpecError("base", f"no stack is called {self.base!r}; known: {', '.join(self.stacks)}")
        for i, row in enumerate(self.rows):
            for name in row.published:
                if name not in self.stacks:
                    raise SpecError(f"rows[{i}].published.{name}", "no such stack in this paper")
            if self.base not in row.published:
                raise SpecError(f"rows[{i}].published", f"the base stack {self.base!r} has no value")
            self._check_use(i, row)
        cells = [(row.where, row.benchmark) for row in self.rows]
        for i, cell in enumerate(cells):
            if cells.index(cell) != i:
                raise SpecError(
                    f"rows[{i}]",
                    f"{cell[1]!r} of {cell[0]} is there already; a value is calibration or prediction, not both",
                )

    def _check_use(self, i: int, row: Row) -> None:
        fitted = [name for name in row.calibration if name != self.base]
        if row.scaled and len(fitted) != 1:
            raise SpecError(f"rows[{i}].calibration", "a scale is fitted to exactly one stack besides the base")
        if row.level == "macro" and row.calibration and not row.scaled:
            raise SpecError(f"rows[{i}].calibration", "prices are not fitted to macro rows; only a scale may be")


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


@cache
def load_paper(name: str) -> Paper:
    """The card of a paper; the error of an unknown name lists the known ones."""
    return load_toml(find_card("literature", name, "paper"), Paper)


@cache
def load_mix(name: str) -> Mix:
    """A mix of a workload card, as ``card/mix``."""
    card_name, _, mix_name = name.partition("/")
    card = load_toml(find_card("workloads", card_name, "workload"), MixCard)
    if mix_name not in card.mixes:
        raise SpecError(f"workload {card_name!r}", f"no mix is called {mix_name!r}; known: {', '.join(card.mixes)}")
    return card.mixes[mix_name]


def paper_stack(paper: Paper, name: str) -> Stack:
    """A stack as it was in the paper."""
    given = paper.stacks[name]
    card = load_stack(given.card).card
    layers = list(card.layers)
    for label, parameters in given.parameters.items():
        found = [i for i, layer in enumerate(layers) if label in (layer.name, layer.kind)]
        if not found:
            raise SpecError(f"{paper.name}: stacks.{name}.parameters.{label}", f"stack {card.name!r} has no such layer")
        for i in found:
            layers[i] = layers[i].replace(parameters={**layers[i].parameters, **parameters})
    return Stack(StackCard(name=card.name, description=card.description, layers=layers))


def mix_totals(mix: Mix, stack: Stack, critical: bool = False) -> dict[str, float]:
    """Primitives of one unit of a mix on a stack; only the asking processor's if ``critical``."""
    if not critical:
        return combine((e.times, expand(e.event, stack, e.size)) for e in mix.events)
    totals: dict[str, float] = {}
    for e in mix.events:
        for primitive, count in expand(e.event, stack, e.size).parties.get("", {}).items():
            totals[primitive] = totals.get(primitive, 0.0) + e.times * count
    return totals


def unit_ns(row: Row, value: float, host: HostCard) -> float:
    """Time of a published value, ns; of one unit of work for a rate."""
    if row.rate:
        return 1e9 * row.work / value
    if row.unit == "cycles":
        return value * 1e9 / host.frequency
    return value * UNITS_NS[row.unit]


def unit_value(row: Row, time_ns: float, host: HostCard) -> float:
    """The reverse of :func:`unit_ns`."""
    if row.rate:
        return 1e9 * row.work / time_ns
    return time_ns / unit_ns(row, 1.0, host)


def _extra_ns(name: str, row: Row, paper: Paper, stack: str, host: HostCard) -> float:
    """What one unit of a mix costs more on a stack than on the base."""
    if not name:
        return 0.0
    mix = load_mix(name)
    here, base = (mix_totals(mix, paper_stack(paper, s), row.critical) for s in (stack, paper.base))
    return price(here, host) - price(base, host)


def predict_row(row: Row, paper: Paper, host: HostCard) -> Iterator[Result]:
    """Results of a row on all its stacks."""
    base_ns = unit_ns(row, row.published[paper.base], host)
    times = row.times * (base_ns / 1e9 if row.per_second else 1.0)
    fixed = {s: times * _extra_ns(row.fixed, row, paper, s, host) for s in row.published}
    scaled = {s: _extra_ns(row.scaled, row, paper, s, host) for s in row.published}
    scale = 0.0
    if row.scaled:
        fitted = next(s for s in row.calibration if s != paper.base)
        rest = unit_ns(row, row.published[fitted], host) - base_ns - fixed[fitted]
        scale = max(0.0, rest / scaled[fitted])
    for stack, published in row.published.items():
        use = "base" if stack == paper.base else "calibration" if stack in row.calibration else "prediction"
        time_ns = base_ns + fixed[stack] + scale * scaled[stack]
        if row.line:
            time_ns = max(base_ns, price(mix_totals(load_mix(row.fixed), paper_stack(paper, stack)), host))
        value = unit_value(row, time_ns, host)
        yield Result(
            paper.name, row.benchmark, row.where, row.level, stack, row.unit, use, published, value, row.spread, row.why
        )


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


def validate_paper(paper: Paper, host: HostCard | None = None) -> LiteratureReport:
    """Predict all rows of a paper with the prices of its host card, or of another one."""
    machine = host or load_host(paper.host)
    return LiteratureReport([result for row in paper.rows for result in predict_row(row, paper, machine)])


def validate_literature(papers: list[str] | None = None) -> LiteratureReport:
    """Predict the rows of some papers, of all if none are named.

    Parameters
    ----------
    papers : list of str, optional
        Names of cards in ``models/literature``.
    """
    names = papers if papers is not None else card_names("literature")
    return LiteratureReport([r for name in names for r in validate_paper(load_paper(name)).results])
