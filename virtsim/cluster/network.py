"""Networks between hosts: links, and the way from one host to another.

All transfers (migrations, images, storage) share the links max-min fairly; see :mod:`virtsim.engine.links`.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING
from zlib import crc32

from virtsim.core.errors import SpecError

if TYPE_CHECKING:
    import networkx

#: Name of the node where images and storage are.
STORE = "store"


class Topology:
    """Directed links with capacities, and routes over them.

    Where several shortest ways exist, a pair of hosts always takes the same one, chosen by a hash of their names, as
    equal-cost multi-path routing does for flows.

    Parameters
    ----------
    graph : networkx.Graph
        Nodes are hosts (by name), switches, and perhaps ``"store"``; every edge has ``bandwidth``, bytes per
        second in each direction.
    hosts : sequence of str
        Which nodes are hosts; each must be in the graph and reach the others.

    Raises
    ------
    SpecError
        If the graph is directed, a host is not in it or cannot be reached, or an edge has no bandwidth.
    """

    def __init__(self, graph: networkx.Graph, hosts: Sequence[str]) -> None:
        import networkx as nx

        if graph.is_directed():
            raise SpecError("topology", "the graph is directed; give an undirected one: links carry as much each way")
        self.graph = graph
        self.hosts = tuple(hosts)
        missing = [host for host in hosts if host not in graph]
        if missing:
            raise SpecError("topology", f"host {missing[0]!r} is not a node of the graph")
        if hosts:
            reached = nx.node_connected_component(graph, hosts[0])
            lost = [host for host in hosts if host not in reached]
            if lost:
                raise SpecError("topology", f"there is no way from host {hosts[0]!r} to host {lost[0]!r}")
        self.capacity: dict[str, int] = {}
        for a, b, data in graph.edges(data=True):
            bandwidth = data.get("bandwidth", 0)
            if not _is_bandwidth(bandwidth):
                raise SpecError(
                    "topology", f"the edge {a!r} - {b!r} needs a bandwidth in bytes per second, at least 1 and finite"
                )
            self.capacity[_link(a, b)] = self.capacity[_link(b, a)] = int(bandwidth)
        self._ways: dict[tuple[str, str], tuple[str, ...]] = {}

    def check_serves(self, hosts: Sequence[str], store: bool) -> None:
        """Refuse a network that does not connect all of these hosts, and the store where something is read from it.

        Raises
        ------
        SpecError
            Names the node that is missing or not connected.
        """
        import networkx as nx

        for node in [*hosts, STORE] if store else hosts:
            if node not in self.graph:
                what = "guests read from it (image or storage)" if node == STORE else "the scenario has this host"
                raise SpecError("topology", f"{node!r} is not a node of the graph, and {what}; add it with its edges")
        if store and not nx.has_path(self.graph, STORE, hosts[0]):
            raise SpecError("topology", f"there is no way from {STORE!r} to host {hosts[0]!r}; add an edge")

    def way(self, source: str, target: str) -> tuple[str, ...]:
        """Links from one node to another."""
        way = self._ways.get((source, target))
        if way is None:
            way = self._ways[source, target] = self._find(source, target)
        return way

    def _find(self, source: str, target: str) -> tuple[str, ...]:
        import networkx as nx

        if source == target:
            return ()
        common = sorted(self.graph[source].keys() & self.graph[target].keys())
        if common and target not in self.graph[source]:
            middle = common[crc32(f"{source}>{target}".encode()) % len(common)]
            return (_link(source, middle), _link(middle, target))
        distance = nx.single_source_shortest_path_length(self.graph, target)
        seed = crc32(f"{source}>{target}".encode())
        node, links = source, []
        while node != target:
            nearer = sorted(n for n in self.graph[node] if distance.get(n, 1 << 30) < distance[node])
            following = nearer[seed % len(nearer)]
            links.append(_link(node, following))
            node = following
        return tuple(links)


def _is_bandwidth(value: object) -> bool:
    return isinstance(value, Real) and 1 <= float(value) < 1 << 62


def _link(a: str, b: str) -> str:
    return f"{a}>{b}"


def star(hosts: Sequence[str], bandwidth: int | Sequence[int], store_bandwidth: int = 1_250_000_000) -> Topology:
    """All hosts on one switch that never blocks: only their own links count."""
    import networkx as nx

    graph = nx.Graph()
    each = [bandwidth] * len(hosts) if isinstance(bandwidth, int) else bandwidth
    for host, rate in zip(hosts, each, strict=True):
        graph.add_edge(host, "switch", bandwidth=rate)
    graph.add_edge(STORE, "switch", bandwidth=store_bandwidth)
    return Topology(graph, hosts)


def leaf_spine(hosts: Sequence[str], bandwidth: int, per_leaf: int = 32, spines: int = 4, uplink: int = 0) -> Topology:
    """Hosts on leaves, every leaf on every spine; ``uplink`` is by default what makes it three to one.

    References
    ----------
    M. Alizadeh, T. Edsall, "On the data path performance of leaf-spine datacenter fabrics", HOTI 2013.
    """
    import networkx as nx

    if per_leaf < 1 or spines < 1:
        raise SpecError("topology", "a leaf has at least one host, and there is at least one spine")
    graph = nx.Graph()
    uplink = uplink or max(1, per_leaf * bandwidth // (3 * spines))
    for i, host in enumerate(hosts):
        graph.add_edge(host, f"leaf{i // per_leaf}", bandwidth=bandwidth)
    leaves = -(-len(hosts) // per_leaf)
    for leaf in range(leaves):
        for spine in range(spines):
            graph.add_edge(f"leaf{leaf}", f"spine{spine}", bandwidth=uplink)
    for spine in range(spines):
        graph.add_edge(STORE, f"spine{spine}", bandwidth=uplink)
    return Topology(graph, hosts)


def fat_tree(hosts: Sequence[str], bandwidth: int) -> Topology:
    """The smallest k-ary fat tree that has room: k pods, (k/2)² cores, all links equal.

    References
    ----------
    M. Al-Fares, A. Loukissas, A. Vahdat, "A scalable, commodity data center network architecture", SIGCOMM 2008.
    """
    import networkx as nx

    k = 2
    while k**3 // 4 < len(hosts):
        k += 2
    half = k // 2
    graph = nx.Graph()
    for i, host in enumerate(hosts):
        graph.add_edge(host, f"edge{i // half}", bandwidth=bandwidth)
    for pod in range(k):
        for a in range(half):
            for b in range(half):
                graph.add_edge(f"edge{pod * half + b}", f"pod{pod}.{a}", bandwidth=bandwidth)
                graph.add_edge(f"pod{pod}.{a}", f"core{a * half + b}", bandwidth=bandwidth)
    for core in range(half * half):
        graph.add_edge(STORE, f"core{core}", bandwidth=bandwidth)
    return Topology(graph, hosts)
