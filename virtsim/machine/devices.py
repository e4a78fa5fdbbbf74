"""A machine's devices, and the rings and back ends through which its guests reach them.

The stages of a request and their prices are the platform's (:func:`virtsim.platform.paths.io_parts`); who runs
when, and how often the other side has to be told, comes out of the heart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from virtsim.core.errors import SpecError
from virtsim.core.parameter import Parameter
from virtsim.core.streams import Streams
from virtsim.core.units import NS_PER_S
from virtsim.platform.costs import Costs
from virtsim.platform.devices import Disk, Nic
from virtsim.platform.expand import price
from virtsim.platform.host import HostCard
from virtsim.platform.layers.base import Settings
from virtsim.platform.layers.devices import Device
from virtsim.platform.paths import Parts, io_parts
from virtsim.scenario.driver_domain import DriverDomain
from virtsim.scheduling.devices import BackEnd, Port, Ring, Station
from virtsim.scheduling.group import Group
from virtsim.scheduling.heart import Heart
from virtsim.scheduling.program import Program, Sampler
from virtsim.scheduling.storey import Storey
from virtsim.scheduling.task import Task
from virtsim.scheduling.weight import group_load, nice_load
from virtsim.workload.draw import Draw

#: Guest name under which a driver domain that all guests share is recorded, and its group.
DRIVER_DOMAIN = "driver-domain"


@dataclass(frozen=True)
class PartTimes:
    """CPU time of the parts of a request, ns; see :class:`~virtsim.platform.paths.Parts`."""

    party: str
    submit: int
    kick: int
    interrupt: int
    request: int
    pass_on: int
    wake: int
    device: int
    signal: int
    batch: int
    coalesced: int

    @classmethod
    def of(cls, parts: Parts, card: HostCard) -> PartTimes:
        """Priced on a host, each part rounded once; kick or interrupt, what waking the back end costs is the same."""
        names = ("submit", "kick", "interrupt", "request", "pass_on", "wake", "device", "signal")
        prices = {name: round(price(getattr(parts, name), card)) for name in names}
        prices["wake"] = max(prices["wake"], round(price(parts.rewake, card)))
        return cls(parts.party, **prices, batch=max(1, round(parts.batch)), coalesced=max(1, round(parts.coalesced)))


class MachineDevices:
    """The devices of one machine and those who serve them.

    Parameters
    ----------
    heart : Heart
        The machine's.
    card : HostCard
    streams : Streams
    cpus : frozenset of int
        That the scenario may use.
    domain : DriverDomain
        The scenario's.
    add_domain : callable, optional
        Builds a kernel on virtual CPUs for the driver domain, in a group; absent where it has none of its own.

    Attributes
    ----------
    stations : dict of str to Station
        ``disk``, ``nic-out``, ``nic-in``; those that are used.
    rings : dict of (guest, ring) to Ring
        ``disk``, ``nic-out``, ``nic-in`` of each guest that uses them.
    back_ends : list of (guest name, process name, Task)
        As the builder lists tasks.
    """

    def __init__(
        self,
        heart: Heart,
        card: HostCard,
        streams: Streams,
        cpus: frozenset[int],
        domain: DriverDomain,
        add_domain: Callable[[Group], Storey] | None = None,
    ) -> None:
        self.heart = heart
        self.card = card
        self.streams = streams
        self.allowed = cpus
        self.domain_cpus = cpus if domain.cpus is None else frozenset(domain.cpus)
        self.domain = domain
        self._add_domain = add_domain
        self._domain_kernel: Storey | None = None
        self.stations: dict[str, Station] = {}
        self.rings: dict[tuple[str, str], Ring] = {}
        self.back_ends: list[tuple[str, str, Task]] = []
        self.driver_domain: Group | None = None
        self._servers: dict[tuple[str, str], BackEnd] = {}

    @property
    def disk(self) -> Disk:
        """The host's disk."""
        if self.card.devices.disk is None:
            raise SpecError(
                f"host {self.card.name!r}: devices.disk", "this host's card describes no disk, but a task uses one"
            )
        return self.card.devices.disk

    @property
    def nic(self) -> Nic:
        """The host's network device."""
        if self.card.devices.nic is None:
            raise SpecError(
                f"host {self.card.name!r}: devices.nic",
                "this host's card describes no network device, but a task uses one",
            )
        return self.card.devices.nic

    def station(self, name: str, ways: int = 1) -> Station:
        """A device, made when first asked for."""
        return self.stations.setdefault(name, Station(name, ways))

    def server(self, guest: GuestDevices, times: PartTimes) -> BackEnd | None:
        """The task that serves a guest's rings: one each, or one for all in a driver domain without vCPUs."""
        if not times.party:
            return None
        shared = times.party == "driver domain" and self._add_domain is None
        key = ("" if shared else guest.name, times.party)
        if key not in self._servers:
            self._servers[key] = self._start_server(guest, times, shared)
        return self._servers[key]

    def _start_server(self, guest: GuestDevices, times: PartTimes, shared: bool) -> BackEnd:
        heart, group, wake_ns = guest.back_end_heart, guest.group, times.wake
        name, process = guest.name, times.party.replace(" ", "-").lower()
        cpus = group.cpus & self.allowed if heart is self.heart else group.cpus
        if times.party == "driver domain":
            group = self._domain_group()
            name, process, cpus = DRIVER_DOMAIN, "vcpu", group.cpus
            if self._domain_kernel is not None:
                # Switches of its vCPUs, and their halts, are what the machine's scheduler charges.
                heart, wake_ns, process = self._domain_kernel, 0, f"back-end-{guest.name}"
                group = heart.root
                cpus = group.cpus
        backend = BackEnd(wake_ns)
        task = Task(f"{name}/{process}", group, nice_load(0), Program(), cpus, heart.kernel.base_slice_ns)
        heart.add_back_end(backend, task, min(cpus))
        self.back_ends.append((name, process, task))
        return backend

    def _domain_group(self) -> Group:
        """The driver domain's, made when first asked for, with its kernel if it has one of its own."""
        if self.driver_domain is None:
            load = group_load(self.domain.cpu_weight)
            self.driver_domain = self.heart.add_group(DRIVER_DOMAIN, self.heart.root, load, self.domain_cpus)
            if self._add_domain is not None:
                self._domain_kernel = self._add_domain(self.driver_domain)
        return self.driver_domain


class GuestDevices:
    """One guest's rings to the machine's devices.

    Parameters
    ----------
    machine : MachineDevices
    name : str
        Of the guest.
    group : Group
        Where its monitor's threads run.
    costs : Costs
        Prices on its stack.
    back_end_heart : Heart, optional
        The kernel that schedules those threads: the one below the guest's own; the machine's if absent.
    """

    def __init__(
        self, machine: MachineDevices, name: str, group: Group, costs: Costs, back_end_heart: Heart | None = None
    ) -> None:
        self.machine = machine
        self.back_end_heart = back_end_heart or machine.heart
        self.name = name
        self.group = group
        self.costs = costs

    def times(self, event: str, size: int) -> PartTimes:
        """What a request costs whom."""
        return PartTimes.of(io_parts(event, self.costs.stack, size), self.machine.card)

    def disk_port(self, size: int, awaited: bool) -> tuple[Port, PartTimes]:
        """An operation on the disk."""
        disk, times = self.machine.disk, self.times("file_io", size)
        station = self.machine.station("disk", _whole(disk.ways, "devices.disk.ways"))
        transfer_ns = _time_ns(size, disk.bandwidth.known("devices.disk.bandwidth"))
        ring = self._ring("disk", times, disk.queue, lazy=False)
        port = Port(ring, station, transfer_ns, size, self._samplers(disk), awaited, times.request)
        return port, times

    def send_port(self, size: int) -> tuple[Port, PartTimes]:
        """A message to the network."""
        return self._out(size, None, 0)

    def call_port(self, size: int, answer: int, remote_ns: int) -> tuple[Port, PartTimes, PartTimes]:
        """A message to the network and its answer; the parts of both."""
        back = self.times("packet_receive", answer)
        ring = self._ring("nic-in", back, self.machine.nic.queue, lazy=False)
        ring.completion_ns = back.request
        port = Port(ring, self.machine.station("nic-in"), self._wire_ns(answer), answer)
        out, there = self._out(size, port, remote_ns)
        return out, there, back

    def _out(self, size: int, answer: Port | None, remote_ns: int) -> tuple[Port, PartTimes]:
        times = self.times("packet_send", size)
        ring = self._ring("nic-out", times, self.machine.nic.queue, lazy=True)
        port = Port(
            ring,
            self.machine.station("nic-out"),
            self._wire_ns(size),
            size,
            [],
            False,
            times.request,
            answer,
            remote_ns,
        )
        return port, times

    def _wire_ns(self, size: int) -> int:
        nic = self.machine.nic
        return _time_ns(nic.wire_bytes(size), nic.rate.known("devices.nic.rate") / 8)

    def _samplers(self, disk: Disk) -> list[Sampler]:
        samplers = []
        for i, parameter in enumerate(disk.positioning):
            mean_ns = round(parameter.known(f"devices.disk.positioning[{i}]"))
            draw = (
                Draw("uniform", (0, 2 * mean_ns))
                if disk.distribution == "uniform"
                else Draw(disk.distribution, (mean_ns,))
            )
            samplers.append(Sampler(draw, self.machine.streams.seed64(self.name, f"disk.{i}")))
        return samplers

    def _ring(self, name: str, times: PartTimes, queue: Parameter, lazy: bool) -> Ring:
        key = (self.name, name)
        if key not in self.machine.rings:
            device = _ring_device(self.costs)
            server = self.machine.server(self, times)
            size = _whole(queue, "devices.queue")
            suppress, refill, batch, hidden = True, 1, 1, False
            if server is not None and device is not None:
                kind, settings = device
                size = max(1, round(settings["ring"]))
                suppress = settings.on("suppression")
                refill = max(1, round(size * settings["refill"]))
                batch, hidden = times.batch, kind.pushes_batches
            ring = Ring(f"{self.name}/{name}", size, server, suppress, lazy, refill, batch, hidden, times.coalesced)
            ring.interrupt_ns, ring.device_ns, ring.signal_ns = times.interrupt, times.device, times.signal
            ring.pass_on_ns = times.pass_on
            self.machine.rings[key] = ring
        return self.machine.rings[key]


def _ring_device(costs: Costs) -> tuple[Device, Settings] | None:
    """The topmost layer with rings and its parameters; None if there is none."""
    stack = costs.stack
    found = [
        (kind, settings)
        for kind, settings in zip(stack.kinds, stack.settings, strict=True)
        if isinstance(kind, Device) and "ring" in settings.parameters
    ]
    return found[-1] if found else None


def _time_ns(size: int, rate: float) -> int:
    return round(size * NS_PER_S / rate)


def _whole(parameter: Parameter, where: str) -> int:
    return round(parameter.known(where))
