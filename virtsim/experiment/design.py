"""Designs: which combinations of factors' levels are run.

References
----------
A. M. Law, *Simulation Modeling and Analysis*, 5th ed., 2015, chapter 12 (factorial designs).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

from virtsim.core.errors import SpecError
from virtsim.core.spec import Written
from virtsim.experiment.change import as_builtins
from virtsim.results.runset import Level

Levels = Sequence[Any] | Mapping[str, Any]


class Point(NamedTuple):
    """One combination: ``labels`` for tables, ``changes`` for the scenario, both by path."""

    labels: dict[str, Level]
    changes: dict[str, Any]


def full_factorial(factors: Mapping[str, Levels]) -> list[Point]:
    """Every combination of all levels; the last factor varies fastest.

    Parameters
    ----------
    factors : mapping of str to levels
        A list of texts or numbers, or, for levels that are tables or workloads, a mapping of label to value.

    Examples
    --------
    >>> [point.labels for point in full_factorial({"duration": ["1s", "2s"], "host": ["a"]})]
    [{'duration': '1s', 'host': 'a'}, {'duration': '2s', 'host': 'a'}]
    """
    axes = {path: _labelled(path, levels) for path, levels in factors.items()}
    return [_point(axes, combination) for combination in product(*axes.values())]


def one_at_a_time(factors: Mapping[str, Levels]) -> list[Point]:
    """The first levels of all, then each factor's other levels with the others at their first."""
    axes = {path: _labelled(path, levels) for path, levels in factors.items()}
    base = {path: next(iter(axis)) for path, axis in axes.items()}
    points = [_point(axes, tuple(base.values()))]
    for path, axis in axes.items():
        points += [_point(axes, tuple({**base, path: label}.values())) for label in list(axis)[1:]]
    return points


DESIGNS = {"full": full_factorial, "one-at-a-time": one_at_a_time}


def _point(axes: Mapping[str, Mapping[Level, Any]], combination: tuple[Level, ...]) -> Point:
    labels = dict(zip(axes, combination, strict=True))
    return Point(labels, {path: axes[path][label] for path, label in labels.items()})


def _labelled(path: str, levels: Levels) -> dict[Level, Any]:
    """Levels by label; texts and numbers are their own labels."""
    if isinstance(levels, str) or not isinstance(levels, (Sequence, Mapping)):
        raise SpecError(path, "levels are a list of values, or a mapping of labels to values")
    if not levels:
        raise SpecError(path, "a factor needs at least one level")
    if isinstance(levels, Mapping):
        return {str(label): value for label, value in levels.items()}
    axis: dict[Level, Any] = {}
    for level in levels:
        label = _label(path, level)
        if label in axis:
            raise SpecError(path, f"the level {label!r} is there twice")
        axis[label] = level
    return axis


def _label(path: str, level: Any) -> Level:
    plain = as_builtins(level, path)
    if isinstance(level, Written):
        return str(level)
    if plain is None or isinstance(plain, (str, int, float, bool)):
        return plain
    raise SpecError(path, f"a level that is a {type(level).__name__} needs a label: give {{'label': level, ...}}")
