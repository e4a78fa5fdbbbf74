"""Progress on long work, for people only: a bar where somebody watches, silence elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sized
from typing import Any, TypeVar

T = TypeVar("T")


def track(items: Iterable[T], label: str, total: int | None = None, show: bool | None = None) -> Iterator[T]:
    """Iterate over ``items`` with a bar on standard error.

    Parameters
    ----------
    show : bool, optional
        Whether to show it; if absent, it is shown in a terminal and in a notebook, where tqdm is installed.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    if not (_watched() if show is None else show):
        return iter(items)
    try:
        bar = _bar()
    except ImportError:
        return iter(items)
    return iter(bar(items, desc=label, total=total, leave=False))


def _watched() -> bool:
    return "ipykernel" in sys.modules or (sys.stderr is not None and sys.stderr.isatty())


def _bar() -> Any:
    if "ipykernel" in sys.modules and "ipywidgets" in sys.modules:
        from tqdm.notebook import tqdm as notebook_bar

        return notebook_bar
    from tqdm import tqdm

    return tqdm
