"""Processor sharing: all jobs are served at once, each at its share of the speed.

Exact in integers. A *virtual clock* runs at the service that a job of weight 1 gets; a job of weight w
and work S that arrives at virtual time V ends when the clock shows V + S/w, so a change of everyone's
speed moves one clock, not n jobs, and arrivals and ends cost O(log n).

The clock counts in 2**-32 ns. What does not divide evenly among the jobs (less than one such unit each) and
what an end on a whole nanosecond gave a job too much (less than one nanosecond) is carried over to the jobs
that go on, so no work is lost or invented: the busy period of a station ends at exactly the same nanosecond as
it would first come first served.

References
----------
L. Kleinrock, *Queueing Systems*, vol. 2, 1976, section 4.4 (processor sharing). A. K. Parekh, R. G. Gallager,
"A generalized processor sharing approach to flow control", IEEE/ACM Trans. Networking 1(3), 1993 (virtual time).
"""

from __future__ import annotations

from heapq import heappop, heappush

from virtsim.core.errors import ModelError
from virtsim.engine.environment import Environment
from virtsim.engine.jobs import Job
from virtsim.engine.probes import StationProbe
from virtsim.engine.station import Station

#: One nanosecond of work in units of the virtual clock.
UNITS_PER_NS = 1 << 32
_LARGEST_WEIGHT = 1 << 20


class _Share:
    """A job's claim: its weight, and the virtual times of its arrival and end."""

    __slots__ = ("finish", "job", "start", "weight")

    def __init__(self, job: Job, weight: int, start: int) -> None:
        self.job = job
        self.weight = weight
        self.start = start
        # Rounded down: rounded up, it could cost a nanosecond more than the work. The rest is carried as a debt.
        self.finish = start + job.work_ns * UNITS_PER_NS // weight


class SharingStation(Station):
    """Processor sharing on ``servers`` equal servers.

    With one server, a job of weight w among jobs of total weight W is served at speed w/W (egalitarian where
    all weights are equal, else discriminatory). With several, n jobs are served at speed min(1, servers/n)
    each, because a job runs on one server at a time; weights other than 1 are then refused, since a cap on
    each job's speed makes the shares of the others depend on who is capped.

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
    >>> cpu = SharingStation(env)
    >>> short, long = cpu.serve(10), cpu.serve(30)
    >>> env.run()
    >>> short.end_ns, long.end_ns
    (20, 40)
    """

    def __init__(self, env: Environment, servers: int = 1, probe: StationProbe | None = None) -> None:
        super().__init__(env, servers, probe)
        self._heap: list[tuple[int, int, _Share]] = []
        self._clock = 0
        self._carry = 0
        self._weight = 0
        self._jobs = 0
        self._since_ns = env.now

    @property
    def in_service(self) -> int:
        """Jobs that are being served."""
        return self._jobs

    def serve(self, work_ns: int, weight: int = 1) -> Job:
        """A job of ``work_ns``; yield it to wait for its end.

        Parameters
        ----------
        work_ns : int, ns
            Time it takes alone on a server.
        weight : int
            1 to 2**20.
        """
        if not 1 <= weight <= _LARGEST_WEIGHT:
            raise ModelError(f"weight: {weight} is not a weight from 1 to {_LARGEST_WEIGHT}")
        if weight != 1 and self.servers != 1:
            raise ModelError("weight: a station of several servers shares equally; use weight 1, or one server")
        self._advance()
        job = Job(self.env, work_ns)
        job.start_ns = job.arrival_ns
        job.place = share = _Share(job, weight, self._clock)
        self._sequence += 1
        heappush(self._heap, (share.finish, self._sequence, share))
        self._enter(weight, 1)
        if self.probe is not None:
            self.probe.waiting_ns.add(0)
        self._set_alarm()
        return job

    def withdraw(self, job: Job) -> None:
        """Take a job back; it will never happen, and the others share its speed from now on."""
        share = job.place
        if not isinstance(share, _Share):
            raise ModelError("the job is not at this station: it is done or was withdrawn")
        self._advance()
        job.place = None
        self._enter(-share.weight, -1)
        self._set_alarm()

    def attained_ns(self, job: Job) -> float:
        """Service that the job has had until now, ns."""
        share = job.place
        if job.end_ns is not None:
            return float(job.work_ns)
        if not isinstance(share, _Share):
            raise ModelError("the job is not at this station: it was withdrawn")
        self._advance()
        return min(share.weight * (self._clock - share.start) / UNITS_PER_NS, float(job.work_ns))

    def _enter(self, weight: int, jobs: int) -> None:
        self._weight += weight
        self._jobs += jobs
        if self.probe is not None:
            self.probe.in_system.add(jobs)
            self.probe.busy.set(min(self._jobs, self.servers))

    def _advance(self) -> None:
        """Bring the virtual clock to now."""
        now = self.env.now
        elapsed_ns, self._since_ns = now - self._since_ns, now
        if self._jobs <= self.servers and (self.servers > 1 or self._jobs == 0):
            # Every job has a server of its own, or there is none: nothing to share, nothing to carry.
            self._clock += elapsed_ns * UNITS_PER_NS if self._jobs else 0
            self._carry = 0
            return
        self._carry += elapsed_ns * self.servers * UNITS_PER_NS
        if self._carry > 0:
            step, self._carry = divmod(self._carry, self._weight)
            self._clock += step

    def _set_alarm(self) -> None:
        heap = self._heap
        while heap and heap[0][2].job.place is not heap[0][2]:
            heappop(heap)
        if not heap:
            self._alarm.clear()
            return
        missing = heap[0][0] - self._clock
        if self._jobs <= self.servers and self.servers > 1:
            speed = UNITS_PER_NS
        else:
            missing = missing * self._weight - self._carry
            speed = self.servers * UNITS_PER_NS
        self._alarm.set(self.env.now + max(0, -(-missing // speed)))

    def _ends(self) -> None:
        self._advance()
        heap = self._heap
        while heap and heap[0][0] <= self._clock:
            share = heappop(heap)[2]
            job = share.job
            if job.place is not share:
                continue
            job.place = None
            # What it was given beyond its work, less than a nanosecond, goes to the others (what it lacks, from them).
            self._carry += share.weight * (self._clock - share.start) - job.work_ns * UNITS_PER_NS
            self._enter(-share.weight, -1)
            if self.probe is not None:
                self.probe.sojourn_ns.add(self.env.now - job.arrival_ns)
            job.finish()
            if self._jobs:
                self._advance()
        self._set_alarm()
