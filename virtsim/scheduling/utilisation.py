"""How busy CPUs and tasks have been lately, as the kernel reckons it for its governors (PELT).

Time is divided into periods of 2^20 ns, and what happened n periods ago counts y^n, with y^32 = 1/2. The clock is
not the machine's: see :mod:`virtsim.scheduling.governor`.

References
----------
Linux ``kernel/sched/pelt.c``, 6.18: ``accumulate_sum``, ``decay_load``, ``___update_load_avg``;
``kernel/sched/fair.c``: ``post_init_entity_util_avg``, ``util_est_update``. J. Corbet, "Per-entity load tracking", LWN,
2013.
"""

from __future__ import annotations

from virtsim.scheduling.states import CAPACITY, MOST, PERIOD

#: So many periods halve what is past.
HALF_LIFE = 32
#: y^n for less than a half-life, 32-bit fixed point.
_SHRINK = tuple(int((2**32 - 1) * 0.5 ** (n / HALF_LIFE)) for n in range(HALF_LIFE))
#: What a task's estimate may differ from its utilisation by without being adapted (``UTIL_EST_MARGIN``).
MARGIN = CAPACITY // 100


def decayed(value: int, periods: int) -> int:
    """What counts of ``value`` after a number of periods."""
    halvings = periods // HALF_LIFE
    if halvings > 62:
        return 0
    product = value >> halvings
    factor = _SHRINK[periods % HALF_LIFE]
    return product * factor >> 32


class Utilisation:
    """Averages of one CPU, or of one task on it.

    Attributes
    ----------
    busy, runnable : int
        Share of time in which it ran; number that ran or waited, on average: 1024ths.
    load : int
        Average weight of those; kept for CPUs only.
    estimate : int
        What a task is expected to use when it wakes; a CPU's: the sum of those of its runnable tasks.
    cpu : int
        Where a task's part is in the CPU's averages; -1 for none.
    """

    __slots__ = (
        "busy",
        "busy_sum",
        "changed",
        "cpu",
        "estimate",
        "load",
        "load_sum",
        "part",
        "runnable",
        "runnable_sum",
        "updated_ns",
    )

    def __init__(self) -> None:
        self.busy = self.runnable = self.load = self.estimate = 0
        self.busy_sum = self.runnable_sum = self.load_sum = 0
        #: Followed up to here, and how much of the period there has passed.
        self.updated_ns = 0
        self.part = 0
        self.cpu = -1
        #: Whether the averages have changed since they were last learnt from.
        self.changed = False

    def update(self, clock_ns: int, busy: bool, runnable: int, load: int) -> bool:
        """Account for the time up to ``clock_ns``, in which all was as it is told; tells whether a period has ended."""
        passed = (clock_ns - self.updated_ns) >> 10
        if passed <= 0:
            return False
        self.updated_ns += passed << 10
        added = passed
        whole = passed + self.part
        periods = whole // PERIOD
        if periods:
            self.busy_sum = decayed(self.busy_sum, periods)
            self.runnable_sum = decayed(self.runnable_sum, periods)
            self.load_sum = decayed(self.load_sum, periods)
            whole %= PERIOD
            added = decayed(PERIOD - self.part, periods) + MOST - decayed(MOST, periods) - PERIOD + whole
        self.part = whole
        if busy:
            self.busy_sum += added * CAPACITY
        self.runnable_sum += runnable * added * CAPACITY
        self.load_sum += load * added
        if periods == 0:
            return False
        divider = self.divider()
        self.busy = self.busy_sum // divider
        self.runnable = self.runnable_sum // divider
        self.load = self.load_sum // divider
        self.changed = True
        return True

    def divider(self) -> int:
        """What the sums of something that always was would be now."""
        return MOST - PERIOD + self.part

    def begin(self, cpu: Utilisation, weight: int) -> None:
        """A new task is expected to use its weight's part of what others use, at most half of what is left."""
        left = (CAPACITY - cpu.busy) // 2
        if left <= 0:
            self.busy = 0
        elif cpu.busy:
            self.busy = min(cpu.busy * weight // (cpu.load + 1), left)
        else:
            self.busy = left
        self.runnable = self.busy

    def attach(self, cpu: Utilisation, number: int) -> None:
        """A task's averages become part of a CPU's, whose clock they follow from now on."""
        self.cpu = number
        self.updated_ns, self.part = cpu.updated_ns, cpu.part
        divider = cpu.divider()
        self.busy_sum, self.runnable_sum = self.busy * divider, self.runnable * divider
        cpu.busy += self.busy
        cpu.busy_sum += self.busy_sum
        cpu.runnable += self.runnable
        cpu.runnable_sum += self.runnable_sum

    def detach(self, cpu: Utilisation) -> None:
        """A task's averages leave those of its CPU."""
        self.cpu = -1
        cpu.busy = max(cpu.busy - self.busy, 0)
        cpu.busy_sum = max(cpu.busy_sum - self.busy_sum, 0)
        cpu.runnable = max(cpu.runnable - self.runnable, 0)
        cpu.runnable_sum = max(cpu.runnable_sum - self.runnable_sum, 0)

    def learn(self) -> None:
        """A task that goes to sleep was as busy as this: more is believed at once, less by a quarter at a time.

        Not if it had to wait for its CPU, since then it would have been busier.
        """
        if not self.changed:
            return
        self.changed = False
        if self.busy >= self.estimate:
            self.estimate = self.busy
        elif self.estimate - self.busy >= MARGIN and self.busy + MARGIN >= self.runnable:
            self.estimate -= (self.estimate - self.busy + 3) // 4
