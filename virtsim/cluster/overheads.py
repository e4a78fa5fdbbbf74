"""What a guest's stack costs on top of its work: CPU from the platform model, memory from a table of sources."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import msgspec

from virtsim.core.data import models_folder
from virtsim.core.spec import Size, Spec, load_toml

if TYPE_CHECKING:
    from virtsim.platform.host import HostCard

#: What a server program does in one second of CPU on bare metal: events of the platform model, and how many.
SERVER_MIX: dict[str, float] = {
    "null": 20_000,
    "page_fault": 2_000,
    "context_switch": 3_000,
    "wakeup": 2_000,
    "timer_tick": 250,
    "packet_send": 3_000,
    "packet_receive": 3_000,
    "file_io": 200,
}


class StackOverhead(msgspec.Struct, frozen=True):
    """What a stack adds to a guest.

    Attributes
    ----------
    cpu : float
        CPU time of the host for each second of CPU time that the work takes on bare metal; at least 1.
    memory_bytes : int
        Memory of the host beyond the guest's own.
    ballooning : bool
        Whether the host can take memory back from a running guest (a virtual machine has a balloon driver).
    """

    cpu: float
    memory_bytes: int
    ballooning: bool


class MemoryOverhead(Spec, frozen=True, kw_only=True):
    """One row of ``models/cluster/memory-overheads.toml``."""

    memory: Size
    ballooning: bool
    source: str


class MemoryOverheads(Spec, frozen=True, kw_only=True):
    """The table: rows by name of the layer that costs the memory."""

    description: str
    layers: dict[str, MemoryOverhead]


@cache
def _memory_table() -> MemoryOverheads:
    return load_toml(models_folder() / "cluster" / "memory-overheads.toml", MemoryOverheads)


#: A machine of a data centre is bare, unlike the reference card's, on which a guest would be a nested one.
BARE_HOST = "xeon-8269cy-linux-4.19"


@cache
def stack_overhead(stack: str, host: str = BARE_HOST) -> StackOverhead:
    """Overhead of a stack on a host card, for :data:`SERVER_MIX`.

    Parameters
    ----------
    stack : str
        Name of a stack card: ``kvm``, ``xen-pv``, ``container``, ``container-in-kvm``.
    host : str
        Name of a host card with prices.

    Raises
    ------
    SpecError
        If one of the cards is unknown.
    """
    from virtsim.platform.host import load_host
    from virtsim.platform.stack import load_stack

    card = load_host(host)
    native, own = (load_stack(name).on_host(card) for name in ("native", stack))
    base = _mix_ns(native, card)
    extra = max(0.0, _mix_ns(own, card) - base)
    memory, ballooning = 0, False
    table = _memory_table().layers
    kinds = [layer.kind for layer in own.card.layers]
    for i, kind in enumerate(kinds):
        # The machine's own kernel is not the guest's cost.
        row = table.get("guest-kernel" if kind == "linux" and i > 1 else kind)
        if row is not None:
            memory += row.memory
            ballooning = ballooning or row.ballooning
    compute = _price(own, card, "compute") / _price(native, card, "compute")
    # A second of CPU on bare metal holds the events of the mix; the rest of it is computing.
    share = min(base / 1e9, 1.0)
    return StackOverhead(max(1.0, (1 - share) * compute + share + extra / 1e9), memory, ballooning)


def _mix_ns(stack: object, card: HostCard) -> float:
    return sum(times * _price(stack, card, event) for event, times in SERVER_MIX.items())


def _price(stack: object, card: HostCard, event: str) -> float:
    from virtsim.platform.expand import expand, price

    return float(price(expand(event, stack), card))  # type: ignore[arg-type]
