"""Scheduling domains: for every CPU, the ever larger sets of CPUs within which its tasks are balanced.

From the inside: the threads of a core (SMT), the cores of a last-level cache (MC), the caches of a package
(PKG), the memory nodes within each distance (NUMA). A domain is divided into groups, the domains of its
CPUs one level below; its CPU's own group comes first. Levels that add nothing are left out.

References
----------
Linux ``kernel/sched/topology.c``, 6.18: ``sd_init`` (thresholds, intervals, flags), ``build_sched_groups``,
``build_overlap_sched_groups``, ``build_sched_domains`` (``imb_numa_nr``).
"""

from __future__ import annotations

from virtsim.scheduling.cpu import Cpu
from virtsim.scheduling.layout import LOCAL, Layout
from virtsim.scheduling.states import FULL, IMBALANCED, OVERLOADED, SPARE

#: Nodes farther apart than this are neither woken into nor forked into (``node_reclaim_distance``).
FAR = 30
#: So many times a CPU goes idle before its success is reckoned anew (``update_newidle_stats``).
NEWIDLE_CALLS = 1024
#: Longer ago than any interval.
NEVER_NS = -(10**15)


class Cache:
    """A last-level cache: whose it is, and whether one of its cores may be idle."""

    __slots__ = ("bits", "idle_core", "smt")

    def __init__(self, bits: int, smt: bool) -> None:
        self.bits = bits
        self.smt = smt
        self.idle_core = True


class CpuGroup:
    """CPUs that are weighed as one when a domain is balanced.

    Attributes
    ----------
    cpus : list of Cpu
    cores : int
    smt : bool
        Whether they are the threads of a core.
    imbalanced : bool
        Affinity kept tasks from being spread within it.
    load, running, idle, kind : int
        What :meth:`survey` has found last.
    """

    __slots__ = ("bits", "cores", "cpus", "idle", "imbalanced", "kind", "load", "running", "smt", "weight")

    def __init__(self, cpus: list[Cpu], smt: bool) -> None:
        self.cpus = cpus
        self.weight = len(cpus)
        self.bits = sum(cpu.bit for cpu in cpus)
        self.cores = len({cpu.core for cpu in cpus})
        self.smt = smt
        self.imbalanced = False
        self.load = self.running = self.idle = 0
        self.kind = SPARE

    def survey(self, leave_out: int) -> None:
        """Count what runs and waits here now, without the CPUs of the mask ``leave_out``."""
        load = running = idle = 0
        for cpu in self.cpus:
            if leave_out and leave_out & cpu.bit:
                continue
            runnable = cpu.root.runnable
            running += runnable
            load += cpu.root.total_load >> 10
            if runnable == 0 and cpu.current is None:
                idle += 1
        self.load, self.running, self.idle = load, running, idle
        if running > self.weight:
            self.kind = OVERLOADED
        elif self.imbalanced:
            self.kind = IMBALANCED
        else:
            self.kind = FULL if running == self.weight else SPARE

    def average(self) -> int:
        """Load per CPU."""
        return self.load // self.weight


class Domain:
    """One level of one CPU's domains.

    Attributes
    ----------
    level : str
        ``SMT``, ``MC``, ``PKG`` or ``NUMA``.
    bits, weight : int
        Mask and number of its CPUs.
    groups : list of CpuGroup
        The CPU's own first.
    shares_core, shares_cache, numa : bool
        What its CPUs have in common.
    near : bool
        Tasks are woken and forked into all of it.
    spreads : bool
        Tasks are spread over its groups although none is overloaded (the level below prefers siblings).
    imbalance_percent, cache_nice_tries, min_interval_ns, imbalance_allowed : int
        The kernel's thresholds; the last is ``imb_numa_nr``.
    above : Domain or None
        The next larger one of the same CPU.
    interval_ns, balanced_ns, failed : int
        State of its CPU's balancing: how often, when last, how often in vain since.
    newidle_calls, newidle_successes, newidle_ratio : int
        How often its CPU went idle while tasks waited somewhere and how often that brought one, lately; how many of
        1024 times it looks.
    """

    __slots__ = (
        "above",
        "balanced_ns",
        "bits",
        "cache_nice_tries",
        "failed",
        "groups",
        "imbalance_allowed",
        "imbalance_percent",
        "interval_ns",
        "level",
        "min_interval_ns",
        "near",
        "newidle_calls",
        "newidle_ratio",
        "newidle_successes",
        "numa",
        "shares_cache",
        "shares_core",
        "spreads",
        "weight",
    )

    def __init__(self, level: str, bits: int, groups: list[CpuGroup], near: bool, spreads: bool) -> None:
        self.level = level
        self.bits = bits
        self.weight = bits.bit_count()
        self.groups = groups
        self.above: Domain | None = None
        self.near = near
        self.shares_core = level == "SMT"
        self.shares_cache = level in ("SMT", "MC")
        self.numa = level == "NUMA"
        self.spreads = spreads
        self.imbalance_percent = 110 if self.shares_core else 117
        self.cache_nice_tries = {"SMT": 0, "NUMA": 2}.get(level, 1)
        self.min_interval_ns = self.interval_ns = self.weight * 1_000_000
        self.balanced_ns = NEVER_NS
        self.failed = 0
        self.imbalance_allowed = 0
        # Not the one half that boot begins with: that is forgotten after some thousand times.
        self.newidle_calls, self.newidle_successes, self.newidle_ratio = NEWIDLE_CALLS // 2, 0, 0

    def count_newidle(self, successes: int) -> None:
        """Its CPU went idle, and brought what counts as so many tasks (0 if it did not look): half of it is forgotten
        after 512 more."""
        self.newidle_calls += 1
        self.newidle_successes += successes
        if self.newidle_calls >= NEWIDLE_CALLS:
            self.newidle_ratio = self.newidle_successes
            self.newidle_calls //= 2
            self.newidle_successes //= 2


def build_domains(cpus: list[Cpu], layout: Layout) -> None:
    """Give every CPU its place, its cache and its domains."""
    for cpu in cpus:
        cpu.core, cpu.node = layout.cores[cpu.number], layout.nodes[cpu.number]
    caches: dict[int, Cache] = {}
    groups: dict[int, CpuGroup] = {}
    levels = [_levels(cpu, cpus, layout) for cpu in cpus]
    for cpu in cpus:
        number = layout.caches[cpu.number]
        if number not in caches:
            mine = [other for other in cpus if layout.caches[other.number] == number]
            smt = len({other.core for other in mine}) < len(mine)
            caches[number] = Cache(sum(other.bit for other in mine), smt)
        cpu.cache = caches[number]
        cpu.siblings = [other for other in cpus if other.core == cpu.core]
        cpu.domains = _domains(cpu, cpus, levels, groups)


def _levels(cpu: Cpu, cpus: list[Cpu], layout: Layout) -> list[tuple[str, int, bool]]:
    """(level, CPUs, near) of all levels, from the inside: as many for every CPU."""
    cache = layout.caches[cpu.number]
    spans = [
        ("SMT", [other for other in cpus if other.core == cpu.core], True),
        ("MC", [other for other in cpus if layout.caches[other.number] == cache], True),
        ("PKG", [other for other in cpus if other.node == cpu.node], True),
    ]
    nodes = set(layout.nodes)
    limits = sorted({layout.distance(one, other) for one in nodes for other in nodes} - {LOCAL})
    spans += [
        ("NUMA", [other for other in cpus if layout.distance(cpu.node, other.node) <= limit], limit <= FAR)
        for limit in limits
    ]
    return [(level, sum(other.bit for other in members), near) for level, members, near in spans]


def _domains(
    cpu: Cpu, cpus: list[Cpu], levels: list[list[tuple[str, int, bool]]], groups: dict[int, CpuGroup]
) -> list[Domain]:
    domains: list[Domain] = []
    allowed = span = 0
    for place, (level, bits, near) in enumerate(levels[cpu.number]):
        if bits == (domains[-1].bits if domains else cpu.bit):
            continue
        own: list[CpuGroup] = []
        covered = 0
        for other in _round(cpu, cpus, bits):
            if covered & other.bit:
                continue
            below = _below(other, place, bits, levels)
            if below not in groups:
                inner = [one for one in cpus if below & one.bit]
                groups[below] = CpuGroup(inner, len(inner) > 1 and len({one.core for one in inner}) == 1)
            own.append(groups[below])
            covered |= below
        # NUMA domains do not prefer siblings, so the levels above them do not spread.
        spreads = bool(domains) and not domains[-1].numa
        domain = Domain(level, bits, own, near, spreads)
        if not domain.shares_cache:
            if allowed == 0 and (not domains or domains[-1].shares_cache):
                inside = domains[-1].weight if domains else 1
                parts = domain.weight // inside
                first = max(1, domain.weight >> 3 if parts == 1 else parts)
                allowed, span = first, domain.weight
                domain.imbalance_allowed = first
            else:
                domain.imbalance_allowed = allowed * max(1, domain.weight // span)
        if domains:
            domains[-1].above = domain
        domains.append(domain)
    return domains


def _round(cpu: Cpu, cpus: list[Cpu], bits: int) -> list[Cpu]:
    """The CPUs of a mask, from one of them upwards and round."""
    return [other for other in cpus[cpu.number :] + cpus[: cpu.number] if bits & other.bit]


def _below(other: Cpu, place: int, bits: int, levels: list[list[tuple[str, int, bool]]]) -> int:
    """What a CPU brings into a domain of another: its own domain of the next lower level, if that is within it."""
    while place > 0:
        place -= 1
        span = levels[other.number][place][1]
        if span & ~bits == 0:
            return span
    return other.bit
