"""What the machine charges: expansions priced once, as whole nanoseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virtsim.core.errors import SpecError
from virtsim.platform.expand import combine, expand, price
from virtsim.platform.operations import Event, TlbProfile, compute_events, contended_events, operation_events

if TYPE_CHECKING:
    from collections.abc import Iterable

    from virtsim.platform.host import HostCard
    from virtsim.platform.stack import Stack
    from virtsim.workload.operations import Operation
    from virtsim.workload.workload import Workload


class Costs:
    """Prices of events and operations for programs on one stack of one host.

    Parameters
    ----------
    host : HostCard
        Prices and caches.
    stack : Stack
        Where the programs run; kept as it is on that host (:meth:`Stack.on_host`).

    Notes
    -----
    Every cost is rounded to whole ns once, half to even; results are kept.
    """

    def __init__(self, host: HostCard, stack: Stack) -> None:
        self.host = host
        self.stack = stack.on_host(host)
        self._events: dict[Event, int] = {}

    def event_ns(self, event: str, times: float = 1.0, size: int = 0) -> int:
        """CPU time of ``times`` such events, ns."""
        key = Event(event, times, size)
        cost = self._events.get(key)
        if cost is None:
            cost = self._events[key] = round(times * price(expand(event, self.stack, size), self.host))
        return cost

    def parties_ns(self, event: str, size: int = 0) -> dict[str, int]:
        """CPU time of one event by who spends it: ``""`` is who asked, others work for it elsewhere."""
        parties = expand(event, self.stack, size).parties
        return {party: round(price(totals, self.host)) for party, totals in parties.items()}

    def compute_rate(self, profile: TlbProfile | None = None) -> float:
        """CPU ns for each ns of the reference core; with a TLB profile, its walks included."""
        return price(self.totals(compute_events(1.0, profile)), self.host)

    def operation_ns(self, operation: Operation, workload: Workload, profile: TlbProfile | None = None) -> int:
        """CPU time of one execution of an operation, ns; see :func:`operation_events` for what it leaves out."""
        cost_ns = self._sum(operation_events(operation, workload, self.host.topology, profile))
        if cost_ns < 0:
            raise SpecError("operation", f"costs {cost_ns} ns: a mix that subtracts cannot be run")
        return cost_ns

    def contended_ns(self, operation: Operation, workload: Workload) -> int:
        """CPU time that it adds when it waits or wakes, ns."""
        return self._sum(contended_events(operation, workload))

    def totals(self, events: Iterable[Event]) -> dict[str, float]:
        """Primitives of several events together: the design row of a measured operation."""
        return combine((e.times, expand(e.event, self.stack, e.size)) for e in events)

    def _sum(self, events: Iterable[Event]) -> int:
        return round(price(self.totals(events), self.host))
