"""Requests that arrive and are served first come, first served."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from virtsim.scheduling.tally import Tally

if TYPE_CHECKING:
    from virtsim.scheduling.task import Task

#: An arrival that never comes: a worker that waits for it sleeps to the end of the run.
NEVER_NS = 1 << 61
#: Requests that are kept one by one, so that a long run does not grow with them; tallies count all.
MAX_REQUESTS = 200_000


class RequestQueue:
    """An open arrival process that tasks serve.

    Parameters
    ----------
    name : str
        For records.
    arrivals : iterator of int, ns
        Arrival times, ascending.
    count : int or None
        Requests in all; None for as many as arrive.
    sleep_ns : int, ns
        CPU time of a server that has to sleep until the next arrival.

    Attributes
    ----------
    served : list of (task, arrival_ns, start_ns, end_ns)
        The first :data:`MAX_REQUESTS`.
    tallies : dict of Task to Tally
        Times from arrival to end of all that a task has served.
    """

    __slots__ = ("arrivals", "left", "name", "served", "sleep_ns", "tallies")

    def __init__(self, name: str, arrivals: Iterator[int], count: int | None = None, sleep_ns: int = 0) -> None:
        self.name = name
        self.sleep_ns = sleep_ns
        self.arrivals = arrivals
        self.left = count if count is not None else -1
        self.served: list[tuple[Task, int, int, int]] = []
        self.tallies: dict[Task, Tally] = {}

    @property
    def exhausted(self) -> bool:
        """Whether all requests have been taken."""
        return self.left == 0

    def take(self) -> int:
        """Arrival time of the next request."""
        if self.left > 0:
            self.left -= 1
        return next(self.arrivals, NEVER_NS)

    def record(self, task: Task, arrival_ns: int, start_ns: int, end_ns: int) -> None:
        """Note a served request."""
        tally = self.tallies.get(task)
        if tally is None:
            tally = self.tallies[task] = Tally()
        tally.add(end_ns - arrival_ns if end_ns > arrival_ns else 0)
        if len(self.served) < MAX_REQUESTS:
            self.served.append((task, arrival_ns, start_ns, end_ns))
