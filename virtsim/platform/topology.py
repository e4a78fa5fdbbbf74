"""A host's CPUs and what they share."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from virtsim.core.errors import SpecError
from virtsim.core.parameter import Parameter
from virtsim.core.spec import Size, Spec

Small = Annotated[int, Meta(ge=1, le=4096)]


class Cache(Spec, frozen=True, kw_only=True):
    """One level of cache, as one CPU sees it.

    Parameters
    ----------
    size : str or int, bytes
        Capacity.
    ways : int
        Associativity.
    line : str or int, bytes
        Line size.
    """

    size: Size
    ways: Small
    line: Size = Size(64)

    def _check(self) -> None:
        if self.line < 1 or self.size < self.line * self.ways:
            raise SpecError("size", "a cache holds at least one set of its lines")


class Topology(Spec, frozen=True, kw_only=True):
    """CPUs and what they share.

    Parameters
    ----------
    cpus : int
        Logical CPUs.
    threads_per_core : int
        SMT width.
    cpus_per_cache : int, optional
        Logical CPUs that share a last-level cache; all of a memory node if absent.
    numa_nodes : int
        Memory nodes.
    numa_distances : list of list of int
        From node to node as firmware tells it, 10 to itself; 20 between all others if empty.
    siblings : str
        Numbers of the threads of a core: ``adjacent`` (0 and 1), or ``apart`` (all first threads come first).
    smt_speed : Parameter, optional
        Speed (unit ``1``) of each of two threads that run on a core, relative to one alone; 1 if absent.
    caches : list of Cache
        First level first, at most three; data caches.
    tlb_entries : int
        Pages of 4 KiB whose translations the last TLB level holds.
    """

    cpus: Small
    threads_per_core: Small = 1
    cpus_per_cache: Small | None = None
    numa_nodes: Small = 1
    numa_distances: list[list[Annotated[int, Meta(ge=10, le=254)]]] = []
    siblings: Literal["adjacent", "apart"] = "adjacent"
    smt_speed: Parameter | None = None
    caches: Annotated[list[Cache], Meta(min_length=1, max_length=3)]
    tlb_entries: Annotated[int, Meta(ge=1, le=10**6)]

    def _check(self) -> None:
        if self.cpus % self.threads_per_core or (self.cpus_per_cache or 1) > self.cpus:
            raise SpecError("cpus", "CPUs come in whole cores, and a cache is not shared by more than there are")
        if self.numa_nodes > self.cpus // self.threads_per_core:
            raise SpecError("numa_nodes", "a memory node has at least one core")
        distances = self.numa_distances
        if distances and (
            [len(row) for row in distances] != [self.numa_nodes] * self.numa_nodes
            or any(distances[i][j] != distances[j][i] for i in range(len(distances)) for j in range(i))
            or any((distances[i][j] == 10) != (i == j) for i in range(len(distances)) for j in range(len(distances)))
        ):
            raise SpecError("numa_distances", "one row and one column per node, symmetric, 10 to itself, more else")
        if self.smt_speed is not None:
            if self.smt_speed.unit != "1":
                raise SpecError("smt_speed.unit", f"must be '1', not {self.smt_speed.unit!r}")
            if self.smt_speed.value is None or not 0.1 <= self.smt_speed.value <= 1:
                raise SpecError("smt_speed.value", "must be between 0.1 and 1: threads do not speed each other up")
