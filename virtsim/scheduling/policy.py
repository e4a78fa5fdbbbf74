"""What a scheduling policy is: the hooks that the heart calls.

Linux's real-time classes stand above the fair one, a hypervisor's scheduler stands alone, and a user's own
policy is a class of ten lines: all are a :class:`Policy`. Tasks whose ``policy`` is None are of the fair class.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from virtsim.core.registry import Registry
from virtsim.scheduling.cpu import Cpu
from virtsim.scheduling.task import Task

if TYPE_CHECKING:
    from virtsim.scheduling.heart import Heart

#: Scheduling policies by name: what makes a new one.
POLICIES: Registry[Callable[..., Any]] = Registry("scheduling policy")


class Policy:
    """A scheduling policy. A subclass has to have :meth:`enqueue` and :meth:`pick`; the rest has defaults.

    The heart calls :meth:`enqueue` for every task that waits: one that wakes up, and one that ran and still could
    when the CPU decides anew. :meth:`pick` takes the one to run out again. A task that is asleep or runs is not the
    policy's to give.

    Attributes
    ----------
    heart : Heart
        Set when it is added to one: ``heart.now_ns``, ``heart.cpus``, ``heart.call_at``, ``heart.reschedule``.
    rank : int
        Among the heart's policies; lower ranks run first, the fair class comes last.
    ticks : bool
        Whether :meth:`tick` is to be called.
    urgent : bool
        Whether a CPU goes at its highest frequency while a task of it waits or runs there, under a governor.
    """

    def __init__(self) -> None:
        self.heart: Heart = None  # type: ignore[assignment] # set when it is added
        self.rank = 0
        self.ticks = False
        self.urgent = False

    def attach(self) -> None:
        """The heart is there now; the place for timers and for a record per CPU."""

    def enroll(self, task: Task, weight: int) -> None:
        """``task`` is this policy's from now on, where a whole host was given to it; set ``task.policy_data``.

        ``weight`` is its part: 1024 for the only task of a guest with the usual weight.
        """

    def enqueue(self, task: Task, woken: bool) -> None:
        """``task`` waits from now on; ``woken`` says that it slept or is new, otherwise it has just run."""
        raise NotImplementedError(f"{type(self).__name__} has no method enqueue(task, woken), which every policy needs")

    def pick(self, cpu: Cpu) -> Task | None:
        """Take out the waiting task that is to run on ``cpu`` now; None leaves the CPU to lower policies."""
        raise NotImplementedError(f"{type(self).__name__} has no method pick(cpu), which every policy needs")

    def blocked(self, task: Task) -> None:
        """The running ``task`` goes to sleep or ends."""

    def charge(self, task: Task, delta_ns: int) -> None:
        """``task`` has run for ``delta_ns``; called at least at every tick, switch and wake-up of its CPU."""

    def preempts(self, woken: Task, running: Task) -> bool:
        """Whether a woken task makes the CPU decide anew while another task of this policy runs."""
        return False

    def tick(self, task: Task) -> bool:
        """A tick while ``task`` runs; tells whether the CPU is to decide anew."""
        return False

    def next_job(self, task: Task, release_ns: int) -> None:
        """A periodic ``task`` is done with a job; its next is released at ``release_ns``, which may have passed."""

    def reserved(self, task: Task) -> int:
        """Part of a CPU that is promised to ``task``, 1024ths: a governor has that much ready for it."""
        return 0

    def quantum_ns(self, task: Task) -> int:
        """How long ``task``, which runs from now on, may do so until the CPU decides anew; 0 for ever."""
        return 0

    def place(self, task: Task, waker_cpu: int) -> int:
        """CPU of a task that wakes: an idle one it may use, its own first; else its own."""
        home = task.cpu if task.cpu in task.cpus else min(task.cpus)
        cpus = self.heart.cpus
        if cpus[home].is_idle():
            return home
        for number in sorted(task.cpus):
            if cpus[number].is_idle():
                return number
        return home
