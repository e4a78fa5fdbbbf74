"""Cards of published results: papers with their rows."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Literal

from msgspec import Meta

from virtsim.core.data import find_card
from virtsim.core.errors import SpecError
from virtsim.core.parameter import Parameter
from virtsim.core.spec import Spec, Text, from_builtins, read_toml
from virtsim.platform.mixes import Mix, load_mix
from virtsim.platform.stack import PaperStack
from virtsim.workload.operations import CardName, Name

__all__ = ["Mix", "Paper", "PaperStack", "Row", "load_mix", "load_paper"]

Positive = Annotated[float, Meta(gt=0)]


#: ns in one unit of a published value; a share is its own unit.
UNITS_NS = {"%": 1.0, "ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9}
#: What the host's clock turns into time.
CYCLES = "cycles"


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
    predict : list of str
        Stacks without a published value that are predicted, too.
    calibration : list of str
        Stacks whose value is used to fit prices (without ``scaled``) or the scale (with it).
    line : bool
        The base is limited by a line, not by its processor: a unit takes the base's time or, if that is
        longer, the whole cost of the fixed mix.
    critical : bool
        Only what the asking processor spends counts: the others work beside it and are not the bottleneck.
    hidden : float
        What other work of the program hides of the base's waiting, in the unit of the value and besides it: the
        processor executes instructions that are in flight already. A longer wait is not hidden more (Karkhanis and
        Smith, "A first-order superscalar processor model", ISCA 2004, section 4.3).
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
    predict: list[Name] = []
    calibration: list[Name] = []
    fixed: str = ""
    scaled: str = ""
    times: float = 1.0
    per_second: bool = False
    rate: bool = False
    line: bool = False
    critical: bool = False
    work: Positive = 1.0
    hidden: Annotated[float, Meta(ge=0)] = 0.0
    spread: float | None = None
    why: str = ""

    def _check(self) -> None:
        if not self.fixed and not self.scaled:
            raise SpecError("fixed", "a row needs a mix")
        if not self.rate and self.unit not in (*UNITS_NS, CYCLES):
            known = ", ".join((*UNITS_NS, CYCLES))
            raise SpecError(
                "unit", f"{self.unit!r} is no time; known: {known}; if more of it is better, set rate = true"
            )
        for name in self.calibration:
            if name not in self.published:
                raise SpecError("calibration", f"no value is published for {name!r}")
        for name in self.predict:
            if name in self.published:
                raise SpecError("predict", f"{name!r} has a published value and is predicted anyway")

    @property
    def stacks(self) -> list[str]:
        """All stacks of the row, those without a published value last."""
        return [*self.published, *self.predict]


class Paper(Spec, frozen=True, kw_only=True):
    """A paper's results.

    Parameters
    ----------
    name, title : str
        Of the card, and of the paper with its venue and year.
    host : str
        Host card, or its path, with prices fitted from the calibration rows of level ``micro``.
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
    like : str
        A paper's card whose host, prices, base and stacks this one has, too: more rows of that paper. They are all
        predictions, but for the scale of rows with a ``scaled`` mix; stacks may be added.
    """

    name: Name
    title: Text
    host: CardName
    base: Name
    stacks: dict[Name, PaperStack]
    given: dict[str, Parameter] = {}
    assumed: dict[str, Parameter] = {}
    prior: Positive = 1.0
    rows: Annotated[list[Row], Meta(min_length=1)]
    like: str = ""

    def _check(self) -> None:
        if self.base not in self.stacks:
            raise SpecError("base", f"no stack is called {self.base!r}; known: {', '.join(self.stacks)}")
        for i, row in enumerate(self.rows):
            for name in row.stacks:
                if name not in self.stacks:
                    where = "published." + name if name in row.published else "predict"
                    known = ", ".join(self.stacks)
                    raise SpecError(f"rows[{i}].{where}", f"no such stack in this paper: {name!r}; known: {known}")
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
        if self.like and row.calibration and not row.scaled:
            raise SpecError(f"rows[{i}].calibration", f"the prices are those of {self.like!r}; only a scale is fitted")


#: What a card that is like another takes over; its prices were fitted with these.
_SHARED = ("host", "given", "assumed", "prior")


@cache
def load_paper(name: str) -> Paper:
    """The card of a paper, by its name or as a path that ends with ``.toml``.

    Raises
    ------
    SpecError
        If there is none, which lists the known names, or it is not acceptable.
    """
    path = find_card("literature", name, "paper")
    data = read_toml(path)
    return from_builtins(_with_model(data, str(path)) if "like" in data else data, Paper, str(path))


def _with_model(data: dict[str, Any], where: str) -> dict[str, Any]:
    """A card with what it takes over from the one that it is like."""
    try:
        model = load_paper(str(data["like"]))
    except SpecError as problem:
        raise SpecError(f"{where}: like", str(problem)) from None
    if model.like:
        raise SpecError(f"{where}: like", f"{model.name!r} is itself like {model.like!r}; name that one")
    for field in _SHARED:
        if field in data:
            raise SpecError(f"{where}: {field}", f"is that of {model.name!r}; leave it out, or leave out 'like'")
    shared = model.to_builtins()
    stacks = data.get("stacks", {})
    taken = {field: shared[field] for field in (*_SHARED, "base") if field in shared}
    return {**taken, **data, "stacks": {**shared["stacks"], **stacks} if isinstance(stacks, dict) else stacks}
