"""Storeys that stand on each other, advanced together.

The storey with the earliest event works through it; of several, the lowest. The order is total, so a run is
repeatable to the bit. What happens on one storey reaches the others at the same instant (see
:mod:`virtsim.scheduling.storey`), so that all clocks that are read are right.
"""

from __future__ import annotations

from virtsim.scheduling.events import earliest
from virtsim.scheduling.storey import Storey
from virtsim.scheduling.vcpu_states import FAR_NS


class Tower:
    """All schedulers of a machine.

    Parameters
    ----------
    storeys : list of Storey
        Each behind those it stands on.
    """

    def __init__(self, storeys: list[Storey]) -> None:
        self.storeys = storeys
        self._queues = [storey.events for storey in storeys]
        self.now_ns = 0

    @property
    def live_tasks(self) -> int:
        """Tasks that have not ended, vCPUs not counted."""
        return self._live_tasks()

    def _live_tasks(self) -> int:
        live = 0
        for storey in self.storeys:
            live += storey.live_tasks
        return live

    def next_event_ns(self) -> int | None:
        """When something is due next; None if nothing ever is."""
        due = min(storey.first_event_ns() for storey in self.storeys)
        return due if due < FAR_NS else None

    def advance(self, to_ns: int) -> None:
        """Work through all events up to and including ``to_ns``; stops at the end of the last task."""
        while True:
            first = self._first(to_ns)
            if first is None:
                break
            first.serve_next()
            self.now_ns = first.now_ns
            if first.live_tasks == 0 and self._live_tasks() == 0:
                self._settle()
                return
        self.now_ns = to_ns
        self._settle()

    def _first(self, to_ns: int) -> Storey | None:
        place = earliest(self._queues, to_ns)
        return None if place < 0 else self.storeys[place]

    def _settle(self) -> None:
        for storey in self.storeys:
            storey.now_ns = self.now_ns
            storey.bring_up_to_date()
