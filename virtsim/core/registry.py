"""Plug points by explicit name. Nothing is found by walking directories."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from virtsim.core.errors import SpecError, did_you_mean

T = TypeVar("T")


class Registry(Generic[T]):
    """Named implementations of one plug point.

    Parameters
    ----------
    kind : str
        What is registered, as an error message should call it: ``"placement policy"``.

    Examples
    --------
    >>> policies = Registry[type]("placement policy")
    >>> @policies.register("first-fit")
    ... class FirstFit: ...
    >>> policies.get("first-fit").__name__
    'FirstFit'
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that stores the decorated object under ``name``, once."""

        def store(entry: T) -> T:
            if name in self._entries:
                raise SpecError(name, f"this {self.kind} is registered already; choose another name")
            self._entries[name] = entry
            return entry

        return store

    def get(self, name: str, path: str = "") -> T:
        """The entry called ``name``; the error of an unknown name lists the known ones."""
        try:
            return self._entries[name]
        except KeyError:
            hint = did_you_mean(name, self._entries)
            known = ", ".join(sorted(self._entries)) or "none"
            raise SpecError(path, f"no {self.kind} is called {name[:60]!r}; {hint}known: {known}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))
