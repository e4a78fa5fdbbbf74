"""Which CPUs share a core, a last-level cache and a memory node; from a host card's ``topology``."""

from __future__ import annotations

from dataclasses import dataclass

from virtsim.core.errors import ModelError

#: Distance of a node to itself, as firmware tables (ACPI's SLIT) give it; to another on the same board.
LOCAL, REMOTE = 10, 20


@dataclass(frozen=True)
class Layout:
    """The CPUs' places, by their numbers.

    Parameters
    ----------
    cores, caches, nodes : tuple of int
        Number of each CPU's core, last-level cache and memory node; CPUs of a core share a cache, those of a
        cache a node.
    distances : tuple of tuple of int, optional
        From node to node, 10 to itself; 20 between all others if absent.
    """

    cores: tuple[int, ...]
    caches: tuple[int, ...]
    nodes: tuple[int, ...]
    distances: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        if not len(self.cores) == len(self.caches) == len(self.nodes):
            raise ModelError("a layout names a core, a cache and a node for every CPU")
        for inner, outer, what in (
            (self.cores, self.caches, "core share a cache"),
            (self.caches, self.nodes, "cache share a memory node"),
        ):
            if len(set(zip(inner, outer))) != len(set(inner)):
                raise ModelError(f"CPUs of a {what}: make the cores and caches of the layout nest")

    @classmethod
    def flat(cls, cpus: int) -> Layout:
        """One last-level cache over all CPUs, each a core of its own."""
        return cls(tuple(range(cpus)), (0,) * cpus, (0,) * cpus)

    @classmethod
    def regular(
        cls,
        cpus: int,
        threads_per_core: int = 1,
        cpus_per_cache: int | None = None,
        nodes: int = 1,
        siblings_apart: bool = False,
        distances: tuple[tuple[int, ...], ...] = (),
    ) -> Layout:
        """Equal nodes of equal caches of equal cores, numbered one after the other.

        ``siblings_apart`` numbers the first threads of all cores before the second ones, as most firmware does.
        """
        cores = cpus // threads_per_core
        per_node = -(-cores // nodes)
        per_cache = per_node if cpus_per_cache is None else min(max(cpus_per_cache // threads_per_core, 1), per_node)
        per_node_caches = -(-per_node // per_cache)
        core = tuple(n % cores if siblings_apart else n // threads_per_core for n in range(cpus))
        node = tuple(number // per_node for number in core)
        cache = tuple(
            place * per_node_caches + number % per_node // per_cache for number, place in zip(core, node, strict=True)
        )
        return cls(core, cache, node, distances)

    def distance(self, one: int, other: int) -> int:
        """From one node to another."""
        if self.distances:
            return self.distances[one][other]
        return LOCAL if one == other else REMOTE
