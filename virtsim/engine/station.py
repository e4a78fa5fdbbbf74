"""What all stations are: servers, one pending event for the next end, and perhaps a probe."""

from __future__ import annotations

from virtsim.core.errors import ModelError
from virtsim.engine.environment import Alarm, Environment
from virtsim.engine.probes import StationProbe


class Station:
    """Base of stations.

    Parameters
    ----------
    env : Environment
        The clock.
    servers : int
        Number of servers.
    probe : StationProbe, optional
        What the station shall count.

    Raises
    ------
    ModelError
        If there is no server.
    """

    def __init__(self, env: Environment, servers: int = 1, probe: StationProbe | None = None) -> None:
        if servers < 1:
            raise ModelError(f"servers: {servers} is not a number of servers; at least 1")
        self.env = env
        self.servers = servers
        self.probe = probe
        self._alarm = Alarm(env, self._ends)
        # Jobs so far: of equal ones, the first that came is the first.
        self._sequence = 0

    def _ends(self) -> None:
        """Let jobs end that are due."""
        raise NotImplementedError
