"""Changing a scenario by paths: ``{"guests.web.stack": "container"}``.

A path is made of field names, separated by dots. In a list of named things (guests, groups, tasks) a part is
a name or an index, ``guests.web`` or ``guests[0]``; in other lists an index, ``program[0]`` or ``program.0``;
``*`` stands for all. A name that holds dots is found as it is: of several that fit, the longest.

A guest whose stack becomes ``native`` keeps its limits: they move to a group of its own, ``NAME-limits``, since a
native guest has no cgroup to limit. So stacks with and without one can be swept over.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from virtsim.core.errors import SpecError, did_you_mean
from virtsim.core.spec import encode_json
from virtsim.scenario.guest import Limits
from virtsim.scenario.scenario import Scenario

#: Fields that hold lists; an absent one is empty and has nothing to be addressed.
_LISTS = ("guests", "groups", "tasks", "program", "body")
_INDEX = re.compile(r"\[(\d{1,6})\]")

Place = tuple[Any, Any]


def change(scenario: Scenario, changes: Mapping[str, Any]) -> Scenario:
    """A scenario with some fields changed, checked as strictly as one from a file.

    Parameters
    ----------
    scenario : Scenario
        Stays as it is.
    changes : mapping of str to value
        Path and new value: what TOML would hold (texts with units, numbers, lists, tables), or a spec of
        this package such as a workload. None puts the field back to its default.

    Raises
    ------
    SpecError
        If a path leads nowhere or the changed scenario is not acceptable; one line with the path.

    Examples
    --------
    >>> from virtsim.scenario.guest import Guest
    >>> from virtsim.workload.builders import spin
    >>> s = Scenario(guests=[Guest(name="web", workload=spin())], duration="1s")
    >>> change(s, {"guests.web.cpu_max": "30%", "duration": "2s"}).guests[0].cpu_max
    CpuMax('30ms/100ms')
    """
    data = scenario.to_builtins()
    natives = []
    for path, value in changes.items():
        plain = as_builtins(value, path)
        for place, key in list(_places(data, path, path)):
            if plain is None and isinstance(place, dict):
                place.pop(key, None)
            else:
                place[key] = plain
            if (key, plain) == ("stack", "native") and any(place is guest for guest in data["guests"]):
                natives.append(place)
    for guest in natives:
        _limit_by_group(data, guest)
    try:
        return Scenario.from_builtins(data)
    except SpecError as problem:
        settings = ", ".join(f"{path}={show_level(value)}" for path, value in changes.items())
        raise problem.inside(f"with {settings}: ") from None


def _limit_by_group(data: dict[str, Any], guest: dict[str, Any]) -> None:
    """Move the limits of a guest to a group around it."""
    limits = {name: guest.pop(name) for name in Limits.__struct_fields__ if name in guest}
    if limits:
        around = {"parent": guest["group"]} if "group" in guest else {}
        guest["group"] = f"{guest['name']}-limits"
        data.setdefault("groups", []).append({"name": guest["group"], **around, **limits})


def as_builtins(value: Any, path: str) -> Any:
    """``value`` as TOML would hold it."""
    value = value.item() if hasattr(value, "item") and not isinstance(value, type) else value
    if isinstance(value, float) and not math.isfinite(value):
        raise SpecError(path, f"{value} is not a finite number")
    try:
        return msgspec.json.decode(encode_json(value))
    except (TypeError, ValueError):
        raise SpecError(
            path, f"a {type(value).__name__} cannot stand in a scenario; give text, a number or a spec"
        ) from None


def show_level(value: Any) -> str:
    """A value in one short line."""
    text = repr(value) if isinstance(value, (str, int, float, type(None))) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _places(node: Any, rest: str, path: str) -> Iterator[Place]:
    """The containers and keys in ``node`` that ``rest``, the end of ``path``, means."""
    for key, remainder in _steps(node, rest, path):
        if not remainder:
            yield node, key
            continue
        if isinstance(node, dict) and key not in node:
            if key in _LISTS:
                raise SpecError(path, f"there are no {key} here to change")
            # A table whose fields all have their defaults; whether it may be here, the strict check tells.
            node[key] = {}
        yield from _places(node[key], remainder, path)


def _steps(node: Any, rest: str, path: str) -> Iterator[tuple[Any, str]]:
    """Keys of ``node`` that the first part of ``rest`` means, each with what follows it."""
    if isinstance(node, dict):
        yield _split(rest, node) or _first_part(rest, path)
    elif isinstance(node, list):
        yield from _list_steps(node, rest, path)
    else:
        done = path[: len(path) - len(rest)].rstrip(".")
        raise SpecError(path, f"{done} is the value {show_level(node)}, there is nothing inside it")


def _list_steps(node: list[Any], rest: str, path: str) -> Iterator[tuple[int, str]]:
    names = {item["name"]: i for i, item in enumerate(node) if isinstance(item, dict) and "name" in item}
    named = _split(rest, names)
    index = _INDEX.match(rest)
    if named is not None:
        yield names[named[0]], named[1]
        return
    if index is not None:
        part, remainder, number = index[0], _after(rest, index.end(), path), int(index[1])
    else:
        part, remainder = _first_part(rest, path)
        if part == "*":
            for i in range(len(node)):
                yield i, remainder
            return
        if not part.isdecimal() or not part.isascii():
            raise SpecError(path, _unknown(part, names, len(node)))
        number = int(part[:7])
    if number >= len(node):
        raise SpecError(path, f"there is no item {part}, the list has {len(node)}")
    yield number, remainder


def _split(rest: str, known: Mapping[str, Any]) -> tuple[str, str] | None:
    """The longest known name that ``rest`` begins with, and what follows it."""
    for name in sorted(known, key=len, reverse=True):
        if rest == name:
            return name, ""
        if rest.startswith(f"{name}.") and len(rest) > len(name) + 1:
            return name, rest[len(name) + 1 :]
        if rest.startswith(f"{name}[") and _INDEX.match(rest, len(name)):
            return name, rest[len(name) :]
    return None


def _first_part(rest: str, path: str) -> tuple[str, str]:
    match = re.match(r"[^.\[\]]+", rest)
    if match is None:
        raise SpecError(path, "is not a path; write for example guests.web.cpu_weight or guests[0].stack")
    return match[0], _after(rest, match.end(), path)


def _after(rest: str, end: int, path: str) -> str:
    """What follows a part that ends at ``end``: nothing, ``.more`` or ``[0]``."""
    remainder = rest[end:]
    if remainder.startswith(".") and len(remainder) > 1:
        return remainder[1:]
    if remainder and not _INDEX.match(remainder):
        raise SpecError(path, "is not a path; write for example guests.web.cpu_weight or guests[0].stack")
    return remainder


def _unknown(part: str, names: Mapping[str, int], length: int) -> str:
    if not names:
        return f"{part!r} is not an index of the list; it has {length} items"
    hint = did_you_mean(part, names)
    shown = ", ".join(list(names)[:20])
    return f"nothing here is called {part[:60]!r}; {hint}there are: {shown}"
