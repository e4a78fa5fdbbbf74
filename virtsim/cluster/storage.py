"""Storage over the network: what running guests read from the store, on the links that migrations and images use."""

from __future__ import annotations

from collections.abc import Sequence

from virtsim.cluster.network import STORE, Topology
from virtsim.core.units import NS_PER_S
from virtsim.engine.environment import Environment
from virtsim.engine.links import FairLinks, Transfer


def volume_link(guest: str) -> str:
    """Name of the link that stands for a guest's volume and its largest rate."""
    return f"{guest}:volume"


class StorageTraffic:
    """Reads of guests from their volumes in the store.

    In each sample a guest asks for ``rate * use * step`` bytes. They go over its volume, which gives at most ``rate``,
    and over the network's links, max-min fairly with all other transfers. What a sample does not get through is
    asked for with the next one.

    Parameters
    ----------
    env, links, topology
        The clock, and the network.
    guests, hosts : sequence of str
        Names.
    rates : sequence of int, bytes per second
        Of each guest's volume; 0 for a guest without one.

    Attributes
    ----------
    late_s : float, s
        Time that reads took beyond what they take on an empty network, summed over guests.
    """

    def __init__(
        self,
        env: Environment,
        links: FairLinks,
        topology: Topology,
        guests: Sequence[str],
        hosts: Sequence[str],
        rates: Sequence[int],
    ) -> None:
        self._env, self._links, self._topology = env, links, topology
        self._guests, self._hosts, self.rates = guests, hosts, rates
        self.readers = [guest for guest, rate in enumerate(rates) if rate > 0]
        self._left: dict[int, int] = dict.fromkeys(self.readers, 0)
        self._flows: dict[int, Transfer] = {}
        self._moved_bytes = 0
        self._late_ns = 0

    @property
    def late_s(self) -> float:
        """See the class."""
        return self._late_ns / NS_PER_S

    @property
    def read_bytes(self) -> int:
        """Bytes that have arrived, those of reads under way included, as of now."""
        return self._moved_bytes + sum(flow.size_bytes - self._remaining(flow) for flow in self._flows.values())

    def ask(self, guest: int, host: int, size_bytes: int) -> None:
        """A running guest asks for so many bytes more."""
        if guest in self._left and size_bytes > 0:
            self.stop(guest)
            self._left[guest] += size_bytes
            self.go_on(guest, host)

    def stop(self, guest: int) -> None:
        """Break off a guest's read: it stops, or goes on elsewhere."""
        flow = self._flows.pop(guest, None)
        if flow is None:
            return
        if flow.due_ns is not None:
            rest = self._remaining(flow)
            self._links.withdraw(flow)
        else:
            rest = 0
        self._account(guest, flow, rest)
        self._left[guest] += rest

    def go_on(self, guest: int, host: int) -> None:
        """Read what is still asked for, from this host."""
        size = self._left.get(guest, 0)
        if not size or guest in self._flows:
            return
        self._left[guest] = 0
        way = (volume_link(self._guests[guest]), *self._topology.way(STORE, self._hosts[host]))
        flow = self._flows[guest] = self._links.transfer(size, way)
        flow.callbacks.append(lambda _: self._done(guest, flow))

    def _done(self, guest: int, flow: Transfer) -> None:
        if self._flows.get(guest) is flow:
            del self._flows[guest]
            self._account(guest, flow, 0)

    def _account(self, guest: int, flow: Transfer, rest: int) -> None:
        moved = flow.size_bytes - rest
        self._moved_bytes += moved
        end_ns = flow.end_ns if flow.end_ns is not None else self._env.now
        self._late_ns += max(0, end_ns - flow.start_ns - moved * NS_PER_S // self.rates[guest])

    def _remaining(self, flow: Transfer) -> int:
        return flow.left_bytes(self._env.now)
