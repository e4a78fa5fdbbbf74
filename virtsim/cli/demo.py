"""``virtsim demo``: the first experiment, told step by step."""

from __future__ import annotations


def demo() -> None:
    """Demo."""
