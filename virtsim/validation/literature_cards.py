"""Cards of published results: papers with their rows."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Literal

from msgspec import Meta

from virtsim.core.data import find_card
from virtsim.core.errors import SpecError
from virtsim.core.parameter import Parameter
from virtsim.core.spec import Spec, load_toml
from virtsim.platform.mixes import Mix, load_mix
from virtsim.workload.operations import Name

__all__ = ["Mix", "Paper", "PaperStack", "Row", "load_mix", "load_paper"]

Text = Annotated[str, Meta(min_length=1, max_length=2000)]
Positive = Annotated[float, Meta(gt=0)]


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


@cache
def load_paper(name: str) -> Paper:
    """The card of a paper; the error of an unknown name lists the known ones."""
    return load_toml(find_card("literature", name, "paper"), Paper)
