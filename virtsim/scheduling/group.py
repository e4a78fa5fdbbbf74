"""A task group: shares, bandwidth, and one queue with one entity on every CPU."""

from __future__ import annotations

from virtsim.scheduling.bandwidth import Bandwidth
from virtsim.scheduling.fair import Entity, FairQueue
from virtsim.scheduling.weight import MIN_SHARES


class Group:
    """A cgroup of the cpu controller, as the scheduler sees it.

    Parameters
    ----------
    name : str
        For records.
    parent : Group or None
        None for the root.
    load : int
        Its shares as an entity load; see :func:`~virtsim.scheduling.weight.group_load`.
    cpus : frozenset of int
        Where its tasks may run.
    bandwidth : Bandwidth or None
        None for no quota.

    Attributes
    ----------
    queues : list of FairQueue
        By CPU.
    entities : list of Entity
        By CPU, on the parent's queue there; empty for the root.
    cpu_time_ns : int, ns
        Used by all tasks in it and below it.
    walk : tuple of int
        Sorts groups as the kernel's walk over the tree meets them: of those within one the newest first, and each
        after those within it (``walk_tg_tree_from`` with what is done on the way up).
    """

    __slots__ = (
        "bandwidth",
        "children",
        "cpu_time_ns",
        "cpus",
        "entities",
        "load",
        "load_average",
        "name",
        "parent",
        "queues",
        "walk",
    )

    def __init__(
        self,
        name: str,
        parent: Group | None,
        load: int,
        cpus: frozenset[int],
        bandwidth: Bandwidth | None = None,
    ) -> None:
        self.name = name
        self.parent = parent
        self.load = load
        self.cpus = cpus
        self.bandwidth = bandwidth
        self.queues: list[FairQueue] = []
        self.entities: list[Entity] = []
        self.cpu_time_ns = 0
        #: Sum of the queues' load averages, for the distribution of shares over CPUs.
        self.load_average = 0
        self.children = 0
        self.walk: tuple[int, ...] = (1,)
        if parent is not None:
            parent.children += 1
            self.walk = (*parent.walk[:-1], -parent.children, 1)

    def share_on(self, queue: FairQueue) -> int:
        """The part of the group's shares that its entity gets on one CPU.

        Shares are distributed by load: ``shares * load_here / load_everywhere``, where ``load_here`` is
        what is queued now if that is more than the decayed average.

        References
        ----------
        Linux ``kernel/sched/fair.c``, the comment above ``calc_group_shares``.
        """
        assert queue.load_average is not None
        average = queue.load_average.value >> 10
        here = max(queue.total_load >> 10, average)
        everywhere = (self.load_average >> 10) - average + here
        share = self.load * here
        if everywhere:
            share //= everywhere
        return min(max(share, MIN_SHARES), self.load)
