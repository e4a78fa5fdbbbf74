"""What a machine's rings, devices and frequency domains have counted, as records of a run."""

from __future__ import annotations

from virtsim.machine.devices import MachineDevices
from virtsim.results.run import DeviceRecord
from virtsim.scheduling.devices import Ring, Station
from virtsim.scheduling.governor import FrequencyDomain
from virtsim.scheduling.heart import Heart


def device_records(devices: MachineDevices, now_ns: int) -> list[DeviceRecord]:
    """Of each ring, then of each device."""
    records = [DeviceRecord(entity=ring.name, values=_ring(ring)) for ring in devices.rings.values()]
    return records + [
        DeviceRecord(entity=station.name, values=_station(station, now_ns)) for station in devices.stations.values()
    ]


def frequency_records(heart: Heart) -> list[DeviceRecord]:
    """Of each frequency domain, where a governor is on."""
    return [] if heart.governor is None else [_domain(domain, heart.now_ns) for domain in heart.governor.domains]


def _domain(domain: FrequencyDomain, now_ns: int) -> DeviceRecord:
    domain.count(now_ns)
    cycles = sum(hz * time_ns for hz, time_ns in domain.residency_ns.items())
    values: dict[str, int | float] = {
        "mean_frequency": cycles / now_ns if now_ns else float(domain.frequency_hz),
        "frequency_changes": domain.changes,
    }
    return DeviceRecord(entity=f"cpus {','.join(str(cpu.number) for cpu in domain.cpus)}", values=values)


def _ring(ring: Ring) -> dict[str, int | float]:
    seen = ring.times.histogram()
    values: dict[str, int | float] = {
        "io_submitted": ring.submitted,
        "io_completed": ring.completed,
        "kicks": ring.kicks,
        "saved_kicks": ring.saved_kicks,
        "interrupts": ring.interrupts,
        "saved_interrupts": ring.saved_interrupts,
        "unclaimed_interrupts": ring.unclaimed_ns,
    }
    return values | ({"io_time": seen.mean_ns} if seen.count else {})


def _station(station: Station, now_ns: int) -> dict[str, int | float]:
    # The bus has been given out up to the end of the last transfer, which may lie ahead.
    bus_ns = station.bus_busy_ns - max(0, station.bus_free_ns - now_ns)
    values: dict[str, int | float] = {
        "device_served": station.served,
        "device_bytes": station.bytes,
        "device_utilisation": bus_ns / now_ns if now_ns else 0.0,
    }
    return values | ({"device_ways_busy": station.way_busy_ns / now_ns} if station.way_busy_ns else {})
