"""A cluster as data: hosts, guests, demand, policy, rules."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta

from virtsim.cluster.cloudsim.quirks import Quirks
from virtsim.cluster.migration import Dirtying, DirtyPages, Strategy
from virtsim.cluster.policies.autoscale import HorizontalAutoscaler
from virtsim.core.errors import SpecError
from virtsim.core.spec import Duration, Size, Spec
from virtsim.core.units import NS_PER_S, format_size

if TYPE_CHECKING:
    from virtsim.cluster.traces.traces import Traces

Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Positive = Annotated[float, Meta(gt=0, le=1e9)]
Name = Annotated[str, Meta(min_length=1, max_length=100)]

RULES = ("virtsim", "cloudsim-3.0.3")


class HostGroup(Spec, frozen=True, kw_only=True):
    """Equal hosts.

    Parameters
    ----------
    name : str
        Hosts are called ``name-0``, ``name-1``, ...
    count : int
        How many.
    cores : int
        CPU cores of each.
    core_mips : float, MIPS
        Speed of a core.
    memory : Size
        Memory of each.
    network : Size
        Bytes per second of its link, in each direction.
    power : str
        Name of a card in ``models/power``.
    """

    name: Name
    count: Count = 1
    cores: Annotated[int, Meta(ge=1, le=4096)]
    core_mips: Positive
    memory: Size
    network: Size = Size(125_000_000)
    power: str

    def _check(self) -> None:
        if self.memory < 1:
            raise SpecError("memory", f"host group {self.name!r} has no memory; give each host some, as in '4GiB'")
        if self.network < 1:
            raise SpecError("network", f"host group {self.name!r} has no network; give bytes per second, as in '125MB'")


class GuestGroup(Spec, frozen=True, kw_only=True):
    """Guests of one kind; they take the rows of the traces in the order of the groups.

    Parameters
    ----------
    name : str
        Guests are called ``name-0``, ``name-1``, ...
    count : int
        How many.
    cores : int
        Virtual CPUs.
    core_mips : float, MIPS
        Limit of each virtual CPU.
    memory : Size
        Memory of each.
    reserved : float
        Share of its CPU limit that is kept for it whatever it asks for.
    stack : str
        Name of a stack card: ``native``, ``kvm``, ``xen-pv``, ``container``, ``container-in-kvm``, ...
    apart : str
        Guests with the same word never share a host.
    together : str
        Guests with the same word prefer one host.
    image : Size
        Bytes pulled from the store when a host starts such a guest for the first time.
    start : Duration
        Time from placement (and image) until it runs.
    storage : Size
        Bytes per second that it reads from the store at full CPU use, and in proportion below; its volume gives no
        more. The reads share the network with migrations and images.
    dirtying : Dirtying, optional
        How it writes to its memory; by default 5 % of it, all of that within about 10 s.
    scaling : HorizontalAutoscaler, optional
        Makes the group a service: ``count`` replicas at first, then as many as these rules say. It takes one row of
        the traces: the service's demand, as a share of what the largest number of replicas can do. ``reserved`` is
        then what Kubernetes calls the request (0: as much as the limit), by which replicas are placed and measured.
    """

    name: Name
    count: Count = 1
    cores: Annotated[int, Meta(ge=1, le=4096)] = 1
    core_mips: Positive
    memory: Size
    reserved: Share = 0.0
    stack: str = "native"
    apart: str = ""
    together: str = ""
    image: Size = Size(0)
    start: Duration = Duration(0)
    storage: Size = Size(0)
    dirtying: Dirtying | None = None
    scaling: HorizontalAutoscaler | None = None

    @property
    def request(self) -> float:
        """CPU that is kept for each, MIPS."""
        share = self.reserved or (1.0 if self.scaling else 0.0)
        return self.cores * self.core_mips * share

    @property
    def rows(self) -> int:
        """Rows of the traces that the group takes."""
        return self.count if self.scaling is None else 1

    @property
    def instances(self) -> int:
        """Guests that there may be at once."""
        return self.count if self.scaling is None else self.scaling.most

    def _check(self) -> None:
        if self.scaling is not None and not self.scaling.least <= self.count <= self.scaling.most:
            raise SpecError(
                "count",
                f"guest group {self.name!r} begins with {self.count} replicas; its scaling allows "
                f"{self.scaling.least} to {self.scaling.most}",
            )
        if self.memory < 1:
            raise SpecError("memory", f"guest group {self.name!r} has no memory; give each guest some, as in '1GiB'")
        written = sum(one.size for one in self.dirtying.sets) if self.dirtying is not None else 0
        if written > self.memory:
            raise SpecError(
                "dirtying",
                f"guest group {self.name!r} writes to {format_size(written)}, more than its memory of "
                f"{format_size(self.memory)}; give smaller sets or more memory",
            )

    def writes(self) -> Dirtying:
        """How a guest dirties its memory."""
        if self.dirtying is not None:
            return self.dirtying
        return Dirtying(sets=[DirtyPages(size=Size(self.memory // 20), rate=Size(self.memory // 200))])


class Policy(Spec, frozen=True, kw_only=True):
    """Who decides what, by name.

    Parameters
    ----------
    placement : str
        Of guests that arrive or move: a name of :data:`virtsim.cluster.policies.PLACEMENTS`.
    consolidation : str
        ``dynamic`` or ``none``.
    overload, overload_parameter
        Detector and its threshold or safety.
    selection : str
        Which guest leaves an overloaded host.
    underload : float
        Hosts above this load are not emptied.
    settling : Duration
        A guest that has moved stays for so long.
    idle_hosts : str
        What becomes of a host without guests: ``asleep``, ``off`` or ``on``.
    spare : int
        Idle hosts that stay on.
    """

    placement: str = "power-aware-best-fit-decreasing"
    consolidation: str = "dynamic"
    overload: str = "lr"
    overload_parameter: float | None = None
    selection: str = "mmt"
    underload: Share = 0.6
    settling: Duration = Duration(1800 * NS_PER_S)
    idle_hosts: Literal["asleep", "off", "on"] = "asleep"
    spare: Annotated[int, Meta(ge=0)] = 0


class Failures(Spec, frozen=True, kw_only=True):
    """Hosts that fail and come back.

    Parameters
    ----------
    mean_time_between : Duration
        Mean time between failures of one host, exponential; 0 for none.
    mean_repair : Duration
        Mean time to repair, exponential.
    at : list of (str, Duration, Duration)
        Failures that happen for sure: host, when, and how long.
    """

    mean_time_between: Duration = Duration(0)
    mean_repair: Duration = Duration(3600 * NS_PER_S)
    at: list[tuple[str, Duration, Duration]] = []


class Demand(Spec, frozen=True, kw_only=True):
    """Where the traces come from.

    Parameters
    ----------
    file : str
        A PlanetLab ``.npz``, a GWA-T-12 folder or file, or a table; empty for a generator.
    format : str
        ``planetlab``, ``gwa`` or ``table``.
    day : str
        Day of a PlanetLab file.
    generator : str
        Name of a card in ``models/traces``.
    samples : int
        Samples to generate.
    columns : dict
        Of a table: the names of its columns where they differ from ``id``, ``start``, ``end``, ``cores``, ``ram_gib``
        and ``utilisation``, as in ``{ id = "vmid", memory = "vmmemory" }``.
    """

    file: str = ""
    format: Literal["planetlab", "gwa", "table"] = "planetlab"
    day: str = ""
    generator: str = "planetlab-like"
    samples: Annotated[int, Meta(ge=1, le=1_000_000)] = 288
    columns: dict[str, str] = {}


class Network(Spec, frozen=True, kw_only=True):
    """The shape of the network.

    Parameters
    ----------
    kind : str
        ``star`` (only the hosts' own links count), ``leaf-spine`` or ``fat-tree``.
    migration_share : float
        Share of a host's link that migrations may take together.
    per_leaf, spines : int
        Of a leaf-spine network.
    store : Size
        Bytes per second of the store's link in a star.
    """

    kind: Literal["star", "leaf-spine", "fat-tree"] = "star"
    migration_share: Annotated[float, Meta(gt=0, le=1)] = 0.5
    per_leaf: Count = 32
    spines: Count = 4
    store: Size = Size(1_250_000_000)


class ClusterScenario(Spec, frozen=True, kw_only=True):
    """What is run.

    Parameters
    ----------
    name : str
        For reports.
    rules : str
        ``virtsim``, or ``cloudsim-3.0.3``, which has its own machines and takes from here only traces, ``policy_name``,
        ``reference_hosts`` and ``quirks``.
    hosts, guests : list
        The machines, and what runs on them. Without guests, every trace is a guest: of the cores and memory that
        the traces say, a core as fast as the slowest host's; or, where they say nothing of memory, of the four types
        of the reference, in its order.
    demand : Demand
        Their traces.
    policy : Policy
        Decisions.
    interval : Duration
        Time between decisions.
    duration : Duration
        Simulated time; 0 for the length of the traces.
    migration : Strategy
        How guests move.
    migration_slowdown : float
        Share of its speed that a guest loses while it is being copied.
    migration_cores : float
        Cores that a migration takes on each of the two hosts.
    concurrent_migrations : int
        Migrations that a host takes part in at once; more wait. One is what OpenStack Nova does by default
        (max_concurrent_live_migrations).
    cpu_overcommit, memory_overcommit : float
        How much more than a host has may be reserved on it.
    network : Network
        Links.
    failures : Failures
        Of hosts.
    restart : Duration
        Time until a guest whose host failed, or that was killed, is placed again; at least 10 s where it was killed for
        its memory.
    balloon_floor : float
        Share of its memory that a guest keeps when memory is taken back from it.
    paging_penalty : float
        Loss of speed for each part of its touched memory that was taken: ``1 / (1 + penalty * part)``.
    policy_name : str
        Policy of the reference rules: ``lr-mmt``.
    reference_hosts : int
        Hosts of the reference rules.
    quirks : Quirks
        Quirks of the reference rules.
    """

    name: Name = "cluster"
    rules: Literal["virtsim", "cloudsim-3.0.3"] = "virtsim"
    hosts: list[HostGroup] = []
    guests: list[GuestGroup] = []
    demand: Demand = Demand()
    policy: Policy = Policy()
    interval: Duration = Duration(300 * NS_PER_S)
    duration: Duration = Duration(0)
    migration: Strategy = Strategy()
    migration_slowdown: Share = 0.1
    migration_cores: Annotated[float, Meta(ge=0, le=64)] = 0.1
    concurrent_migrations: Count = 1
    cpu_overcommit: Annotated[float, Meta(ge=1, le=100)] = 1.0
    memory_overcommit: Annotated[float, Meta(ge=1, le=100)] = 1.0
    network: Network = Network()
    failures: Failures = Failures()
    restart: Duration = Duration(60 * NS_PER_S)
    balloon_floor: Share = 0.25
    paging_penalty: Annotated[float, Meta(ge=0, le=1000)] = 10.0
    policy_name: str = "lr-mmt"
    reference_hosts: Count = 800
    quirks: Quirks = Quirks()

    def _check(self) -> None:
        if self.interval < 1:
            raise SpecError("interval", "the time between decisions must be more than 0")
        names = [group.name for group in [*self.hosts]]
        if len(set(names)) != len(names):
            raise SpecError("hosts", "two host groups have the same name")
        names = [group.name for group in self.guests]
        if len(set(names)) != len(names):
            raise SpecError("guests", "two guest groups have the same name")
        if self.rules == "virtsim" and not self.hosts:
            raise SpecError("hosts", "give at least one group of hosts")


def reference_hosts(count: int = 800) -> list[HostGroup]:
    """The reference's two types of server, half each (the first type has one more if ``count`` is odd)."""
    types = (("g4", 1860.0, "hp-proliant-ml110-g4", -(-count // 2)), ("g5", 2660.0, "hp-proliant-ml110-g5", count // 2))
    return [
        HostGroup(name=name, count=n, cores=2, core_mips=mips, memory=Size(4096 << 20), power=card)
        for name, mips, card, n in types
        if n
    ]


def traced_guests(traces: Traces, core_mips: float) -> list[GuestGroup]:
    """A guest a trace, of the cores and memory that the traces say; parts of a core are slower ones.

    Raises
    ------
    SpecError
        If a trace says nothing of its memory; names it.
    """
    groups = []
    for name, cores, memory in zip(traces.guests, traces.cores.tolist(), traces.memory_bytes.tolist()):
        if memory < 1:
            raise SpecError(f"traces[{name!r}]", "has no memory, and others have; correct or drop its row")
        whole = max(1, math.ceil(cores))
        groups.append(GuestGroup(name=name, cores=whole, core_mips=core_mips * cores / whole, memory=Size(memory)))
    return groups


def reference_guests(count: int, stack: str = "native") -> list[GuestGroup]:
    """The reference's four types of VM, in blocks."""
    block = -(-count // 4)
    groups = []
    for i, (mips, memory_mb) in enumerate(((2500.0, 870), (2000.0, 1740), (1000.0, 1740), (500.0, 613))):
        n = min(block, count - i * block)
        if n > 0:
            groups.append(
                GuestGroup(name=f"type{i}", count=n, core_mips=mips, memory=Size(memory_mb << 20), stack=stack)
            )
    return groups
