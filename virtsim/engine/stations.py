"""Stations with servers: jobs wait for one of them, first come first served or by priority.

Whatever the number of jobs, a station has one pending event, and an arrival or an end costs O(log n).
"""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush

from virtsim.core.errors import ModelError
from virtsim.engine.environment import Environment
from virtsim.engine.jobs import Job
from virtsim.engine.probes import StationProbe
from virtsim.engine.station import Station


class _Service:
    """A job's stay on a server, or in the queue: the mark that tells current heap entries from stale ones."""

    __slots__ = ("end_ns", "job", "left_ns", "priority", "sequence")

    def __init__(self, job: Job, priority: int, sequence: int) -> None:
        self.job = job
        self.priority = priority
        self.sequence = sequence
        self.left_ns = job.work_ns
        #: When its service ends; None while it waits.
        self.end_ns: int | None = None


class FifoStation(Station):
    """``servers`` equal servers and one queue, first come first served.

    Parameters
    ----------
    env : Environment
        The clock.
    servers : int
        Number of servers.
    probe : StationProbe, optional
        What the station shall count.

    Examples
    --------
    >>> env = Environment()
    >>> disk = FifoStation(env)
    >>> def reader(size_ns):
    ...     job = yield disk.serve(size_ns)
    ...     print(job.arrival_ns, job.start_ns, job.end_ns)
    >>> for size_ns in (10, 5):
    ...     _ = env.process(reader(size_ns))
    >>> env.run()
    0 0 10
    0 10 15
    """

    def __init__(self, env: Environment, servers: int = 1, probe: StationProbe | None = None) -> None:
        super().__init__(env, servers, probe)
        self._running: list[tuple[int, int, _Service]] = []
        self._queue: deque[_Service] = deque()
        self._busy = 0
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """Jobs that wait for a server."""
        return self._waiting

    @property
    def in_service(self) -> int:
        """Servers at work."""
        return self._busy

    def serve(self, work_ns: int) -> Job:
        """A job of ``work_ns``; yield it to wait for its end."""
        return self._admit(work_ns, 0)

    def withdraw(self, job: Job) -> None:
        """Take a job back, waiting or in service; it will never happen, and its server is free at once."""
        service = job.place
        if not isinstance(service, _Service):
            raise ModelError("the job is not at this station: it is done or was withdrawn")
        job.place = None
        if service.end_ns is None:
            self._waiting -= 1
        else:
            service.end_ns = None
            self._release()
        if self.probe is not None:
            self.probe.in_system.add(-1)
        self._fill()

    def _admit(self, work_ns: int, priority: int) -> Job:
        job = Job(self.env, work_ns)
        if self._running and self._running[0][0] <= self.env.now:
            # Who has ended by now is not preempted, even if the arrival was told first.
            self._ends()
        self._sequence += 1
        job.place = service = _Service(job, priority, self._sequence)
        if self.probe is not None:
            self.probe.in_system.add(1)
        if self._busy < self.servers:
            self._begin(service)
        else:
            self._wait(service)
        self._set_alarm()
        return job

    def _wait(self, service: _Service) -> None:
        self._queue.append(service)
        self._waiting += 1

    def _next(self) -> _Service:
        return self._queue.popleft()

    def _begin(self, service: _Service) -> None:
        now, job = self.env.now, service.job
        service.end_ns = now + service.left_ns
        heappush(self._running, (service.end_ns, service.sequence, service))
        self._busy += 1
        if self.probe is not None:
            self.probe.busy.add(1)
            if job.start_ns is None:
                self.probe.waiting_ns.add(now - job.arrival_ns)
        if job.start_ns is None:
            job.start_ns = now

    def _release(self) -> None:
        self._busy -= 1
        if self.probe is not None:
            self.probe.busy.add(-1)

    def _fill(self) -> None:
        """Give free servers to waiting jobs, and set the alarm to the next end."""
        while self._waiting and self._busy < self.servers:
            service = self._next()
            if service.job.place is service:
                self._waiting -= 1
                self._begin(service)
        self._set_alarm()

    def _set_alarm(self) -> None:
        running = self._running
        while running and running[0][2].end_ns != running[0][0]:
            heappop(running)
        if running:
            self._alarm.set(running[0][0])
        else:
            self._alarm.clear()

    def _ends(self) -> None:
        now, running = self.env.now, self._running
        while running and running[0][0] <= now:
            end_ns, _, service = heappop(running)
            if service.end_ns != end_ns:
                continue
            job = service.job
            service.end_ns = job.place = None
            self._release()
            if self.probe is not None:
                self.probe.in_system.add(-1)
                self.probe.sojourn_ns.add(now - job.arrival_ns)
            job.finish()
        self._fill()


class PriorityStation(FifoStation):
    """``servers`` equal servers; the waiting job with the smallest priority number is served next.

    Parameters
    ----------
    env, servers, probe
        As for :class:`FifoStation`.
    preemptive : bool
        Whether an urgent job takes the server of a less urgent one, which later resumes where it was.

    Notes
    -----
    Jobs of one priority are served in the order of their arrival, preempted ones included. Of the jobs that
    could be preempted, the least urgent is, and of those the one that arrived last.
    """

    def __init__(
        self, env: Environment, servers: int = 1, probe: StationProbe | None = None, *, preemptive: bool = False
    ) -> None:
        super().__init__(env, servers, probe)
        self.preemptive = preemptive
        self._heap: list[tuple[int, int, _Service]] = []
        self._victims: list[tuple[int, int, _Service]] = []

    def serve(self, work_ns: int, priority: int = 0) -> Job:
        """A job of ``work_ns``; the smaller ``priority``, the sooner it is served."""
        return self._admit(work_ns, priority)

    def _wait(self, service: _Service) -> None:
        if self.preemptive:
            victim = self._victim()
            if victim is not None and victim.priority > service.priority:
                self._preempt(victim)
                self._begin(service)
                return
        self._enqueue(service)

    def _enqueue(self, service: _Service) -> None:
        heappush(self._heap, (service.priority, service.sequence, service))
        self._waiting += 1

    def _next(self) -> _Service:
        return heappop(self._heap)[2]

    def _begin(self, service: _Service) -> None:
        super()._begin(service)
        if self.preemptive:
            heappush(self._victims, (-service.priority, -service.sequence, service))
            # Ended jobs leave when they come to the top; those that never would are swept out.
            if len(self._victims) > 2 * self.servers + 64:
                self._victims = [entry for entry in self._victims if entry[2].end_ns is not None]
                heapify(self._victims)

    def _victim(self) -> _Service | None:
        victims = self._victims
        while victims and victims[0][2].end_ns is None:
            heappop(victims)
        return victims[0][2] if victims else None

    def _preempt(self, service: _Service) -> None:
        assert service.end_ns is not None
        heappop(self._victims)
        service.left_ns = service.end_ns - self.env.now
        service.end_ns = None
        self._release()
        self._enqueue(service)
