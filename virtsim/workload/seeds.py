"""Which stream a draw comes from: one naming for the model's machine and for the real runner.

Both worlds ask here, so that they work through the very same nanoseconds.
"""

from __future__ import annotations

from virtsim.core.streams import SplitMix64, Streams
from virtsim.workload.operations import Serve


def draw_seed(streams: Streams, guest: str, process: str, path: str) -> int:
    """64-bit seed of one draw of one process.

    Parameters
    ----------
    streams : Streams
        The streams of the run: ``Streams(seed)``.
    guest, process : str
        Names of the guest and of the process in it (``name.0`` where a task has several).
    path : str
        Path of the draw in its task's program: ``"program[0].body[1].work"`` of a compute,
        ``"program[2].time"`` of a sleep.
    """
    return streams.seed64(f"{guest}/{process}", path)


def arrivals_seed(streams: Streams, guest: str, process: str, path: str, serve: Serve) -> int:
    """64-bit seed of the arrivals of a serve operation at ``path`` (``"program[0]"``).

    The servers of an open queue share its stream, in the order of arrival. In a closed loop each
    process thinks for itself.
    """
    if serve.arrivals.open:
        return streams.seed64(guest, f"queue.{serve.queue}")
    return draw_seed(streams, guest, process, f"{path}.arrivals")


def tick_share(streams: Streams, phases: int) -> float:
    """Part of a tick that has passed when a run begins, in [0, 1): drawn for each number of phases.

    Where a run begins within a tick decides for all of it who preempts whom, so the model and the kernel
    begin at the same place.
    """
    return SplitMix64(streams.seed64(f"machine.{phases}", "tick")).uniform()
