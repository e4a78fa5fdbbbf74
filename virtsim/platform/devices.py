"""A host's disk and network, as its card describes them."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from virtsim.core.errors import SpecError
from virtsim.core.parameter import Parameter
from virtsim.core.spec import Spec


class Disk(Spec, frozen=True, kw_only=True):
    """A block device: ``ways`` requests are positioned at a time, and their data share one bus.

    Parameters
    ----------
    positioning : list of Parameter, ns
        Mean times before the data of a request begin to flow, added up: a flash array's access, or a seek and
        half a turn of a rotating disk.
    distribution : str
        Of each of them: ``constant``, ``exponential``, or ``uniform`` between 0 and twice the mean (seek, rotation).
    ways : Parameter, 1
        Requests at a time: heads, flash channels.
    bandwidth : Parameter, B/s
        Of the bus.
    queue : Parameter, 1
        Requests that the device's own queue holds.
    """

    positioning: Annotated[list[Parameter], Meta(min_length=1, max_length=4)]
    distribution: Literal["constant", "exponential", "uniform"] = "constant"
    ways: Parameter
    bandwidth: Parameter
    queue: Parameter

    def _check(self) -> None:
        _units(self, positioning="ns", ways="1", bandwidth="B/s", queue="1")


class Nic(Spec, frozen=True, kw_only=True):
    """A network device with a full-duplex link.

    Parameters
    ----------
    rate : Parameter, bit/s
        Of the link, each way.
    mtu : Parameter, B
        Largest payload of a frame, network and transport headers included.
    headers, framing : Parameter, B
        Network and transport headers within the MTU, and what a frame takes on the wire besides the MTU.
    queue : Parameter, 1
        Descriptors of each of the device's rings.
    """

    rate: Parameter
    mtu: Parameter
    headers: Parameter
    framing: Parameter
    queue: Parameter

    def _check(self) -> None:
        _units(self, rate="bit/s", mtu="B", headers="B", framing="B", queue="1")

    def wire_bytes(self, size: int) -> int:
        """Bytes on the wire for ``size`` bytes of data, cut into frames."""
        room = round(self.mtu.known("devices.nic.mtu") - self.headers.known("devices.nic.headers"))
        frames = -(-size // room)
        each = self.headers.known("devices.nic.headers") + self.framing.known("devices.nic.framing")
        return size + frames * round(each)


class Devices(Spec, frozen=True, kw_only=True):
    """The host's devices; a workload that uses one needs it here."""

    disk: Disk | None = None
    nic: Nic | None = None


def _units(card: Spec, **units: str) -> None:
    for name, unit in units.items():
        value = getattr(card, name)
        for parameter in value if isinstance(value, list) else [value]:
            if parameter.unit != unit:
                raise SpecError(f"{name}.unit", f"must be {unit!r}, not {parameter.unit!r}")
            if parameter.value is not None and parameter.value < (0 if unit == "ns" else 1):
                raise SpecError(f"{name}.value", f"{parameter.value:g} {unit} is too small")
