"""Gang scheduling: all vCPUs of a virtual machine run at the same time, or none does.

Who waits for a sibling that spins, holds a lock or was sent an interrupt then waits for one that runs. The price is
time that no gang can use: a machine of three vCPUs beside one of two on four CPUs leaves one or two of them empty,
unless others may fill in.

References
----------
J. K. Ousterhout, "Scheduling techniques for concurrent systems", ICDCS 1982 (the matrix, alternate selection).
D. G. Feitelson, L. Rudolph, "Gang scheduling performance benefits for fine-grain synchronization", Journal of
Parallel and Distributed Computing 16(4), 1992.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field

from virtsim.core.errors import ModelError
from virtsim.scheduling.cpu import Cpu
from virtsim.scheduling.policy import POLICIES, Policy
from virtsim.scheduling.task import Task

#: How long a row of the matrix runs, ns.
SLICE_NS = 10_000_000


@dataclass(eq=False)
class Gang:
    """Tasks that run together, each on a CPU of its own."""

    size: int
    members: list[Task] = field(default_factory=list)


@POLICIES.register("gang")
class GangScheduling(Policy):
    """Ousterhout's matrix: a row for each slice of time, a column for each CPU; gangs keep their places.

    ``policy_data`` is a :class:`Gang`, the same for all of its members. A gang is put into the first row that has
    room for all of it; rows run in turn.

    Parameters
    ----------
    slice_ns : int, ns
        How long a row runs.
    fill_in : bool
        Whether a CPU whose task of the row sleeps, or that has none, runs the next row's (alternate selection).
    pool : set of int, optional
        CPUs that it may use; all if absent.
    """

    def __init__(self, slice_ns: int = SLICE_NS, fill_in: bool = True, pool: Set[int] | None = None) -> None:
        super().__init__()
        self.pool = pool
        self.slice_ns = slice_ns
        self.fill_in = fill_in
        #: By row, who has each CPU.
        self.rows: list[list[Gang | None]] = []
        self.row = 0
        self.places: dict[Task, tuple[int, int]] = {}
        self.waiting: dict[tuple[int, int], Task] = {}

    def attach(self) -> None:
        """Rows change on a timer."""
        self.heart.call_at(self.slice_ns, self._next_row)

    def place(self, task: Task, waker_cpu: int) -> int:
        """The CPU of its column."""
        return self._place(task)[1]

    def enqueue(self, task: Task, woken: bool) -> None:
        """It waits for its row, or until its CPU has nothing else."""
        self.waiting[self._place(task)] = task

    def pick(self, cpu: Cpu) -> Task | None:
        """The running row's; else, where that is allowed, the next one's that waits."""
        rows = len(self.rows)
        for step in range(rows if self.fill_in else min(rows, 1)):
            task = self.waiting.pop(((self.row + step) % rows, cpu.number), None)
            if task is not None:
                return task
        return None

    def preempts(self, woken: Task, running: Task) -> bool:
        """Who belongs to the running row goes before who fills in."""
        return self.places[woken][0] == self.row

    def _next_row(self) -> None:
        heart = self.heart
        if self.rows:
            self.row = (self.row + 1) % len(self.rows)
            for cpu in heart.cpus:
                heart.reschedule(cpu)
        heart.call_at(heart.now_ns + self.slice_ns, self._next_row)

    def _place(self, task: Task) -> tuple[int, int]:
        place = self.places.get(task)
        return place if place is not None else self._settle(task)

    def _settle(self, task: Task) -> tuple[int, int]:
        """Give a task its place: its gang's next column, or with the gang's first member a row with room for all."""
        gang: Gang = task.policy_data
        if not gang.members:
            self._take_columns(gang)
        row = next(number for number, columns in enumerate(self.rows) if gang in columns)
        columns = [cpu for cpu, holder in enumerate(self.rows[row]) if holder is gang]
        if len(gang.members) == len(columns):
            raise ModelError(f"{task.name} is more than its gang of {gang.size} has")
        gang.members.append(task)
        self.places[task] = row, columns[len(gang.members) - 1]
        return self.places[task]

    def _take_columns(self, gang: Gang) -> None:
        cpus = sorted(range(len(self.heart.cpus)) if self.pool is None else self.pool)
        if gang.size > len(cpus):
            raise ModelError(f"a gang of {gang.size} cannot run at the same time on {len(cpus)} CPUs")
        free: list[int] = []
        for row in self.rows:
            free = [cpu for cpu in cpus if row[cpu] is None]
            if len(free) >= gang.size:
                break
        else:
            row, free = [None] * len(self.heart.cpus), cpus
            self.rows.append(row)
        for cpu in free[: gang.size]:
            row[cpu] = gang
