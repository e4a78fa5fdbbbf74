"""Turns of migrations: a host takes part in so many at a time."""

from __future__ import annotations

from collections import deque

from simpy.events import Event


class Turns:
    """Who may migrate now, and who waits on which host.

    Parameters
    ----------
    hosts : int
        Number of hosts.
    most : int
        Migrations in which a host takes part at a time.
    """

    def __init__(self, hosts: int, most: int) -> None:
        self._most = most
        # Migrations that take part on each host, and those that wait for it.
        self._busy = [0] * hosts
        self._queue: list[deque[tuple[int, int, Event]]] = [deque() for _ in range(hosts)]

    def take(self, source: int, target: int, turn: Event) -> None:
        """Let ``turn`` happen when both hosts have room for one more migration."""
        for host in (source, target):
            if self._busy[host] >= self._most:
                self._queue[host].append((source, target, turn))
                return
        self._busy[source] += 1
        self._busy[target] += 1
        turn.succeed()

    def end(self, source: int, target: int, turn: Event) -> None:
        """Give the turn back, and let the next ones have theirs; one that has not come yet is taken from the queue."""
        if not turn.triggered:
            for host in (source, target):
                self._queue[host] = deque(entry for entry in self._queue[host] if entry[2] is not turn)
            return
        for host in (source, target):
            self._busy[host] -= 1
        for host in (source, target):
            waiting, self._queue[host] = self._queue[host], deque()
            while waiting:
                if self._busy[host] >= self._most:
                    self._queue[host].extend(waiting)
                    break
                self.take(*waiting.popleft())
