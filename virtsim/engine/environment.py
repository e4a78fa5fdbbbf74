"""SimPy's environment with a clock of whole nanoseconds."""

from __future__ import annotations

import operator
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any

import simpy
from simpy.core import EmptySchedule, StopSimulation
from simpy.events import NORMAL, URGENT, Event, Timeout

from virtsim.core.errors import ModelError


class TimeError(ModelError, ValueError):
    """A time or delay that is not a whole number of nanoseconds, or that lies in the past."""


class Environment(simpy.Environment):  # type: ignore[misc]
    """An event kernel whose time is ``int`` nanoseconds.

    Everything of SimPy works as it does there: processes, events, conditions. Differences: a delay that is
    not a whole number is refused; a scheduled event can be taken back (:meth:`cancel`); an error that no
    process handles leaves :meth:`run` as it was raised. Events of one time and priority happen in the order
    in which they were scheduled.

    Parameters
    ----------
    initial_time_ns : int, ns
        Where the clock starts.

    Examples
    --------
    >>> env = Environment()
    >>> def ticks():
    ...     for _ in range(10):
    ...         yield env.delay(100_000_000)
    >>> _ = env.process(ticks())
    >>> env.run()
    >>> env.now
    1000000000
    """

    def __init__(self, initial_time_ns: int = 0) -> None:
        super().__init__(_whole(initial_time_ns, "initial_time_ns"))
        self._cancelled = 0

    @property
    def now(self) -> int:
        """The current time, ns."""
        return self._now  # type: ignore[no-any-return]

    @property
    def next_event_ns(self) -> int | None:
        """Time of the next event, ns; None if there is none."""
        self._drop_cancelled()
        return self._queue[0][0] if self._queue else None

    def delay(self, delay_ns: int, value: Any = None) -> Timeout:
        """An event that happens ``delay_ns`` from now."""
        if type(delay_ns) is not int:
            delay_ns = _whole(delay_ns, "delay_ns")
        return Timeout(self, delay_ns, value)

    def schedule(self, event: Event, priority: int = NORMAL, delay: int = 0) -> None:
        """Put an event that is triggered already into the queue, ``delay`` ns from now."""
        if type(delay) is not int:
            delay = _whole(delay, "delay")
        if delay < 0:
            raise TimeError(f"delay: {delay} ns lies in the past")
        heappush(self._queue, (self._now + delay, priority, next(self._eid), event))

    def cancel(self, event: Event) -> None:
        """Take back a scheduled event: nothing that waits for it will be told, and the clock skips it.

        For events of one owner (timers); a process that waits for a cancelled event waits for ever.
        """
        if event.callbacks is None or not event.triggered:
            raise ModelError("only an event that is scheduled and has not happened can be cancelled")
        event.callbacks = None
        self._cancelled += 1
        # Half of the queue may be dead weight, not more: the cost of a sweep is shared by as many cancellations.
        if self._cancelled > 64 and 2 * self._cancelled > len(self._queue):
            self._queue[:] = [entry for entry in self._queue if entry[3].callbacks is not None]
            heapify(self._queue)
            self._cancelled = 0

    def _drop_cancelled(self) -> None:
        queue = self._queue
        while queue and queue[0][3].callbacks is None:
            heappop(queue)
            self._cancelled -= 1

    def peek(self) -> float:
        """Time of the next event as SimPy gives it: infinity if there is none."""
        time_ns = self.next_event_ns
        return float("inf") if time_ns is None else time_ns

    def step(self) -> None:
        """Let the next event happen."""
        while True:
            try:
                now, _, _, event = heappop(self._queue)
            except IndexError:
                raise EmptySchedule from None
            if event.callbacks is not None:
                break
            self._cancelled -= 1
        self._now = now
        callbacks, event.callbacks = event.callbacks, None
        try:
            for callback in callbacks:
                callback(event)
        except StopSimulation:
            # The callbacks that were not reached come first when the run is continued.
            event.callbacks = callbacks[callbacks.index(callback) + 1 :]
            self.schedule(event, -1)
            raise
        if not event._ok and not hasattr(event, "_defused"):
            # SimPy makes a new exception from the arguments of this one, which ours do not survive.
            raise event._value

    def run(self, until: int | Event | None = None) -> Any:
        """Let events happen until the queue is empty, until a time (ns), or until an event, whose value it gives.

        Events at the very time ``until`` do not happen yet.
        """
        if until is None or isinstance(until, Event):
            return super().run(until)
        until = _whole(until, "until")
        if until <= self._now:
            raise TimeError(f"until: {until} ns is not after the current time, {self._now} ns")
        end = Event(self)
        end._ok, end._value = True, None
        self.schedule(end, URGENT, until - self._now)
        try:
            return super().run(end)
        finally:
            # Neither the end that was reached nor, after an error, the one that was not may meet a later run.
            if end.callbacks is not None:
                self.cancel(end)


class Alarm:
    """A timer that can be set, moved and cleared; it owns at most one scheduled event.

    Parameters
    ----------
    env : Environment
        The clock.
    ring : callable
        Called without arguments when the alarm is due; it may set the alarm again.

    Examples
    --------
    >>> env = Environment()
    >>> alarm = Alarm(env, lambda: print(env.now))
    >>> alarm.set(30)
    >>> alarm.set(20)
    >>> env.run()
    20
    """

    __slots__ = ("_env", "_event", "_ring", "due_ns")

    def __init__(self, env: Environment, ring: Callable[[], None]) -> None:
        self._env = env
        self._ring = ring
        self._event: Event | None = None
        #: When it rings, ns; None while it is not set.
        self.due_ns: int | None = None

    def set(self, due_ns: int) -> None:
        """Ring at ``due_ns`` instead of whenever it was due before."""
        if due_ns == self.due_ns:
            return
        self.clear()
        event = self._env.delay(due_ns - self._env.now)
        event.callbacks.append(self._happen)
        self._event, self.due_ns = event, due_ns

    def clear(self) -> None:
        """Do not ring."""
        if self._event is not None:
            self._env.cancel(self._event)
            self._event = self.due_ns = None

    def _happen(self, _: Event) -> None:
        self._event = self.due_ns = None
        self._ring()


def _whole(time: Any, name: str) -> int:
    """``time`` as a plain ``int``; NumPy's integers are, floats are not."""
    try:
        return int(operator.index(time))
    except TypeError:
        raise TimeError(
            f"{name}: {time!r} is not a whole number of nanoseconds; write round(...) where you decide how"
        ) from None
