"""The path of a request as stages: who works on it, in order, and what that costs.

A stage is CPU work of one party: the virtual processor that asked, a vhost worker, an I/O thread, a
driver domain. Between stages of different parties the next one has to be woken and scheduled; how long that
takes is not a price but an outcome of the machine that runs the stages.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from virtsim.platform.expand import Expansion, expand
from virtsim.platform.layers.linux import INTERRUPTED
from virtsim.platform.stack import Stack


class Stage(NamedTuple):
    """Work of one party on one request.

    Attributes
    ----------
    party : str
        ``""`` for the virtual processor that asked.
    totals : dict of str to float
        Primitives spent.
    """

    party: str
    totals: dict[str, float]


def io_path(event: str, stack: Stack, size: int = 0) -> list[Stage]:
    """Stages of one event, in order; neighbours of the same party are one stage.

    Parameters
    ----------
    event : str
        ``file_io``, ``packet_send``, ``packet_receive``, or any other event.
    stack : Stack
        Where the program runs.
    size : int, bytes
        Of the request.

    Notes
    -----
    The totals of all stages together are those of the expansion.
    """
    stages: list[Stage] = []
    for party, primitive, times in _leaves(expand(event, stack, size), 1.0, ""):
        if not stages or stages[-1].party != party:
            stages.append(Stage(party, {}))
        totals = stages[-1].totals
        totals[primitive] = totals.get(primitive, 0.0) + times
    return stages


def _leaves(node: Expansion, times: float, party: str) -> Iterator[tuple[str, str, float]]:
    if node.primitive:
        yield party, node.event, times
    for part in node.parts:
        yield from _leaves(part.expansion, times * part.times, part.party or party)


def sharers(party: str, stack: Stack) -> float:
    """Processors or threads that share the work of a party: the queues' for interrupts, otherwise one."""
    queues = [settings["receive_queues"] for settings in stack.settings if "receive_queues" in settings.parameters]
    return max(1.0, queues[-1]) if party == INTERRUPTED and queues else 1.0


class Parts(NamedTuple):
    """What one request costs whom, taken apart by when and how often it is spent; primitives each.

    Attributes
    ----------
    party : str
        The back end; ``""`` if the driver reaches the device itself.
    submit : dict of str to float
        By who asked, for each request, up to the ring.
    kick : dict of str to float
        By who asked, where the back end has to be told.
    interrupt : dict of str to float
        By who asked, for an interrupt.
    request : dict of str to float
        By the back end, for each request, up to the device.
    wake : dict of str to float
        By the back end, where it had to be switched to (virtual processors of a hypervisor).
    device : dict of str to float
        By the back end, for an interrupt of the device.
    signal : dict of str to float
        By the back end, for interrupting who asked.
    """

    party: str
    submit: dict[str, float]
    kick: dict[str, float]
    interrupt: dict[str, float]
    request: dict[str, float]
    wake: dict[str, float]
    device: dict[str, float]
    signal: dict[str, float]

    @property
    def totals(self) -> dict[str, float]:
        """All of them together: the expansion's, where a request meets no other."""
        sums: dict[str, float] = {}
        for part in self[1:]:
            for primitive, count in part.items():
                sums[primitive] = sums.get(primitive, 0.0) + count
        return sums


def io_parts(event: str, stack: Stack, size: int = 0) -> Parts:
    """The stages of a request with what is spent only now and then set apart.

    Kicks and interrupts of a batch of requests are spent once; how large a batch is comes out of the machine,
    so the stack's own ``batch`` should be 1. Which processor an interrupt meets does too: what ``receive_queues`` would
    give to another one is counted for who asked.
    """
    expansion = expand(event, stack, size)
    parties = [party for party in expansion.parties if party and party != INTERRUPTED]
    parts = Parts(parties[0] if parties else "", {}, {}, {}, {}, {}, {}, {})
    for party, primitive, times, inside in _placed(expansion, 1.0, "", frozenset()):
        part = _part(parts, "" if party == INTERRUPTED else party, primitive, inside)
        part[primitive] = part.get(primitive, 0.0) + times
    return parts


def _part(parts: Parts, party: str, primitive: str, inside: frozenset[str]) -> dict[str, float]:
    after = "device_interrupt" in inside
    if not party:
        if after:
            return parts.interrupt
        return parts.kick if parts.party and "doorbell" in inside else parts.submit
    if primitive == "vcpu_switch":
        return parts.wake
    if not after:
        return parts.request
    return parts.signal if "doorbell" in inside else parts.device


def _placed(
    node: Expansion, times: float, party: str, inside: frozenset[str]
) -> Iterator[tuple[str, str, float, frozenset[str]]]:
    if node.primitive:
        yield party, node.event, times, inside
    for part in node.parts:
        event = part.expansion.event
        yield from _placed(part.expansion, times * part.times, part.party or party, inside | {event})
