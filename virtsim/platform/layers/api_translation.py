"""API translation (Wine): programs of another system, whose calls are served by libraries and a server.

Computation is native. A call is served inside the process (``api_call`` and the host's call), or, where it
touches an object that processes share (handles, events, waits, processes), by a request to the server:

    call = api_call + host call + requests * api_server_call

The requests of each kind of call are counted from measured calls of Wine 8.0 in multiples of one request.

Limits of validity: the mapping from this language's operations to the foreign interface is one of several
possible; it is stated in the table below.

References
----------
E. Figura, "NT synchronization primitive driver" (cover letter), linux-kernel, 2024: what a server costs.
"""

from __future__ import annotations

from collections.abc import Iterable

from virtsim.platform.events import EVENTS
from virtsim.platform.layers.base import LAYER_KINDS, LayerKind, Settings, Step, exact

#: Requests to the server: open and close of a file took 38 us where one request takes 8.4 us, and so on.
REQUESTS: dict[str, float] = {
    "null": 1,  # NtClose of a bad handle
    "stat": 2,
    "open_close": 4,
    "create": 4,
    "delete": 2,
    "futex_wake": 1,  # SetEvent
    "futex_wait": 1.3,  # WaitForSingleObject
    "signal": 2,
    "fork_wait": 40,  # CreateThread and join
    "fork_exec": 200,
    "fork_shell": 600,
}


class ApiTranslation(LayerKind):
    """Wine with its server."""

    name = "api-translation"
    role = "filter"
    needs = frozenset({"system"})
    provides = frozenset({"system"})
    parameters = {"server": exact(1, "switch", "0 where the kernel offers the foreign primitives itself")}

    def handle(self, event: str, size: int, settings: Settings) -> Iterable[Step] | None:
        """Translate in the process, then ask the server where the object is shared."""
        if EVENTS[event].interface != "system" or not EVENTS[event].system_calls:
            return None
        steps = [Step("api_call", EVENTS[event].system_calls), Step(event, 1, size)]
        if event in REQUESTS and settings.on("server"):
            steps.append(Step("api_server_call", REQUESTS[event]))
        return steps


LAYER_KINDS.register("api-translation")(ApiTranslation())
