"""A task of the heart: an entity with a program and what is counted about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from virtsim.results.histogram import Histogram
from virtsim.scheduling.fair import Entity
from virtsim.scheduling.load import LoadAverage
from virtsim.scheduling.program import Program
from virtsim.scheduling.tally import Tally
from virtsim.scheduling.utilisation import Utilisation
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
        Used, and waited for while runnable; each up to the last change.
    run_ns, sleep_ns, throttled_ns : int, ns
        On a CPU, what was stolen there included; not runnable; and, of ``run_delay_ns``, while a quota of its groups
        was used up. See :meth:`times_ns` for what is under way.
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
        "entered_ns",
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
        "run_ns",
        "since_ns",
        "slack_ns",
        "sleep_ns",
        "slots",
        "start_ns",
        "state",
        "tallies",
        "throttled_at_ns",
        "throttled_ns",
        "utilisation",
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
        #: How busy it has been, where a governor wants to know.
        self.utilisation: Utilisation | None = None
        self.parent_task: Task | None = None
        self.start_ns = 0
        self.end_ns = -1
        self.cpu_time_ns = 0
        self.children_ns = 0
        self.run_delay_ns = 0
        #: In its present state since; throttled since, or -1.
        self.entered_ns = 0
        self.throttled_at_ns = -1
        self.run_ns = 0
        self.sleep_ns = 0
        self.throttled_ns = 0
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

    def end_throttling(self, now_ns: int) -> None:
        """It is throttled no more."""
        self.throttled_ns += now_ns - self.throttled_at_ns
        self.throttled_at_ns = -1

    def times_ns(self, now_ns: int) -> tuple[int, int, int, int]:
        """How long it ran, waited, was throttled and slept up to now, ns: together its life."""
        since_ns = now_ns - self.entered_ns
        run_ns = self.run_ns + (since_ns if self.state == RUNNING else 0)
        delay_ns = self.run_delay_ns + (since_ns if self.state == RUNNABLE else 0)
        throttled_ns = self.throttled_ns + (now_ns - self.throttled_at_ns if self.throttled_at_ns >= 0 else 0)
        sleep_ns = self.sleep_ns + (since_ns if self.state == BLOCKED else 0)
        return run_ns, delay_ns - throttled_ns, throttled_ns, sleep_ns
