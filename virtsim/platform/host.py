"""Host cards: one machine, its kernel, and the prices of the primitives on it."""

from __future__ import annotations

import os
import platform
import warnings
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from virtsim.core.data import card_names, find_card, models_folder, user_folder
from virtsim.core.errors import SpecError
from virtsim.core.parameter import Parameter
from virtsim.core.spec import Frequency, Spec, Text, load_toml
from virtsim.platform.cpufreq import CpuFreq
from virtsim.platform.devices import Devices
from virtsim.platform.kernel import Kernel
from virtsim.platform.primitives import PRIMITIVES
from virtsim.platform.timing import Timing
from virtsim.platform.topology import Topology
from virtsim.workload.operations import Name

#: What only a monitor on the bare machine executes: on a virtual host both are exits to the outer monitor.
BARE_ONLY = frozenset({"vm_exit", "vm_entry"})
#: What a monitor below has a hand in, so that a price from a bare machine says nothing about a virtual one.
OF_THE_MACHINE = (
    "interrupt",
    "address_space_switch",
    "cpuid",
    "msr_access",
    "cr_write",
    "port_io",
    "mmio_access",
    "halt",
    "ipi_send",
    "timer_program",
    "pte_write",
    "tlb_flush",
    *sorted(BARE_ONLY),
)
#: No bare processor takes so long for CPUID (Pentium III: 132 ns), and no exit to a monitor and back is faster, ns.
EXIT_NS = 300.0


class HostCard(Spec, frozen=True, kw_only=True):
    """One machine with its kernel.

    Parameters
    ----------
    name : str
        Name of the card.
    description : str
        Processor, kernel, where the numbers are from.
    frequency : str or int, Hz
        Clock of the processor: turns published cycles into ns; 0 if nobody says.
    cpufreq : CpuFreq, optional
        Other frequencies, and what chooses them; always ``frequency`` if absent.
    virtual : str, optional
        Monitor that this machine is a virtual machine of, ``""`` for none. If absent, the price of CPUID tells:
        where it is that of an exit, the machine is virtual.
    topology : Topology
        CPUs, caches, memory nodes.
    kernel : Kernel
        The kernel's version and settings.
    prices : dict of str to Parameter
        Price of each primitive of :data:`virtsim.platform.primitives.PRIMITIVES`, in its unit.
    timing : Timing
        Delays.
    devices : Devices
        Disk and network, as far as somebody described them.
    discrepancy : Parameter, optional
        Relative error of the kernel's prices when they are carried from the work they were measured on to
        other work: value 0, and its 90 % interval (unit ``1``).
    repeatability : Parameter, optional
        Relative difference of a single run from the median of its repetitions: value 0, and its 90 %
        interval (unit ``1``).
    reference_round : Parameter, optional, ns
        CPU time of a round of the runner's reference loop while the prices were measured; see :meth:`at_speed`.
    """

    name: Name
    description: Text
    frequency: Frequency = Frequency(0)
    cpufreq: CpuFreq | None = None
    virtual: Annotated[str, Meta(max_length=100)] | None = None
    topology: Topology
    kernel: Kernel
    prices: dict[str, Parameter]
    timing: Timing
    devices: Devices = Devices()
    discrepancy: Parameter | None = None
    repeatability: Parameter | None = None
    reference_round: Parameter | None = None

    def _check(self) -> None:
        if self.cpufreq is not None:
            self.cpufreq.check_against(self.frequency)
        for name, parameter in self.prices.items():
            path = f"prices.{name}"
            if name not in PRIMITIVES:
                raise SpecError(path, "no primitive has this name; see virtsim.platform.primitives")
            if parameter.unit != PRIMITIVES[name].unit:
                raise SpecError(f"{path}.unit", f"is {parameter.unit!r} but must be {PRIMITIVES[name].unit!r}")
            lowest = parameter.value if parameter.low is None else parameter.low
            if lowest is not None and lowest < 0:
                raise SpecError(f"{path}.value", "a price is at least 0")

    @property
    def outer_monitor(self) -> str:
        """Monitor that this machine is a virtual machine of; empty on the bare machine."""
        if self.virtual is not None:
            return self.virtual
        cpuid = self.prices.get("cpuid")
        exits = cpuid is not None and cpuid.value is not None and cpuid.value > EXIT_NS
        return "an unknown monitor" if exits else ""

    def price(self, primitive: str) -> float:
        """Price of a primitive, ns per unit of it.

        Raises
        ------
        SpecError
            If this card does not have it, or it has no price on a virtual machine.
        """
        if primitive in BARE_ONLY and self.outer_monitor:
            raise SpecError(
                f"host {self.name!r}: prices.{primitive}",
                f"this host is itself a virtual machine ({self.outer_monitor}), where {primitive!r} is not one event "
                "but an exit to the outer monitor; expand on stack.on_host(host)",
            )
        parameter = self.prices.get(primitive)
        if parameter is None:
            raise SpecError(
                f"host {self.name!r}: prices.{primitive}",
                f"this host has no price for {primitive!r} ({PRIMITIVES[primitive].meaning}); "
                "calibrate it, or use a host that has been measured with such a stack",
            )
        return parameter.known(f"host {self.name!r}: prices.{primitive}")

    def with_prices(self, prices: dict[str, Parameter], **changes: object) -> HostCard:
        """A copy in which the given prices replace this card's."""
        return self.replace(prices={**self.prices, **prices}, **changes)

    def on_machine(self, monitor: str, like: HostCard) -> HostCard:
        """A copy for a machine under ``monitor``, or a bare one if that is empty.

        Where this card is of the other sort, the prices of :data:`OF_THE_MACHINE` are those of ``like``, which is of
        the right one. They come from another machine and hold within half and twice if it does not say better.
        """
        if bool(monitor) == bool(self.outer_monitor):
            return self.replace(virtual=monitor)
        prices = {name: price for name, price in self.prices.items() if name not in OF_THE_MACHINE}
        borrowed = {name: _borrowed(like.prices[name], like) for name in OF_THE_MACHINE if name in like.prices}
        return self.replace(virtual=monitor, prices={**prices, **borrowed})

    def scaled(self, factor: float) -> HostCard:
        """A copy with every price multiplied by ``factor``; 0 makes an ideal host."""
        prices = {
            name: _times(parameter, factor, source=f"{factor:g} times: {parameter.source}", status="assumed")
            for name, parameter in self.prices.items()
        }
        return self.replace(prices=prices, virtual=self.outer_monitor)

    def at_speed(self, round_ns: float) -> HostCard:
        """A copy with the prices that hold while a round of the runner's reference loop takes ``round_ns``.

        A machine whose clock changes, or whose caches others fill, does all work at another speed; how fast it was is
        told by the manifest of every real run. A card that does not say how fast it was itself stays as it is.
        """
        if self.reference_round is None:
            return self
        factor = round_ns / self.reference_round.known(f"host {self.name!r}: reference_round")
        return self.replace(prices={name: _times(parameter, factor) for name, parameter in self.prices.items()})

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><td>{name}</td><td>{p._repr_html_()}</td></tr>" for name, p in sorted(self.prices.items()))
        return f"<b>{self.name}</b>: {self.description}<table>{rows}</table>"


def _times(parameter: Parameter, factor: float, **changes: Any) -> Parameter:
    """The parameter and its interval, multiplied."""
    if parameter.value is None:
        return parameter
    low = None if parameter.low is None else parameter.low * factor
    high = None if parameter.high is None else parameter.high * factor
    return msgspec.structs.replace(parameter, value=parameter.value * factor, low=low, high=high, **changes)


def _borrowed(parameter: Parameter, owner: HostCard) -> Parameter:
    low, high = parameter.low, parameter.high
    if low is None and high is None and parameter.value is not None:
        low, high = parameter.value / 2, parameter.value * 2
    return Parameter(
        value=parameter.value,
        unit=parameter.unit,
        low=low,
        high=high,
        source=f"assumed: as on {owner.name}: {parameter.source}",
        date=parameter.date,
        status="assumed",
    )


def this_card() -> Path:
    """Where ``virtsim calibrate`` keeps the card of the machine it ran on."""
    return user_folder() / "hosts" / "this.toml"


def load_host(name: str | os.PathLike[str]) -> HostCard:
    """A host card.

    Parameters
    ----------
    name : str or path
        Name of a card in the user's folder or ``models/hosts``; a path of a TOML file; or ``"this"``, the
        card that ``virtsim calibrate`` made on this machine.

    Raises
    ------
    SpecError
        If there is no such card or it is not acceptable.

    Warns
    -----
    UserWarning
        If ``"this"`` machine has not been calibrated; a shipped card with a kernel of the same kind serves.
    """
    if isinstance(name, os.PathLike):
        return load_toml(Path(name), HostCard)
    if name == "this" and not this_card().is_file():
        card = reference_card()
        warnings.warn(
            f"this machine has not been calibrated, so the shipped card {card.name!r} is used; "
            "run `virtsim calibrate` for prices of this machine",
            stacklevel=2,
        )
        return card
    try:
        path = find_card("hosts", name, "host")
    except SpecError as problem:
        raise SpecError("host", f"{problem}, this") from None
    return _load(path, path.stat().st_mtime_ns)


@cache
def _load(path: Path, stamp: int) -> HostCard:
    return load_toml(path, HostCard)


def reference_card(virtual: bool | None = None) -> HostCard:
    """The shipped card whose kernel is nearest to the running one: same scheduler, then version.

    Parameters
    ----------
    virtual : bool, optional
        Only among cards of virtual machines, or of bare ones; among all if absent.
    """
    running = _version(platform.release())
    fair = "eevdf" if running >= (6, 6) or not running else "cfs"
    folder = models_folder() / "hosts"
    cards = [
        load_toml(folder / f"{name}.toml", HostCard)
        for name in card_names("hosts")
        if (folder / f"{name}.toml").is_file()
    ]
    cards = [card for card in cards if virtual in (None, bool(card.outer_monitor))]
    same = [card for card in cards if card.kernel.scheduler == fair and "runner_step" in card.prices]
    measured = same or [card for card in cards if "runner_step" in card.prices]
    return min(measured, key=lambda card: (_distance(_version(card.kernel.version), running), card.name))


def _version(text: str) -> tuple[int, int]:
    numbers = text.replace("-", ".").split(".")[:2]
    return (int(numbers[0]), int(numbers[1])) if len(numbers) == 2 and all(n.isdecimal() for n in numbers) else (0, 0)


def _distance(a: tuple[int, int], b: tuple[int, int]) -> int:
    return abs(a[0] - b[0]) * 100 + abs(a[1] - b[1])
