"""The path of a request as stages: who works on it, in order, and what that costs.

A stage is CPU work of one party: the virtual processor that asked, a vhost worker, an I/O thread, a
driver domain. Between stages of different parties the next one has to be woken and scheduled; how long that
takes is not a price but an outcome of the machine that runs the stages.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from virtsim.platform.expand import Expansion, expand
from virtsim.platform.stack import Stack


class Stage(NamedTuple):
    """Work of one party on one request.

    Attributes
    ----------
    party : str
        ``""`` for the virtual processor that asked.
    totals : dict of str to float
        Primitives spent.
    """

    party: str
    totals: dict[str, float]


def io_path(event: str, stack: Stack, size: int = 0) -> list[Stage]:
    """Stages of one event, in order; neighbours of the same party are one stage.

    Parameters
    ----------
    event : str
        ``file_io``, ``packet_send``, ``packet_receive``, or any other event.
    stack : Stack
        Where the program runs.
    size : int, bytes
        Of the request.

    Notes
    -----
    The totals of all stages together are those of the expansion.
    """
    stages: list[Stage] = []
    for party, primitive, times in _leaves(expand(event, stack, size), 1.0, ""):
        if not stages or stages[-1].party != party:
            stages.append(Stage(party, {}))
        totals = stages[-1].totals
        totals[primitive] = totals.get(primitive, 0.0) + times
    return stages


def _leaves(node: Expansion, times: float, party: str) -> Iterator[tuple[str, str, float]]:
    if node.primitive:
        yield party, node.event, times
    for part in node.parts:
        yield from _leaves(part.expansion, times * part.times, part.party or party)
