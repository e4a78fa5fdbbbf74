"""A virtual CPU: a task to the kernel below, a CPU to the kernel above, and where its time goes.

States in which its time is counted:

- *busy*: tasks above run;
- *overhead*: it runs below, but for its hypervisor (exits, polling, being switched to) or for an idle guest;
- *steal*: it would run, but does not;
- *idle*: it is blocked below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from virtsim.scheduling.cpu import Cpu
from virtsim.scheduling.group import Group
from virtsim.scheduling.program import Code, Program
from virtsim.scheduling.settings import SPINNING, Hypervisor
from virtsim.scheduling.task import Task
from virtsim.scheduling.vcpu_states import HALTED, IDLE
from virtsim.scheduling.words import Words

if TYPE_CHECKING:
    from virtsim.scheduling.world_switch import WorldSwitch


def _entry() -> Program:
    """A vCPU's program: enter the guest, and again when it comes back."""
    program = Program()
    program.emit(Code.EXTERNAL)
    return program


class Vcpu(Task):
    """A virtual CPU; see the module.

    Parameters
    ----------
    name : str
        ``guest/vcpu0``.
    group, load, cpus, slice_ns, slack_ns
        As of any task of the storey below.
    below, above : WorldSwitch
        Whose task and whose CPU it is.
    number : int
        Of its CPU above.
    hypervisor : Hypervisor
        Prices and switches of what runs it.

    Attributes
    ----------
    spent_ns : Words, ns
        Time busy, as overhead, stolen and idle, up to ``since``.
    halts, polled, kicks, pause_exits, yields : int
        Halts; those that ended while polling; times it was woken; exits because of spinning; directed yields.
    poll_time_ns : int, ns
        Spent polling, whether it helped or not.
    """

    __slots__ = (
        "above",
        "below",
        "counted_as",
        "counted_since_ns",
        "cpu_above",
        "entering",
        "fair_spinlocks",
        "halt_ns",
        "halted_at_ns",
        "halts",
        "hypervisor",
        "kicks",
        "longest_poll_ns",
        "mode",
        "pause_exits",
        "pause_window_ns",
        "pending",
        "poll_end_ns",
        "poll_grow",
        "poll_ns",
        "poll_shrink",
        "poll_start_ns",
        "poll_time_ns",
        "polled",
        "resched_due",
        "spent_ns",
        "spinning",
        "spun_out_ns",
        "stopped",
        "tick_due",
        "waker",
        "yields",
    )

    def __init__(
        self,
        name: str,
        group: Group,
        load: int,
        cpus: frozenset[int],
        slice_ns: int,
        below: WorldSwitch,
        above: WorldSwitch,
        number: int,
        hypervisor: Hypervisor,
    ) -> None:
        super().__init__(name, group, load, _entry(), cpus, slice_ns)
        self.below = below
        self.above = above
        self.hypervisor = hypervisor
        # Read at every halt, or while it spins: as attributes of their own.
        self.halt_ns = hypervisor.halt_ns
        self.longest_poll_ns = hypervisor.poll_ns
        self.poll_start_ns = hypervisor.poll_start_ns
        self.poll_grow = hypervisor.poll_grow
        self.poll_shrink = hypervisor.poll_shrink
        self.spinning = SPINNING.index(hypervisor.spinning)
        self.fair_spinlocks = hypervisor.fair_spinlocks
        self.spun_out_ns = hypervisor.spin_threshold_ns
        self.cpu_above: Cpu = above.cpus[number]
        self.mode = HALTED
        self.entering = False
        #: Kept from running by co-scheduling.
        self.stopped = False
        #: What waits for it: (kind, subject, version) of timers, (NOTIFY, semaphore, cost) of interrupts.
        self.pending: list[tuple[int, Any, int]] = []
        self.tick_due = False
        self.resched_due = False
        #: The CPU below from which it is woken.
        self.waker = -1
        self.poll_ns = 0
        self.poll_end_ns = 0
        self.halted_at_ns = 0
        self.pause_window_ns = hypervisor.pause_window_ns
        self.counted_as = IDLE
        self.counted_since_ns = 0
        self.spent_ns = Words(4)
        self.halts = 0
        self.polled = 0
        self.kicks = 0
        self.pause_exits = 0
        self.yields = 0
        self.poll_time_ns = 0

    def count(self, now_ns: int, counted_as: int) -> None:
        """Close the account of the time up to now, and count what follows as something else."""
        self.spent_ns.at[self.counted_as] += now_ns - self.counted_since_ns
        self.counted_since_ns = now_ns
        self.counted_as = counted_as
