"""Whole numbers in a row, of 64 bits each.

This is the interpreted form, a list; ``words.pyx`` is the same as an array in C. Both are read and written through
``at``, so that one source is fast in both worlds. Like a list of Python's they know their length; unlike one, the
compiled form does not check what is looked up in ``at``.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator


class Words:
    """Numbers by place.

    Parameters
    ----------
    count : int
        How many there are at first; all are 0.

    Attributes
    ----------
    at : list of int
        The numbers; good until the next one is added. In the compiled form it can be seen from C only.
    """

    __slots__ = ("at",)

    def __init__(self, count: int = 0) -> None:
        self.at = [0] * count

    def __len__(self) -> int:
        return len(self.at)

    def __iter__(self) -> Iterator[int]:
        return iter(self.at)

    def __getitem__(self, place: int) -> int:
        return self.at[place]

    def __setitem__(self, place: int, value: int) -> None:
        self.at[place] = value

    def first_not_below(self, value: int) -> int:
        """How many numbers of an ascending row are less than ``value``."""
        return bisect_left(self.at, value)

    def first_above(self, value: int) -> int:
        """How many numbers of an ascending row are not more than ``value``."""
        return bisect_right(self.at, value)

    def sort_in(self, value: int) -> int:
        """Put a number into an ascending row, behind those that are not more; gives its place."""
        place = bisect_right(self.at, value)
        self.at.insert(place, value)
        return place

    def take_out(self, value: int) -> int:
        """Take a number out of an ascending row, the first of equals; gives the place where it was."""
        place = bisect_left(self.at, value)
        del self.at[place]
        return place

    def insert(self, place: int, value: int) -> None:
        """Put a number before the one at ``place``."""
        self.at.insert(place, value)

    def remove(self, place: int) -> None:
        """Take the number at ``place`` out."""
        del self.at[place]

    def append(self, value: int) -> None:
        """Add a number at the end."""
        self.at.append(value)
