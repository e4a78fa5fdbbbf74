"""A job: work that a shared resource does for someone who waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simpy.events import Event

from virtsim.core.errors import ModelError

if TYPE_CHECKING:
    from virtsim.engine.environment import Environment


class Job(Event):  # type: ignore[misc]
    """An event that happens when the work is done; its value is the job itself.

    Attributes
    ----------
    work_ns : int, ns
        Service demand, on one server.
    arrival_ns, start_ns, end_ns : int, ns
        Arrival, first service, end; the last two are None until then.
    """

    def __init__(self, env: Environment, work_ns: int) -> None:
        if type(work_ns) is not int or work_ns < 0:
            raise ModelError(f"work_ns: {work_ns!r} is not a whole number of nanoseconds, at least 0")
        super().__init__(env)
        self.work_ns = work_ns
        self.arrival_ns: int = env.now
        self.start_ns: int | None = None
        self.end_ns: int | None = None
        #: Where the station that has the job keeps its own notes; None once it has no longer.
        self.place: Any = None

    def finish(self) -> None:
        """Called by the station when the work is done."""
        self.end_ns = self.env.now
        self.succeed(self)

    @property
    def sojourn_ns(self) -> int:
        """From arrival to end, ns."""
        if self.end_ns is None:
            raise ModelError("the job is not done yet")
        return self.end_ns - self.arrival_ns
