"""A task of the heart: an entity with a program and what is counted about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from virtsim.results.histogram import Histogram
from virtsim.scheduling.fair import Entity
from virtsim.scheduling.load import LoadAverage
from virtsim.scheduling.program import Program
from virtsim.scheduling.tally import Tally
from virtsim.scheduling.words import Words

if TYPE_CHECKING:
    from virtsim.scheduling.group import Group

#: Where a task is in its life.
NEW, RUNNABLE, RUNNING, BLOCKED, ENDED = range(5)


class Task(Entity):
    """A schedulable task.

    Parameters
    ----------
    name : str
        ``guest/process``, for records.
    group : Group
        Its cgroup.
    load : int
        Its weight as an entity load.
    program : Program
        What it does.
    cpus : frozenset of int
        Where it may run.
    slack_ns : int, ns
        Timer slack.
    slice_ns : int, ns
        Requested slice; ``custom`` says whether it is the task's own wish.

    Attributes
    ----------
    burst_ns : int, ns
        CPU time left of the current instruction.
    cpu_bits : int
        ``cpus`` as a bit mask.
    cpu_time_ns, run_delay_ns : int, ns
        Used, and waited for while runnable.
    """

    __slots__ = (
        "batch",
        "burst_ns",
        "children_ns",
        "cpu",
        "cpu_bits",
        "cpu_time_ns",
        "cpus",
        "done",
        "end_ns",
        "group",
        "involuntary",
        "last_ran_ns",
        "load_average",
        "migrations",
        "name",
        "parent_task",
        "pc",
        "policy",
        "policy_data",
        "program",
        "recent_cpu",
        "run_delay_ns",
        "since_ns",
        "slack_ns",
        "slots",
        "start_ns",
        "state",
        "tallies",
        "version",
        "voluntary",
    )

    def __init__(
        self,
        name: str,
        group: Group,
        load: int,
        program: Program,
        cpus: frozenset[int],
        slice_ns: int,
        slack_ns: int = 50_000,
        custom: bool = False,
    ) -> None:
        super().__init__(load, slice_ns)
        self.custom_slice = custom
        self.name = name
        self.group = group
        self.program = program
        self.cpus = cpus
        self.cpu_bits = sum(1 << number for number in cpus)
        self.slack_ns = slack_ns
        self.batch = False
        self.idle_policy = False
        #: A :class:`~virtsim.scheduling.policy.Policy`, and what that keeps about the task; None for the fair class.
        self.policy: Any = None
        self.policy_data: Any = None
        self.pc = 0
        self.slots = Words(program.slots)
        self.burst_ns = 0
        self.state = NEW
        self.cpu = -1
        #: Where it was before: a good place if that is idle.
        self.recent_cpu = -1
        #: Runnable (or running) since; the version invalidates events of an earlier life.
        self.since_ns = 0
        self.version = 0
        self.last_ran_ns = 0
        self.load_average: LoadAverage | None = None
        self.parent_task: Task | None = None
        self.start_ns = 0
        self.end_ns = -1
        self.cpu_time_ns = 0
        self.children_ns = 0
        self.run_delay_ns = 0
        self.voluntary = 0
        self.involuntary = 0
        self.migrations = 0
        #: Operations done, by the number of their kind.
        self.done = Words(program.kinds)
        self.tallies: dict[int, Tally] = {}

    def load_on_cpu(self) -> int:
        """Its part of its CPU's load: its weight, scaled by its groups' shares."""
        load = self.weight
        queue = self.queue
        while queue is not None and queue.entity is not None:
            load = load * queue.entity.weight // max(queue.total_load >> 10, 1)
            queue = queue.entity.queue
        return max(load, 1)

    @property
    def operations(self) -> dict[int, int]:
        """Operations that it has done, by the number of their kind."""
        return {number: count for number, count in enumerate(self.done) if count}

    @property
    def histograms(self) -> dict[int, Histogram]:
        """What its program has recorded, by number."""
        return {number: tally.histogram() for number, tally in self.tallies.items()}

    @property
    def waiting(self) -> bool:
        """Whether it is runnable but does not run."""
        return self.state == RUNNABLE
