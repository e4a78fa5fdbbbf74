"""One CPU, as the scheduler sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from virtsim.scheduling.fair import FairQueue
    from virtsim.scheduling.task import Task


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
        "balance_due_ns",
        "balance_failed",
        "balance_interval_ns",
        "bit",
        "burst_at_ns",
        "current",
        "hrtick_ns",
        "idle_ns",
        "idle_since_ns",
        "number",
        "parked",
        "parking",
        "quantum",
        "resched",
        "resched_pending",
        "root",
        "set_aside_ns",
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
        self.balance_interval_ns = 0
        self.balance_failed = 0

    def is_idle(self) -> bool:
        """Whether nothing runs or is about to run here."""
        return self.current is None and self.root.runnable == 0

    def load(self) -> int:
        """Sum of the weights at the top."""
        return self.root.total_load >> 10
