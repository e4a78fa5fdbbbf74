"""Progress on long work, for people only: a bar where somebody watches, lines where asked for, else silence."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import Any, Literal, TypeVar

T = TypeVar("T")
#: A bar or none, or lines for a log; None is a bar where somebody watches.
Show = bool | Literal["lines"] | None

#: Least time between two lines: a long run's log stays short.
LINE_EVERY_S = 30.0


def track(items: Iterable[T], label: str, total: int | None = None, show: Show = None, done: int = 0) -> Iterator[T]:
    """Iterate over ``items`` and show on standard error how many are done, and the time left.

    Parameters
    ----------
    total : int, optional
        All items, with those that were done before; as many as ``items`` has and ``done``, if absent.
    show : bool or "lines", optional
        Whether to show a bar (of tqdm, where it is installed), or lines for a log; if absent, a bar in a terminal
        and in a notebook.
    done : int
        How many were done before.
    """
    if total is None and isinstance(items, Sized):
        total = len(items) + done
    if show == "lines":
        return _lines(items, label, total, done)
    if not (watched() if show is None else show):
        return iter(items)
    try:
        bar = _bar()
    except ImportError:
        return iter(items)
    return iter(bar(items, desc=label, total=total, initial=done, leave=False))


def watched() -> bool:
    """Whether somebody sees standard error while it is written."""
    return "ipykernel" in sys.modules or (sys.stderr is not None and sys.stderr.isatty())


def _lines(items: Iterable[T], label: str, total: int | None, done: int) -> Iterator[T]:
    """Quick work has no line."""
    started = said = time.monotonic()
    for made, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - said >= LINE_EVERY_S:
            said = now
            sys.stderr.write(_line(label, done, made, total, now - started) + "\n")
            sys.stderr.flush()


def _line(label: str, done: int, made: int, total: int | None, seconds: float) -> str:
    if total is None:
        return f"{label}: {done + made} done"
    minutes, left_s = divmod(round(seconds / made * (total - done - made)), 60)
    return f"{label}: {done + made} of {total} done, about {minutes} min {left_s:02d} s left"


def _bar() -> Any:
    if "ipykernel" in sys.modules and "ipywidgets" in sys.modules:
        from tqdm.notebook import tqdm as notebook_bar

        return notebook_bar
    from tqdm import tqdm

    return tqdm
