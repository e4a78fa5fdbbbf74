"""What commands print: tables with units, notes, JSON."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from virtsim.core.errors import SpecError
from virtsim.core.files import write_whole
from virtsim.core.units import show_duration

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

#: Width of tables that go into a file or a pipe.
_PIPE_WIDTH = 140
_VERDICT_STYLES = {"PASSED": "green", "FAILED": "bold red", "UNDECIDED": "yellow", "SKIPPED": "dim"}


def console() -> Console:
    """Standard output; as wide as the terminal, or wide enough for our tables."""
    from rich.console import Console

    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _PIPE_WIDTH
    return Console(width=width, highlight=False, soft_wrap=False)


def say(text: str) -> None:
    """A line on standard output, never wrapped and never marked up."""
    print(text, flush=True)


def note(text: str) -> None:
    """A line on standard error, beside the results."""
    print(f"virtsim: {text}", file=sys.stderr, flush=True)


def show_table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    right: Sequence[str] = (),
    fold: Sequence[str] = (),
) -> None:
    """A table; ``right`` names the columns of numbers, ``fold`` those that may be folded."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE, pad_edge=False)
    for name in columns:
        justify = "right" if name in right else "left"
        table.add_column(name, justify=justify, no_wrap=name not in fold, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    console().print(table)


def show_value(value: float | None, unit: str) -> str:
    """A number with its unit: durations in the unit that suits, counts plainly."""
    if value is None:
        return "–"
    if unit == "ns":
        return show_duration(value, 4)
    return f"{value:,.6g}" if unit == "1" else f"{value:,.6g} {unit}"


def show_verdict(verdict: Any) -> Text:
    """A verdict in its colour."""
    from rich.text import Text

    word = str(getattr(verdict, "value", verdict))
    return Text(word, style=_VERDICT_STYLES.get(word, ""))


def write_json(path: str, data: Any) -> None:
    """Write ``data`` to a file, whole or not at all, or to standard output if ``path`` is ``-``.

    What is not a finite number is written as null, which JSON has for it.
    """
    text = json.dumps(_finite(data), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if path == "-":
        sys.stdout.write(text)
        return
    write_whole(Path(path), text.encode())


def _finite(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def check_target(option: str, path: str | Path | None) -> None:
    """Refuse an output file that could not be written, before anything is run."""
    if path is None or str(path) == "-":
        return
    folder = Path(path).parent
    if Path(path).is_dir():
        raise SpecError(option, f"{path} is a folder; name a file in it")
    if not folder.is_dir():
        raise SpecError(option, f"there is no folder {folder}; make it first")
    if not os.access(folder, os.W_OK):
        raise SpecError(option, f"the folder {folder} is not writable")
