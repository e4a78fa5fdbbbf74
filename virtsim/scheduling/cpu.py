"""One CPU, as the scheduler sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virtsim.scheduling.states import FULL_SPEED

if TYPE_CHECKING:
    from virtsim.scheduling.domains import Cache, Domain
    from virtsim.scheduling.fair import FairQueue
    from virtsim.scheduling.task import Task

#: Longer work is not multiplied by speeds: that would not fit into 64 bits.
LONGEST_WORK_NS = 1 << 52


class Cpu:
    """One CPU.

    Attributes
    ----------
    number, bit : int
        Its number, and the bit that stands for it in masks.
    current : Task or None
        Who runs; None while idle.
    root : FairQueue
        The root group's queue here.
    account_ns : int, ns
        The kernel has accounted for the running task up to here (at ticks, wake-ups and switches).
    burst_at_ns : int, ns
        The running task's instructions have been followed up to here.
    parked : list of Task
        Tasks of throttled groups that would have run.
    parking : bool
        Whether the task that runs, or was picked to, is one that is about to park.
    set_aside_ns : int, ns
        CPU time of its instruction that it will need when it comes back.
    core, node : int
        Numbers of its core and its memory node.
    cache : Cache
        Its last-level cache.
    siblings : list of Cpu
        The threads of its core, itself among them.
    domains : list of Domain
        Within which it balances, from the inside.
    balance_due_ns : int, ns
        When one of them is due next.
    crowded : bool
        Whether more than one task was runnable here since somebody balanced all CPUs.
    pace : int
        Its frequency, in 1024ths of the nominal one.
    speed : int
        Work that is done in 1024 ns, ns, at that pace: less while another thread of the core runs.
    rest : int
        Work done beyond whole ns, in 1024ths.
    idle_ns : int, ns
        Time without a task, up to ``idle_since_ns`` if it is idle now.
    hrtick_ns : int, ns
        When the timer at the end of the running task's slice fires (feature ``HRTICK``); -1 while it is not set.
    turn_ns : int, ns
        When, in time that tasks ran, the running one's turn began; followed only for that timer.
    stolen_ns : int, ns
        Time taken by somebody outside while a task was running.
    """

    __slots__ = (
        "account_ns",
        "average_idle_ns",
        "balance_due_ns",
        "bit",
        "burst_at_ns",
        "cache",
        "core",
        "crowded",
        "current",
        "domains",
        "hrtick_ns",
        "idle_ns",
        "idle_since_ns",
        "last_idle_ns",
        "node",
        "number",
        "pace",
        "parked",
        "parking",
        "quantum",
        "resched",
        "resched_pending",
        "rest",
        "root",
        "set_aside_ns",
        "siblings",
        "speed",
        "stolen_ns",
        "switches",
        "tick_armed",
        "turn_ns",
        "version",
    )

    def __init__(self, number: int) -> None:
        self.number = number
        self.bit = 1 << number
        self.current: Task | None = None
        self.root: FairQueue = None  # type: ignore[assignment] # set by the heart, which needs the CPU first
        self.parked: list[Task] = []
        self.parking = False
        self.set_aside_ns = 0
        #: Number of the running task's quantum: events of earlier ones are void.
        self.quantum = 0
        self.account_ns = 0
        self.burst_at_ns = 0
        self.resched = False
        self.resched_pending = False
        self.version = 0
        self.tick_armed = False
        self.hrtick_ns = -1
        self.turn_ns = 0
        self.idle_ns = 0
        self.stolen_ns = 0
        self.idle_since_ns = 0
        self.switches = 0
        self.balance_due_ns = 0
        self.crowded = False
        self.pace = FULL_SPEED
        self.speed = FULL_SPEED
        self.rest = 0
        #: The last idle time, and the decayed average of them (``avg_idle``).
        self.last_idle_ns = -1
        self.average_idle_ns = 1_000_000
        self.core = number
        self.node = 0
        self.cache: Cache = None  # type: ignore[assignment] # set by build_domains, as the next two are
        self.siblings: list[Cpu] = []
        self.domains: list[Domain] = []

    def is_idle(self) -> bool:
        """Whether nothing runs or is about to run here."""
        return self.current is None and self.root.runnable == 0

    def needed_ns(self, work_ns: int) -> int:
        """How long it takes for some work at its present speed; of the endless, for a good part of it."""
        if self.speed == FULL_SPEED or work_ns > LONGEST_WORK_NS:
            return work_ns
        return (work_ns * FULL_SPEED - self.rest + self.speed - 1) // self.speed

    def progress_ns(self, passed_ns: int) -> int:
        """Work done in a time at its present speed; keeps what is beyond whole ns."""
        done = passed_ns * self.speed + self.rest
        self.rest = done % FULL_SPEED
        return done // FULL_SPEED

    def busy_threads(self) -> int:
        """How many threads of its core run something."""
        running = 0
        for sibling in self.siblings:
            if sibling.current is not None:
                running += 1
        return running

    def load(self) -> int:
        """Sum of the weights at the top."""
        return self.root.total_load >> 10
