"""The path of a request as stages: who works on it, in order, and what that costs.

A stage is CPU work of one party: the virtual processor that asked, a vhost worker, an I/O thread, a
driver domain. Between stages of different parties the next one has to be woken and scheduled; how long that
takes is not a price but an outcome of the machine that runs the stages.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from virtsim.platform.expand import Expansion, expand
from virtsim.platform.layers.devices import Device
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
    pass_on : dict of str to float
        By the back end, for telling the device; among ``request`` where no batch shares it.
    wake : dict of str to float
        By the back end, where a kick has it switched to and away (virtual processors of a hypervisor).
    device : dict of str to float
        By the back end, for an interrupt of the device.
    rewake : dict of str to float
        By the back end, where that interrupt has it switched to and away.
    signal : dict of str to float
        By the back end, for interrupting who asked.
    batch : float
        Requests that share a kick.
    coalesced : float
        Requests that share an interrupt, of the device and to who asked.
    """

    party: str
    submit: dict[str, float]
    kick: dict[str, float]
    interrupt: dict[str, float]
    request: dict[str, float]
    pass_on: dict[str, float]
    wake: dict[str, float]
    device: dict[str, float]
    rewake: dict[str, float]
    signal: dict[str, float]
    batch: float
    coalesced: float

    @property
    def totals(self) -> dict[str, float]:
        """All of them together for one request: the expansion's, where a request meets no other."""
        shares = dict.fromkeys(("submit", "request"), 1.0)
        shares |= dict.fromkeys(_TOLD, 1.0 / self.batch)
        shares |= dict.fromkeys(_INTERRUPTED, 1.0 / self.coalesced)
        sums: dict[str, float] = {}
        for name, share in shares.items():
            for primitive, count in getattr(self, name).items():
                sums[primitive] = sums.get(primitive, 0.0) + share * count
        return sums


#: Parts that are spent once for a kick, and once for an interrupt.
_TOLD = ("kick", "pass_on", "wake")
_INTERRUPTED = ("interrupt", "device", "rewake", "signal")


def io_parts(event: str, stack: Stack, size: int = 0) -> Parts:
    """The stages of a request with what is spent only now and then set apart.

    What a kick or an interrupt costs is given whole; how many requests share one is the stack's (the ``batch`` of the
    topmost device, the kernel's interrupts for a packet or request), and how many find that nobody has to be told comes
    out of the machine. Which processor an interrupt meets does too: what ``receive_queues`` would give to another one
    is counted for who asked.
    """
    expansion = expand(event, stack, size)
    parties = [party for party in expansion.parties if party and party != INTERRUPTED]
    batch, coalesced = _sharing(event, stack)
    parts = Parts(parties[0] if parties else "", {}, {}, {}, {}, {}, {}, {}, {}, {}, batch, coalesced)
    for party, primitive, times, inside in _placed(expansion, 1.0, "", ()):
        name = _part(parts, "" if party == INTERRUPTED else party, primitive, inside)
        part: dict[str, float] = getattr(parts, name)
        shared = batch if name in _TOLD else coalesced if name in _INTERRUPTED else 1.0
        part[primitive] = part.get(primitive, 0.0) + times * shared
    return parts


def _sharing(event: str, stack: Stack) -> tuple[float, float]:
    """Requests for a kick, and completions for an interrupt, on the way through the topmost device."""
    devices = [settings for kind, settings in zip(stack.kinds, stack.settings, strict=True) if isinstance(kind, Device)]
    batches = [settings["batch"] for settings in devices if "batch" in settings.parameters]
    batch = batches[-1] if batches else 1.0
    coalesced = batch if devices and "batch" in devices[-1].parameters else 1.0
    return batch, coalesced / share if (share := _interrupts(event, stack)) > 0 else coalesced


def _interrupts(event: str, stack: Stack) -> float:
    """Completion interrupts that the topmost kernel's driver has for one request."""
    name = "interrupts_per_request" if event == "file_io" else "interrupts_per_packet"
    kernels = [settings for settings in stack.settings if name in settings.parameters]
    if not kernels:
        return 1.0
    return kernels[-1][name] / (kernels[-1]["sends_per_interrupt"] if event == "packet_send" else 1.0)


def _part(parts: Parts, party: str, primitive: str, inside: tuple[str, ...]) -> str:
    after = "device_interrupt" in inside
    if not party:
        if after:
            return "interrupt"
        return "kick" if parts.party and "doorbell" in inside else "submit"
    if primitive == "vcpu_switch":
        return "rewake" if after else "wake"
    if not after:
        # The first is the guest's kernel's, to its driver.
        return "pass_on" if parts.batch > 1 and inside.count("device_kick") > 1 else "request"
    return "signal" if "doorbell" in inside else "device"


def _placed(
    node: Expansion, times: float, party: str, inside: tuple[str, ...]
) -> Iterator[tuple[str, str, float, tuple[str, ...]]]:
    if node.primitive:
        yield party, node.event, times, inside
    for part in node.parts:
        event = part.expansion.event
        yield from _placed(part.expansion, times * part.times, part.party or party, (*inside, event))
