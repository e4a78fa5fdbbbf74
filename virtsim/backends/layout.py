"""The layout of the image, read from the runner's own header ``image.h``: one truth for both languages.

The header keeps to a few rules (every member is 64 bits wide and on a line of its own) that make it
readable here; the compiler and this module then agree by construction.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

RUNNER = Path(__file__).parent / "runner"
WORD = 8


class Member(NamedTuple):
    """Where a member is in its struct, in words."""

    offset: int
    words: int


class Layout(NamedTuple):
    """What ``image.h`` says.

    Attributes
    ----------
    constants : dict of str to int
        ``#define`` and enum values.
    structs : dict of str to dict of str to Member
    sizes : dict of str to int, words
        Length of each struct.
    enums : dict of str to tuple of str
        Names of each enum's values, from 0.
    """

    constants: dict[str, int]
    structs: dict[str, dict[str, Member]]
    sizes: dict[str, int]
    enums: dict[str, tuple[str, ...]]


@cache
def layout() -> Layout:
    """Layout of the installed runner's image."""
    return parse((RUNNER / "image.h").read_text(encoding="utf-8"))


def parse(header: str) -> Layout:
    """Read a header that keeps to the rules; ``ValueError`` for a line that does not."""
    text = re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)
    constants = {name: int(value, 0) for name, value in re.findall(r"#define (\w+) \(?(-?\w+)\)?$", text, re.MULTILINE)}
    enums = {name: tuple(body.replace(",", " ").split()) for name, body in _blocks("enum", text)}
    for values in enums.values():
        constants.update({value: i for i, value in enumerate(values)})
    structs: dict[str, dict[str, Member]] = {}
    sizes: dict[str, int] = {}
    for name, body in _blocks("struct", text):
        structs[name], sizes[name] = _members(body, constants)
    return Layout(constants, structs, sizes, enums)


def _blocks(kind: str, text: str) -> list[tuple[str, str]]:
    return re.findall(rf"^{kind} (\w+) \{{\n(.*?)^\}};", text, re.MULTILINE | re.DOTALL)


def _members(body: str, constants: dict[str, int]) -> tuple[dict[str, Member], int]:
    members: dict[str, Member] = {}
    offset = 0
    for line in filter(str.strip, body.splitlines()):
        match = re.fullmatch(r"\s*u?int64_t (\w+)(?:\[(\w+)\])?;\s*", line)
        if match is None:
            raise ValueError(f"image.h: {line.strip()!r} is not a 64-bit member")
        words = 1 if match[2] is None else constants.get(match[2]) or int(match[2])
        members[match[1]] = Member(offset, words)
        offset += words
    return members, offset
