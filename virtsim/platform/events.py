"""The events of a platform: what programs ask of kernels, and what code asks of the machine.

*System* events cross the boundary between a program and its kernel; the topmost layer that is a kernel
(or stands in for one) handles them. *Machine* events are executed by whoever runs on a machine, real or
virtual; a monitor handles those it must get hold of, and all others go straight to the hardware, where
each is the primitive of the same name.
"""

from __future__ import annotations

from typing import NamedTuple

from virtsim.core.errors import SpecError, did_you_mean
from virtsim.platform.primitives import PRIMITIVES


class PlatformEvent(NamedTuple):
    """One kind of event.

    Attributes
    ----------
    interface : str
        ``system`` or ``machine``.
    system_calls : int
        How many times the program enters its kernel by a system call (``system`` events only).
    sized : bool
        Whether the event has a size in bytes.
    meaning : str
        One sentence.
    """

    interface: str
    system_calls: int
    sized: bool
    meaning: str


def _system(calls: int, meaning: str, sized: bool = False) -> PlatformEvent:
    return PlatformEvent("system", calls, sized, meaning)


_SYSTEM: dict[str, PlatformEvent] = {
    "null": _system(1, "A system call that does nothing."),
    "stat": _system(1, "Read the attributes of a file by path."),
    "open_close": _system(2, "Open a file and close it."),
    "read": _system(1, "Read from a file in memory.", sized=True),
    "write": _system(1, "Write to a file in memory.", sized=True),
    "fsync": _system(1, "Synchronise a file that lives in memory."),
    "create": _system(2, "Create an empty file and close it."),
    "delete": _system(1, "Remove a file that is in memory, of that size.", sized=True),
    "select": _system(1, "Ask one descriptor of a select call; a call with more adds `select_scan`."),
    "map_unmap": _system(2, "Map anonymous memory and unmap it."),
    "release": _system(1, "Give a touched area back to the kernel (madvise)."),
    "page_fault": _system(0, "A minor fault on one page."),
    "protection_fault": _system(1, "A fault on protected memory that reaches the program as a signal."),
    "copy_fault": _system(0, "A write fault on a page shared after a fork: the page is copied."),
    "fork_wait": _system(3, "Fork a child that exits at once, and wait; the two switches included."),
    "fork_exec": _system(4, "Fork a child that executes a small program, and wait; the switches included."),
    "fork_shell": _system(68, "Fork a shell that runs a small program, and wait; the switches included."),
    "pipe_write": _system(1, "Write a small message to a pipe; waking the reader not included.", sized=True),
    "pipe_read": _system(1, "Read a small message from a pipe; sleeping not included.", sized=True),
    "futex_wake": _system(1, "Wake a futex; making the task runnable not included."),
    "futex_wait": _system(1, "Wait on a futex; the switch not included."),
    "signal_install": _system(1, "Install a signal handler."),
    "signal": _system(2, "Send a signal to oneself, run its handler, return."),
    "timer_sleep": _system(1, "Arm a timer and sleep; the switch not included."),
    "context_switch": _system(0, "Switch to a task with another address space."),
    "thread_switch": _system(0, "Switch to a task of the same address space."),
    "wakeup": _system(0, "Make a task runnable; a signal to another processor not included."),
    "wakeup_remote": _system(0, "Make a task runnable on another, idle processor."),
    "packet_wakeup": _system(0, "A packet that arrived makes a task runnable on another, idle processor."),
    "timer_tick": _system(0, "The scheduler's periodic interrupt."),
    "idle": _system(0, "Go idle and come back."),
    "file_io": _system(1, "One request of a file to a block device, completion included.", sized=True),
    "packet_send": _system(1, "Send one packet through a socket.", sized=True),
    "packet_receive": _system(1, "Receive one packet through a socket, its interrupt included.", sized=True),
}

_MACHINE_MEANING = {
    "memory_access": "A program's load or store, beyond its computing.",
    "tlb_miss": "A translation is not in the TLB: the page table is walked.",
    "page_exception": "A page fault's exception, into the kernel and back.",
    "pte_map": "A kernel writes an entry of a page table in use: absent to present.",
    "pte_unmap": "A kernel writes an entry of a page table in use: present to absent.",
    "pte_change": "A kernel writes an entry of a page table in use: present to present.",
    "pte_protect": "One entry of a bulk change of a page table in use (at a fork).",
    "pte_fill": "One entry of a bulk fill of a page table not yet in use.",
    "pte_clear": "One entry of a bulk clear of a page table about to go.",
    "page_table": "A page begins to serve as a page table and later ends.",
    "full_return": "A return to a program that restores all its registers (IRET), beyond that of a call.",
    "first_touch": "First use of a page, by kernel or program, in a new address space.",
    "new_code": "One instruction of a program is executed for the first time.",
    "new_kernel_code": "One instruction of a kernel is executed for the first time.",
    "kernel_call": "A kernel calls one of its functions, which returns.",
    "vmcall": "A kernel on a machine asks its monitor for a service that does nothing.",
    "invalid_opcode": "An exception on an undefined instruction, into the kernel and back.",
    "doorbell": "A paravirtual device's notification by its front end.",
    "device_access": "A monitor hands an access to a device's registers to what it runs on.",
    "host_interrupt": "An interrupt arrives while a monitor has the processor.",
    "host_wait": "A monitor gives up the processor until something happens.",
    "device_kick": "Tell a device that a request is there.",
    "device_more": "Hand a device one more request, of which it is told together with another.",
    "device_receive": "Data that nobody asked for are carried from a device to the kernel that drives it.",
    "device_interrupt": "A device's interrupt, delivered to the kernel that drives it.",
}


def _machine() -> dict[str, PlatformEvent]:
    events = {name: PlatformEvent("machine", 0, False, p.meaning) for name, p in PRIMITIVES.items()}
    events.update({name: PlatformEvent("machine", 0, False, text) for name, text in _MACHINE_MEANING.items()})
    return events


#: Every event by name.
EVENTS: dict[str, PlatformEvent] = {**_machine(), **_SYSTEM}


#: Other names that people use for events.
ALIASES = {"syscall": "null", "fork": "fork_wait", "exec": "fork_exec", "sleep": "timer_sleep"}


def event_of(name: str) -> PlatformEvent:
    """The event called ``name``; the error of an unknown name lists the known ones."""
    try:
        return EVENTS[name]
    except KeyError:
        hint = did_you_mean(name, [*EVENTS, *ALIASES])
        known = ", ".join(sorted(_SYSTEM))
        raise SpecError("event", f"no event is called {name[:60]!r}; {hint}a program's events are: {known}") from None
