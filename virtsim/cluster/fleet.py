"""Hosts and guests of a scenario as arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from virtsim.cluster.migration import Dirtying
from virtsim.cluster.network import Topology, fat_tree, leaf_spine, star
from virtsim.cluster.overheads import stack_overhead
from virtsim.cluster.policies.tables import CPU, MEMORY, Floats, Integers, Mask
from virtsim.cluster.power import load_power
from virtsim.cluster.scenario import ClusterScenario, GuestGroup, HostGroup, reference_guests, traced_guests
from virtsim.cluster.traces.traces import Traces
from virtsim.core.errors import SpecError
from virtsim.core.units import format_size

_Card = TypeVar("_Card")


@dataclass(frozen=True)
class HostFleet:
    """One entry a host; times are ns, power W, links bytes per second."""

    names: list[str]
    capacity: Floats
    core_mips: Floats
    link: Integers
    watts: Floats
    asleep_watts: Floats
    off_watts: Floats
    boot_ns: Integers
    resume_ns: Integers
    suspend_ns: Integers
    shutdown_ns: Integers

    @classmethod
    def of(cls, groups: list[HostGroup]) -> HostFleet:
        """The hosts of all groups, in order."""
        cards = [_named(f"hosts[{i}].power", load_power, group.power) for i, group in enumerate(groups)]
        counts = [group.count for group in groups]

        def each(values: list[float]) -> Floats:
            return np.repeat(np.array(values, dtype=float), counts)

        def times(values: list[int]) -> Integers:
            return np.repeat(np.array(values, dtype=np.int64), counts)

        return cls(
            names=[f"{group.name}-{i}" for group in groups for i in range(group.count)],
            capacity=np.stack(
                [each([g.cores * g.core_mips for g in groups]), each([float(g.memory) for g in groups])], axis=1
            ),
            core_mips=each([g.core_mips for g in groups]),
            link=times([int(g.network) for g in groups]),
            watts=np.repeat(np.array([card.watts for card in cards], dtype=float), counts, axis=0),
            asleep_watts=each([card.asleep.known("asleep") for card in cards]),
            off_watts=each([card.off.known("off") for card in cards]),
            boot_ns=times([int(card.boot) for card in cards]),
            resume_ns=times([int(card.resume) for card in cards]),
            suspend_ns=times([int(card.suspend) for card in cards]),
            shutdown_ns=times([int(card.shutdown) for card in cards]),
        )


@dataclass(frozen=True)
class GuestFleet:
    """One entry a guest.

    Attributes
    ----------
    limit, speed, reserved : ndarray, MIPS
        Of all virtual CPUs together; of one; and what is kept for the guest.
    asks : ndarray, MIPS
        By which a new guest is placed: the request of a replica, the limit of others, whose demand is not known yet.
    factor : ndarray
        CPU that the host spends for each unit of the guest's work.
    memory, own_memory : ndarray, bytes
        With the stack's overhead, and without (what a migration sends).
    balloons : ndarray of bool
        Whether memory can be taken back while it runs.
    """

    names: list[str]
    limit: Floats
    speed: Floats
    reserved: Floats
    asks: Floats
    factor: Floats
    memory: Floats
    own_memory: Integers
    balloons: Mask
    apart: list[str]
    together: list[str]
    image: list[tuple[str, int]]
    start_ns: Integers
    storage: list[int]
    dirtying: list[Dirtying]

    @classmethod
    def of(cls, groups: list[GuestGroup], traces: Traces, slowest_mips: float) -> GuestFleet:
        """The guests of all groups, one a trace; without groups, those that the traces say.

        Raises
        ------
        SpecError
            If there are more or fewer guests than traces.
        """
        if not groups and traces.memory_bytes.any():
            return replace(cls.of(traced_guests(traces, slowest_mips), traces, slowest_mips), names=list(traces.guests))
        groups = groups or reference_guests(len(traces.guests))
        count = sum(group.instances for group in groups)
        if count != len(traces.guests):
            raise SpecError(
                "guests", f"the groups have {count} guests, the traces {len(traces.guests)}; each guest needs one trace"
            )
        counts = [group.instances for group in groups]
        overheads = [_named(f"guests[{i}].stack", stack_overhead, group.stack) for i, group in enumerate(groups)]

        def each(values: list[float]) -> Floats:
            return np.repeat(np.array(values, dtype=float), counts)

        return cls(
            names=[f"{group.name}-{i}" for group in groups for i in range(group.instances)],
            limit=each([g.cores * g.core_mips for g in groups]),
            speed=each([g.core_mips for g in groups]),
            reserved=each([g.request for g in groups]),
            asks=each([g.request if g.scaling else g.cores * g.core_mips for g in groups]),
            factor=each([one.cpu for one in overheads]),
            memory=each([float(g.memory + one.memory_bytes) for g, one in zip(groups, overheads)]),
            own_memory=np.repeat(np.array([int(g.memory) for g in groups], dtype=np.int64), counts),
            balloons=np.repeat(np.array([one.ballooning for one in overheads], dtype=bool), counts),
            apart=[group.apart for group in groups for _ in range(group.instances)],
            together=[group.together for group in groups for _ in range(group.instances)],
            image=[(group.name, int(group.image)) for group in groups for _ in range(group.instances)],
            start_ns=np.repeat(np.array([int(g.start) for g in groups], dtype=np.int64), counts),
            storage=[int(group.storage) for group in groups for _ in range(group.instances)],
            dirtying=[group.writes() for group in groups for _ in range(group.instances)],
        )

    def check_against(self, hosts: HostFleet, scenario: ClusterScenario) -> None:
        """Refuse a guest that no host could ever take.

        Raises
        ------
        SpecError
            Names the guest and what it needs.
        """
        room = hosts.capacity[:, MEMORY] * scenario.memory_overcommit
        cpu = hosts.capacity[:, CPU] * scenario.cpu_overcommit
        seen: set[tuple[float, float, float]] = set()
        for i, name in enumerate(self.names):
            key = (float(self.memory[i]), float(self.reserved[i] * self.factor[i]), float(self.speed[i]))
            if key in seen:
                continue
            seen.add(key)
            if not ((room >= key[0]) & (cpu >= key[1]) & (hosts.core_mips >= key[2])).any():
                raise SpecError(
                    f"guests[{name!r}]",
                    f"is larger than every host: it needs {format_size(int(key[0]))} of memory (its stack's included), "
                    f"{key[1]:g} MIPS reserved and cores of {key[2]:g} MIPS; give a larger host or a smaller guest",
                )


def _named(path: str, load: Callable[[str], _Card], name: str) -> _Card:
    """A card by name; an unknown one is told with the field that names it."""
    try:
        return load(name)
    except SpecError as problem:
        raise SpecError(path, str(problem)) from None


def topology_of(scenario: ClusterScenario, hosts: HostFleet) -> Topology:
    """The network of a scenario."""
    network = scenario.network
    if network.kind == "star":
        return star(hosts.names, hosts.link.tolist(), network.store)
    slowest = int(hosts.link.min())
    if network.kind == "leaf-spine":
        return leaf_spine(hosts.names, slowest, network.per_leaf, network.spines)
    return fat_tree(hosts.names, slowest)
