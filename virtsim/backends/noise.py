"""How much of a run was not its own: stolen time, foreign work, a change of the core's speed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from virtsim.core.units import NS_PER_MS, NS_PER_S

#: /proc/stat counts in hundredths of a second (USER_HZ), whatever the kernel's own HZ.
TICK_NS = 10 * NS_PER_MS


class Noise(NamedTuple):
    """Shares are of the time of the CPUs that the run could use.

    Attributes
    ----------
    steal_share : float
        Taken by the hypervisor below.
    foreign_share : float
        CPU time that the run's groups did not use, though somebody did.
    speed_change : float
        Relative change of the reference loop's CPU time, after against before.
    disturbed : bool
        Whether one of them is over its limit, and by more than the clock can err.
    """

    steal_share: float
    foreign_share: float
    speed_change: float
    disturbed: bool


class NoiseLimits(NamedTuple):
    """From where on a run counts as disturbed."""

    steal_share: float = 0.01
    foreign_share: float = 0.05
    speed_change: float = 0.05


#: Errors of the counters: a few ticks at both ends of the window, on each CPU.
_SLACK_TICKS = 2


def measure(
    before: str,
    after: str,
    cpus: Iterable[int] | None,
    window_ns: int,
    own_ns: int,
    rounds_fs: tuple[int, int],
    limits: NoiseLimits,
) -> Noise:
    """Noise of a run.

    Parameters
    ----------
    before, after : str
        Texts of /proc/stat at its two ends.
    cpus : iterable of int, optional
        CPUs it could use; None is all.
    window_ns : int, ns
    own_ns : int, ns
        CPU time of its groups.
    rounds_fs : (int, int), fs
        A round of the reference loop, before and after.
    limits : NoiseLimits
    """
    old, new = _times(before), _times(after)
    chosen = set(new) if cpus is None else set(cpus) & set(new)
    busy_ns = sum(new[cpu].busy - old[cpu].busy for cpu in chosen) * TICK_NS
    steal_ns = sum(new[cpu].steal - old[cpu].steal for cpu in chosen) * TICK_NS
    capacity_ns = max(1, window_ns * len(chosen))
    slack = _SLACK_TICKS * TICK_NS * len(chosen) / capacity_ns
    steal, foreign = steal_ns / capacity_ns, max(0.0, (busy_ns - own_ns) / capacity_ns)
    speed = rounds_fs[1] / rounds_fs[0] - 1 if rounds_fs[0] else 0.0
    disturbed = (
        steal > limits.steal_share + slack or foreign > limits.foreign_share + slack or abs(speed) > limits.speed_change
    )
    return Noise(steal, foreign, speed, disturbed)


def as_manifest(noise: Noise, limits: NoiseLimits, attempt: int, window_ns: int) -> dict[str, Any]:
    """What ``manifest["noise"]`` holds."""
    return noise._asdict() | {
        "limits": limits._asdict(),
        "attempts": attempt,
        "resolution": TICK_NS / max(window_ns, 1),
        "window_s": window_ns / NS_PER_S,
    }


class _Times(NamedTuple):
    busy: int
    steal: int


def _times(text: str) -> dict[int, _Times]:
    """Ticks by CPU: user, nice, system, irq and softirq are busy; guest time is in user already."""
    times: dict[int, _Times] = {}
    for line in text.splitlines():
        name, *fields = line.split() or [""]
        if name.startswith("cpu") and name[3:].isdigit() and len(fields) >= 8:
            user, nice, system, _idle, _wait, irq, softirq, steal = map(int, fields[:8])
            times[int(name[3:])] = _Times(user + nice + system + irq + softirq, steal)
    return times
