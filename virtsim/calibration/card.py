"""The card of this machine: its processor and kernel as it tells them, and the prices that were fitted."""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from virtsim.backends import kernel
from virtsim.backends.build import compiled_runner
from virtsim.calibration.fit import Fit
from virtsim.calibration.timing import TimerLatency
from virtsim.core.parameter import Parameter
from virtsim.core.spec import Duration, Size
from virtsim.platform.host import HostCard, reference_card
from virtsim.platform.kernel import Kernel
from virtsim.platform.primitives import PRIMITIVES
from virtsim.platform.topology import Cache, Topology

#: Standard normal quantile of the ends of a 90 % interval.
Z_90 = 1.6449
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_FAIR_DEBUG = Path("/sys/kernel/debug/sched")


def machine_card(start: HostCard) -> HostCard:
    """``start`` with the topology and the kernel of this machine, virtual or bare as it is, and its price of CPUID."""
    runner = compiled_runner().path
    facts = kernel.facts(runner)
    version = str(facts["release"])
    monitor = str(facts.get("monitor", ""))
    below = f", a virtual machine of {monitor}" if monitor else ""
    description = f"{facts.get('cpu_model', 'unknown processor')}, {os.cpu_count()} CPUs, Linux {version}{below}"
    start = start.on_machine(monitor, reference_card(virtual=bool(monitor)))
    if cpuid_ns := kernel.cpuid_ns(runner):
        source = f"measured: CPUID in a loop{' (an exit to the outer monitor)' if monitor else ''}"
        start = start.with_prices({"cpuid": _delay(cpuid_ns, source, datetime.date.today().isoformat())})
    return start.replace(
        name="this",
        description=description,
        topology=_topology(start.topology),
        kernel=_kernel(start.kernel, facts),
    )


def with_fit(
    card: HostCard,
    fit: Fit,
    latency: TimerLatency | None = None,
    idle_answers_ns: Sequence[float] = (),
    foreign_shares: Sequence[float] = (),
    deviations: Sequence[float] = (),
    rounds_ns: Sequence[float] = (),
) -> HostCard:
    """The card with fitted prices and delays; each states how it was found."""
    today = datetime.date.today().isoformat()
    prices = {
        name: Parameter(
            value=_digits(price.value),
            low=_digits(min(price.low, price.value)),
            high=_digits(max(price.high, price.value)),
            unit=PRIMITIVES[name].unit,
            source="fit: bounded least squares on micro-workloads; 90 % interval of a single run",
            date=today,
        )
        for name, price in fit.prices.items()
    }
    timing = card.timing
    if latency is not None:
        timing = timing.replace(
            timer_latency=_delay(list(latency.runs_ns), "measured: wake-ups of a periodic task", today),
            timer_latency_quantiles=list(latency.quantiles_ns),
            idle_exit=_delay(list(latency.idle_ns), "measured: timers alone against timers beside a busy task", today),
            idle_exit_quantiles=list(latency.idle_ns),
        )
    if idle_answers_ns:
        source = "fit: duration of a ping-pong across two CPUs"
        timing = timing.replace(wakeup_idle_cpu=_delay(list(idle_answers_ns), source, today))
    if foreign_shares:
        source = "measured: elapsed time against CPU time of tasks that never wait"
        timing = timing.replace(foreign_share=_range(list(foreign_shares), "1", source, today))
    half_width = Z_90 * fit.discrepancy
    source = "fit: residuals of the mixtures that no price of their own meets"
    card = card.with_prices(prices, timing=timing, discrepancy=_around_zero(-half_width, half_width, source, today))
    if rounds_ns:
        source = "measured: the runner's reference loop, around each run of a micro-workload"
        card = card.replace(reference_round=_range(list(rounds_ns), "ns", source, today))
    if not deviations:
        return card
    ordered = sorted(deviations)
    low, high = (ordered[round(level * (len(ordered) - 1))] for level in (0.05, 0.95))
    source = "measured: CPU time of single runs against the median of their repetitions"
    return card.replace(repeatability=_around_zero(min(low, 0.0), max(high, 0.0), source, today))


def _around_zero(low: float, high: float, source: str, date: str) -> Parameter:
    return Parameter(value=0.0, low=_digits(low), high=_digits(high), unit="1", source=source, date=date)


def _delay(values_ns: list[float], source: str, date: str) -> Parameter:
    return _range(values_ns, "ns", source, date)


def _range(values: list[float], unit: str, source: str, date: str) -> Parameter:
    """Median and 90 % interval of single values."""
    ordered = sorted(values)
    last = len(ordered) - 1
    return Parameter(
        value=_digits(ordered[len(ordered) // 2]),
        low=_digits(ordered[round(0.05 * last)]),
        high=_digits(ordered[round(0.95 * last)]),
        unit=unit,
        source=source,
        date=date,
    )


def _digits(value: float) -> float:
    """Seven significant digits: more are not known, and fewer bytes are easier to read."""
    return float(f"{value:.7g}")


def _topology(start: Topology) -> Topology:
    cpus = os.cpu_count() or 1
    caches = _caches() or list(start.caches)
    return start.replace(
        cpus=cpus, cpus_per_cache=min(start.cpus_per_cache or cpus, cpus), caches=caches, threads_per_core=1
    )


def _caches() -> list[Cache]:
    """Data caches, first level first; none where the kernel does not tell."""
    found: dict[int, Cache] = {}
    for folder in sorted(_CACHES.glob("index*")):
        try:
            if (folder / "type").read_text().strip() == "Instruction":
                continue
            level = int((folder / "level").read_text())
            size = int((folder / "size").read_text().strip().removesuffix("K")) * 1024
            ways = int((folder / "ways_of_associativity").read_text())
            line = int((folder / "coherency_line_size").read_text())
            found[level] = Cache(size=Size(size), ways=max(ways, 1), line=Size(line))
        except (OSError, ValueError):
            return []
    return [found[level] for level in sorted(found)][:3]


def _kernel(start: Kernel, facts: dict[str, Any]) -> Kernel:
    version = str(facts["release"])
    numbers = tuple(int(part) for part in version.split("-")[0].split(".")[:2])
    return start.replace(
        version=version,
        hz=int(facts.get("hz") or start.hz),
        scheduler="eevdf" if numbers >= (6, 6) else "cfs",
        base_slice=_setting("base_slice"),
        latency=_setting("latency"),
        min_granularity=_setting("min_granularity"),
        wakeup_granularity=_setting("wakeup_granularity"),
        bandwidth_slice=Duration(int(facts.get("sched_cfs_bandwidth_slice_us", 5000)) * 1000),
        autogroup=bool(facts.get("sched_autogroup_enabled", 0)),
        features={name.upper(): True for name in ("rt_group_sched", "vcpu_pack") if facts.get(name)},
    )


def _setting(name: str) -> Duration | None:
    """One of the fair class's settings as debugfs tells it; where it does not, the kernel's own rule holds."""
    try:
        return Duration(int((_FAIR_DEBUG / f"{name}_ns").read_text()))
    except (OSError, ValueError):
        return None
