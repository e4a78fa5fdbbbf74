"""How a guest reaches devices: emulated, paravirtual, or passed through. A layer on a monitor.

Kernels issue ``device_kick`` for a request (a back end that tells the device below of several at once ``device_more``
for all but one) and take a ``device_interrupt`` for its completion; a packet from the
network is a ``device_receive`` and an interrupt, and its way in leads through the same back end.

- *emulated*: a real device's registers, ``accesses`` port or memory accesses for a request, each trapped;
- *paravirtual* (virtio, or Xen's split drivers): requests go through a shared ring, a doorbell is rung for
  one in ``batch`` of them (one ``virtqueue_kick``, one push of Xen's ring) and an interrupt raised for one in
  ``batch`` (coalescing); the back end works in the kernel (vhost), in the monitor's process, or in a driver domain
  that has to be switched to;
- *passed through*: the guest drives the device itself; only interrupts may still exit.

Each step says who spends it (its *party*): the totals are CPU time of all parties together, and
:func:`virtsim.platform.paths.io_path` gives the stages one after the other. When a back end runs, and on which
processor, is for the discrete-event stages of the machine, and so is a batch that ends early: because its ring is
full, its task waits for one of its requests, sleeps or ends, or nothing more is to come.

References
----------
P. Barham et al., SOSP 2003, section 3.4 (rings). R. Russell, "virtio: towards a de-facto standard for virtual
I/O devices", ACM SIGOPS Operating Systems Review 42(5), 2008. A. Gordon et al., "ELI: bare-metal performance
for I/O virtualization", ASPLOS 2012.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from virtsim.platform.layers.base import LAYER_KINDS, LayerKind, Settings, Step, assumed, exact, published

_BATCH = assumed(1.0, "1/event", "no batching: each request has its notifications")

_RING = {
    "ring": assumed(256, "1", "requests that a ring holds: QEMU's default; Xen's network ring of one page"),
    "suppression": exact(1, "switch", "notifications only where the other side asks for them, in the stages"),
    "refill": assumed(
        0.75, "share", "part of a full network ring to be sent before its driver is told (Linux virtio-net)"
    ),
}


def _shared(settings: Settings, what: str = "") -> str:
    """A note on a step that a batch of requests shares."""
    batch = settings["batch"]
    return ", ".join(text for text in (what, f"one for {batch:g} requests" if batch > 1 else "") if text)


def _passed_on(settings: Settings, size: int, who: str) -> list[Step]:
    """What a back end asks of the device below for one request: it tells that of a batch at once, too."""
    share = 1 / settings["batch"]
    told = Step("device_kick", share, size, note=_shared(settings), party=who)
    return [told, Step("device_more", 1 - share, size, party=who)]


class Device(LayerKind):
    """Base of the device layers: offers the machine below with another way to its devices."""

    role = "machine"
    least: ClassVar = {"batch": 1.0, "ring": 1.0}
    #: Whether a back end sees the requests of a batch only when it is complete.
    pushes_batches: ClassVar[bool] = False

    def provides_of(self, settings: Settings, below: frozenset[str]) -> frozenset[str]:
        """The machine below."""
        return below


class Emulated(Device):
    """A model of a real device; every register access traps."""

    name = "emulated-device"
    needs = frozenset({"machine"})
    parameters = {
        "accesses": published(
            12,
            "1/request",
            "one OUT that sends and 11 other accesses a packet (Lance): Sugerman et al., 2001, section 3.2",
            "2001",
            8,
            16,
        ),
        "batch": _BATCH,
    }

    def handle(self, event: str, size: int, settings: Settings) -> Iterable[Step] | None:
        """Each request takes several accesses; completion interrupts go through the monitor."""
        if event in ("device_kick", "device_more"):
            return (
                Step("port_io", settings["accesses"]),
                Step("host_request", note="the host, or the hypervisor, carries the request out"),
                Step(event, 1, size),
            )
        if event == "device_receive":
            return (
                Step("host_request", note="the host, or the hypervisor, takes the packet in and hands it over"),
                Step("device_receive", 1, size),
            )
        if event == "device_interrupt":
            return (Step("interrupt", 1 / settings["batch"], note=_shared(settings)),)
        return None


class Virtio(Device):
    """A paravirtual device with a back end in the host."""

    name = "virtio"
    needs = frozenset({"machine"})
    parameters = {
        "batch": _BATCH,
        **_RING,
        "in_kernel": exact(1, "switch", "back end in the kernel (vhost) or in the monitor's process"),
        "calls_per_request": assumed(1, "1/request", "one system call of a back end in the monitor's process"),
    }

    def handle(self, event: str, size: int, settings: Settings) -> Iterable[Step] | None:
        """Ring the doorbell for a batch; the back end works on each request."""
        who = "vhost worker" if settings.on("in_kernel") else "I/O thread"
        work = [Step("backend_request", party=who)]
        if not settings.on("in_kernel"):
            work.append(Step("userspace_exit", settings["calls_per_request"], party=who))
        if event == "device_kick":
            doorbell = Step("doorbell", 1 / settings["batch"], note=_shared(settings))
            return [Step("ring_request"), doorbell, *work, *_passed_on(settings, size, who)]
        if event == "device_more":
            return [Step("ring_request"), *work, Step("device_more", 1, size, party=who)]
        if event == "device_receive":
            # No doorbell: the back end finds buffers that the driver has put into the ring before.
            return [Step("device_receive", 1, size, party=who), *work, Step("ring_request")]
        if event == "device_interrupt":
            note = _shared(settings, "the device's, then the guest's")
            return (Step("interrupt", 1 / settings["batch"], note=note),)
        return None


class SplitDriver(Device):
    """Front end in the guest, back end in a driver domain of the hypervisor."""

    name = "split-driver"
    needs = frozenset({"hypercalls"})
    pushes_batches = True
    parameters = {
        "batch": _BATCH,
        **_RING,
        "driver_domain": exact(1, "switch", "back end in a domain of its own, or in the hypervisor (2003)"),
        "switches": exact(2, "1/event", "to the driver domain and back, where it shares the processor"),
    }

    def handle(self, event: str, size: int, settings: Settings) -> Iterable[Step] | None:
        """An event for a batch of requests, both ways; the driver domain has to run in between."""
        share = 1 / settings["batch"]
        who = "driver domain" if settings.on("driver_domain") else ""
        if event == "device_receive":
            return [
                Step("device_receive", 1, size, party=who),
                Step("backend_request", party=who),
                Step("ring_request"),
            ]
        if event == "device_kick":
            if not who:  # The call ends where the driver is: nobody has to be woken.
                calls = Step("vmcall", share, note=_shared(settings, "to the hypervisor's driver"))
                return [Step("ring_request"), calls, Step("backend_request"), *_passed_on(settings, size, who)]
            return [
                Step("ring_request"),
                Step("doorbell", share, note=_shared(settings)),
                Step("vcpu_switch", settings["switches"] * share, party=who),
                Step("backend_request", party=who),
                *_passed_on(settings, size, who),
            ]
        if event == "device_more":
            work = Step("backend_request", party=who)
            return [Step("ring_request"), work, Step("device_more", 1, size, party=who)]
        if event == "device_interrupt":
            if not who:
                return (Step("interrupt", share, note=_shared(settings)),)
            return (
                Step("interrupt", share, note=_shared(settings, "the device's"), party=who),
                Step("vcpu_switch", settings["switches"] * share, party=who),
                Step("doorbell", share, note="to the guest", party=who),
                Step("event_inject", share, note="taken by the guest"),
            )
        return None


class Passthrough(Device):
    """The guest drives the device itself."""

    name = "passthrough"
    needs = frozenset({"machine"})

    def handle(self, event: str, size: int, settings: Settings) -> Iterable[Step] | None:
        """The doorbell reaches the device below; interrupts exit unless they are posted."""
        return (Step("interrupt"),) if event == "device_interrupt" else None


for _kind in (Emulated(), Virtio(), SplitDriver(), Passthrough()):
    LAYER_KINDS.register(_kind.name)(_kind)
