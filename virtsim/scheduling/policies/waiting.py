"""Waiting tasks in an order, of which a CPU takes the first that may run on it."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from typing import Any

from virtsim.scheduling.cpu import Cpu
from virtsim.scheduling.task import Task


def _always(task: Task) -> bool:
    return True


class Waiting:
    """Tasks by a key, those with the same key in the order in which they came."""

    def __init__(self) -> None:
        self._entries: list[tuple[Any, int, Task]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Any:
        return (task for _, _, task in self._entries)

    def add(self, task: Task, key: Any = 0, first: bool = False) -> None:
        """Add a task; ``first`` puts it before those with the same key."""
        self._count += 1
        insort(self._entries, (key, -self._count if first else self._count, task), key=_order)

    def take(self, cpu: Cpu, ready: Callable[[Task], bool] = _always) -> Task | None:
        """Take out the first task that may run on ``cpu`` and is ready."""
        for place, (_, _, task) in enumerate(self._entries):
            if cpu.number in task.cpus and ready(task):
                del self._entries[place]
                return task
        return None

    def remove(self, task: Task) -> None:
        """Take out one task."""
        self._entries = [entry for entry in self._entries if entry[2] is not task]

    def first_key(self, cpu: Cpu) -> Any:
        """Key of the first task that may run on ``cpu``; None if there is none."""
        return next((key for key, _, task in self._entries if cpu.number in task.cpus), None)


def _order(entry: tuple[Any, int, Task]) -> tuple[Any, int]:
    return entry[:2]
