"""Links that transfers share max-min fairly: networks, buses, disks with a bandwidth.

Rates change only when a transfer begins or ends, and then only for the transfers that are connected with it
through shared links; the others are not touched. Amounts and rates are integers (2**-32 bytes, per ns).

References
----------
D. Bertsekas, R. Gallager, *Data Networks*, 2nd ed., 1992, section 6.5.2 (max-min fairness, progressive filling).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from heapq import heapify, heappop, heappush

from simpy.events import Event

from virtsim.core.errors import ModelError
from virtsim.core.units import NS_PER_S
from virtsim.engine.environment import Alarm, Environment

_UNITS_PER_BYTE = 1 << 32


class Transfer(Event):  # type: ignore[misc]
    """An event that happens when ``size_bytes`` have gone over all of ``links``; its value is itself."""

    def __init__(self, env: Environment, size_bytes: int, links: tuple[str, ...]) -> None:
        super().__init__(env)
        self.size_bytes = size_bytes
        self.links = links
        self.start_ns: int = env.now
        self.end_ns: int | None = None
        # What is left, units, at since_ns; it shrinks by rate units a nanosecond.
        self.left = size_bytes * _UNITS_PER_BYTE
        self.since_ns: int = env.now
        self.rate = 0
        self.due_ns: int | None = None

    @property
    def rate_hz(self) -> float:
        """Current rate, bytes per second."""
        return self.rate * NS_PER_S / _UNITS_PER_BYTE

    def left_bytes(self, now_ns: int) -> int:
        """Whole bytes, rounded up, that are still to be sent at a time between the last change of rate and its end."""
        return -(-max(0, self.left - self.rate * (now_ns - self.since_ns)) // _UNITS_PER_BYTE)


class FairLinks:
    """Links with capacities; every transfer over them gets its max-min fair rate.

    A transfer's rate is as large as it can be without taking from one that has less: rates rise together
    from 0, and each stops where a link on its way is full.

    Parameters
    ----------
    env : Environment
        The clock.
    capacity_hz : mapping of str to int
        Capacity of each link, bytes per second.

    Examples
    --------
    >>> env = Environment()
    >>> net = FairLinks(env, {"a": 1_000_000_000, "b": 250_000_000})
    >>> wide, narrow = net.transfer(750, ["a"]), net.transfer(250, ["a", "b"])
    >>> wide.rate_hz, narrow.rate_hz
    (750000000.0, 250000000.0)
    >>> env.run(); wide.end_ns, narrow.end_ns
    (1000, 1000)
    """

    def __init__(self, env: Environment, capacity_hz: Mapping[str, int]) -> None:
        self.env = env
        self._capacity: dict[str, int] = {}
        self._on_link: dict[str, dict[Transfer, None]] = {}
        for name, capacity in capacity_hz.items():
            if not 0 < capacity < 1 << 62:
                raise ModelError(f"link {name!r}: {capacity} is not a capacity in bytes per second")
            self._capacity[name] = max(1, capacity * _UNITS_PER_BYTE // NS_PER_S)
            self._on_link[name] = {}
        self._ends: list[tuple[int, int, Transfer]] = []
        self._sequence = 0
        self._alarm = Alarm(env, self._finish_due)

    def transfer(self, size_bytes: int, links: Iterable[str]) -> Transfer:
        """Send ``size_bytes`` over ``links``, all at once; yield it to wait for its end."""
        way = tuple(dict.fromkeys(links))
        for name in way:
            if name not in self._capacity:
                raise ModelError(f"no link is called {name!r}; known: {', '.join(sorted(self._capacity))}")
        if not way or type(size_bytes) is not int or size_bytes < 0:
            raise ModelError("a transfer needs at least one link and a whole number of bytes, at least 0")
        flow = Transfer(self.env, size_bytes, way)
        for name in way:
            self._on_link[name][flow] = None
        self._share(way)
        return flow

    def withdraw(self, flow: Transfer) -> None:
        """Take a transfer back; it will never happen, and the others share its rate from now on."""
        if flow.due_ns is None:
            raise ModelError("the transfer is not under way: it is done or was withdrawn")
        self._remove(flow)
        self._share(flow.links)

    def _remove(self, flow: Transfer) -> None:
        flow.due_ns = None
        for name in flow.links:
            del self._on_link[name][flow]

    def _connected(self, links: Iterable[str]) -> tuple[dict[str, None], dict[Transfer, None]]:
        """All links and transfers that a change on ``links`` can reach, in a fixed order."""
        reached: dict[str, None] = dict.fromkeys(links)
        flows: dict[Transfer, None] = {}
        waiting = list(reached)
        while waiting:
            for flow in self._on_link[waiting.pop()]:
                if flow in flows:
                    continue
                flows[flow] = None
                for name in flow.links:
                    if name not in reached:
                        reached[name] = None
                        waiting.append(name)
        return reached, flows

    def _share(self, changed: Iterable[str]) -> None:
        """Fill progressively: the link with the least left for each of its transfers is full first."""
        links, flows = self._connected(changed)
        left = {name: self._capacity[name] for name in links}
        users = {name: len(self._on_link[name]) for name in links}
        order = [(left[name] // users[name], name) for name in links if users[name]]
        heapify(order)
        settled: set[Transfer] = set()
        while len(settled) < len(flows):
            level, name = heappop(order)
            if not users[name]:
                continue
            if level != left[name] // users[name]:
                heappush(order, (left[name] // users[name], name))
                continue
            for flow in self._on_link[name]:
                if flow not in settled:
                    settled.add(flow)
                    self._set_rate(flow, max(1, level))
                    for other in flow.links:
                        left[other] -= level
                        users[other] -= 1
        self._set_alarm()

    def _set_rate(self, flow: Transfer, rate: int) -> None:
        if rate == flow.rate and flow.due_ns is not None:
            return
        now = self.env.now
        flow.left = max(0, flow.left - flow.rate * (now - flow.since_ns))
        flow.since_ns, flow.rate = now, rate
        flow.due_ns = now - (-flow.left // rate)
        self._sequence += 1
        heappush(self._ends, (flow.due_ns, self._sequence, flow))

    def _set_alarm(self) -> None:
        ends = self._ends
        while ends and ends[0][2].due_ns != ends[0][0]:
            heappop(ends)
        if ends:
            self._alarm.set(ends[0][0])
        else:
            self._alarm.clear()

    def _finish_due(self) -> None:
        now, changed = self.env.now, dict[str, None]()
        while self._ends and self._ends[0][0] <= now:
            due_ns, _, flow = heappop(self._ends)
            if flow.due_ns != due_ns:
                continue
            self._remove(flow)
            changed.update(dict.fromkeys(flow.links))
            flow.end_ns = now
            flow.succeed(flow)
        self._share(changed)
