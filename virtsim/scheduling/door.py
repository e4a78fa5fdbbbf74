"""Ways from one kernel to another: a guest's request to a back end below, an interrupt to a guest above."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from virtsim.scheduling.interrupts import Interrupts


class Door:
    """From one storey to a semaphore of another.

    Parameters
    ----------
    storey : Interrupts
        Where the semaphore is.
    semaphore : int
        Which one.
    cpu : int
        The CPU of that storey that is interrupted, where it has virtual ones.
    cost_ns : int, ns
        CPU time that the interrupt takes from the one that waits for it.
    """

    __slots__ = ("cost_ns", "cpu", "semaphore", "storey")

    def __init__(self, storey: Interrupts, semaphore: int, cpu: int = 0, cost_ns: int = 0) -> None:
        self.storey = storey
        self.semaphore = semaphore
        self.cpu = cpu
        self.cost_ns = cost_ns
