"""What a task does, as a flat list of instructions that the heart interprets.

The machine compiles a task's program of operations into this; costs are in it already, as CPU time.
A program is a row of integers, three for each instruction (code, a, b), so that the compiled heart finds all it needs
to know about an instruction in one place of memory.
"""

from __future__ import annotations

from enum import IntEnum

from virtsim.core.streams import SplitMix64
from virtsim.scheduling.words import Words
from virtsim.workload.draw import Draw

# What an instruction comes to: the program goes on, needs CPU time, has given up its CPU.
GO_ON, NEEDS_TIME, GAVE_UP = range(3)


class Code(IntEnum):
    """Instruction codes."""

    #: Use ``a`` ns of CPU time.
    CPU = 0
    #: Use a drawn CPU time: sampler ``a``.
    CPU_DRAWN = 1
    #: Sleep ``a`` ns; a timer with the task's slack.
    SLEEP = 2
    #: Sleep for a drawn time: sampler ``a``.
    SLEEP_DRAWN = 3
    #: Note the time (``a`` = 1: the task's start) in slot ``b`` as the base of a periodic job.
    PERIODIC_BEGIN = 4
    #: Move the due time in slot ``b`` on by ``a`` ns and sleep until then.
    PERIODIC_WAIT = 5
    #: Record the time since the due time in slot ``b`` into histogram ``a``.
    RECORD_SINCE = 6
    #: Take the next request of queue ``a``: sleep until its arrival, remember it in slots ``b``, ``b + 1``.
    REQUEST_WAIT = 7
    #: Note the start of service of the request in slot ``b``.
    REQUEST_BEGIN = 8
    #: Note the end of service of the request in slot ``b`` (queue ``a``).
    REQUEST_END = 9
    #: Add one to semaphore ``a``; waking a waiter costs ``b`` ns more.
    POST = 10
    #: Take one from semaphore ``a``; blocks while it is 0, which costs ``b`` ns more.
    WAIT = 11
    #: Take mutex ``a``; waiting for it costs ``b`` ns more.
    LOCK = 12
    #: Release mutex ``a``; waking a waiter costs ``b`` ns more.
    UNLOCK = 13
    #: Put ``a`` (0 = for ever) into loop counter slot ``b``.
    LOOP_BEGIN = 14
    #: Count slot ``b`` down and jump to ``a`` unless it is used up.
    LOOP_END = 15
    #: Jump to ``a`` if slot ``b`` says its queue is exhausted.
    JUMP_IF_DONE = 16
    #: Start the child program ``a`` as a new task, and block until it has ended.
    FORK_WAIT = 17
    #: Count ``b`` operations of kind ``a``.
    COUNT = 18
    #: End the task.
    EXIT = 19
    #: Block until the outside wakes the task; ``a`` is the request's number (a device, a hypervisor).
    EXTERNAL = 20
    #: A request of queue ``a`` begins now (closed loop); its time goes to slots ``b`` and ``b + 1``.
    REQUEST_NOW = 21
    #: Go to ``a``.
    JUMP = 22
    #: As POST, by a task that is about to block itself (a pipe's "sync" wake-up).
    POST_SYNC = 23
    #: Put a request of port ``a`` into its ring; blocks while that is full.
    SUBMIT = 24
    #: Jump to ``a`` unless the back end of port ``b``'s ring has to be told.
    JUMP_UNLESS_KICK = 25
    #: Tell the back end of port ``a``'s ring, which wakes it if it sleeps.
    KICK = 26
    #: Block until the last request of port ``a`` is done and its interrupt taken.
    AWAIT = 27
    #: As the task of back end ``a``: take what is next, and use the CPU time that it needs; blocks if there is nothing.
    TAKE = 28
    #: As the task of back end ``a``: pass on what was taken, to the device or to the guest.
    FINISH = 29
    #: Take spinlock ``a``, spinning while somebody else holds it; the kernel does not preempt meanwhile.
    SPIN_LOCK = 30
    #: Release spinlock ``a``.
    SPIN_UNLOCK = 31
    #: Post to a semaphore of another storey, through door ``a``.
    NOTIFY = 32
    #: Jump to ``a`` unless requests in port ``b``'s ring are held back that its back end has to be told of.
    JUMP_UNLESS_PUSH = 33


class Program:
    """Instructions with the samplers they use.

    Attributes
    ----------
    text : Words
        Code, a and b of each instruction.
    samplers : list of Sampler
        Random durations, each with its own stream.
    children : list of Program
        Programs of forked children.
    slots : int
        Number of integer registers the program uses.
    kinds : int
        One more than the highest number of a kind of operation that it counts.
    """

    __slots__ = ("children", "kinds", "samplers", "slots", "text")

    def __init__(self) -> None:
        self.text = Words()
        self.samplers: list[Sampler] = []
        self.children: list[Program] = []
        self.slots = 0
        self.kinds = 0

    def emit(self, code: Code, a: int = 0, b: int = 0) -> int:
        """Append an instruction; returns its address."""
        address = len(self)
        for number in (int(code), a, b):
            self.text.append(number)
        if code == Code.COUNT and a >= self.kinds:
            self.kinds = a + 1
        return address

    def __len__(self) -> int:
        return len(self.text) // 3

    def instruction(self, address: int) -> tuple[int, int, int]:
        """Code, a and b at an address."""
        return self.text[3 * address], self.text[3 * address + 1], self.text[3 * address + 2]

    def land(self, jump: int) -> None:
        """Have the jump at an address lead to the next instruction that is appended."""
        self.text[3 * jump + 1] = len(self)

    def cpu(self, duration_ns: int) -> None:
        """Append CPU time, joined to CPU time just before it unless something may jump between."""
        if duration_ns <= 0:
            return
        self.emit(Code.CPU, duration_ns)

    def slot(self, count: int = 1) -> int:
        """Reserve ``count`` registers; returns the first."""
        self.slots += count
        return self.slots - count


class Sampler:
    """A draw with its stream and a factor from drawn to charged nanoseconds (fixed point, 2**-20)."""

    __slots__ = ("draw", "factor", "rng")

    def __init__(self, draw: Draw, seed: int, factor: float = 1.0) -> None:
        self.draw = draw
        self.rng = SplitMix64(seed)
        self.factor = round(factor * (1 << 20))

    def sample_ns(self) -> int:
        """Next duration, ns."""
        return self.draw.sample(self.rng) * self.factor >> 20
