"""Quotas inside quotas, as a kernel that wants the inner ones to fit takes them."""

from __future__ import annotations

from fractions import Fraction
from typing import TypeVar

from virtsim.core.spec import CpuMax, Duration
from virtsim.core.units import NS_PER_MS, NS_PER_US
from virtsim.scenario.guest import Group, Limits
from virtsim.scenario.scenario import Scenario

#: The kernel takes no quota below this (``min_cfs_quota_period``), ns.
LEAST_QUOTA_NS = NS_PER_MS

L = TypeVar("L", bound=Limits)


def fit_quotas(scenario: Scenario) -> Scenario:
    """The same scenario, each quota cut down to the part of the CPUs that the groups around leave it.

    cgroup v1 refuses a quota that is a larger part of its period than that of a group around; v2 takes it. In the long
    run the group gets the same, but not in the short: a quota of 8 ms in 10 ms within one of 10 ms in 100 ms lets the
    group use its 10 ms at once, and one of 1 ms in 10 ms does not.

    Where so little of a short period would be left that no kernel takes it, the group gets the quota and the period of
    the one around.
    """
    groups = {group.name: group for group in scenario.groups}
    for group in scenario.groups:
        if group.parent is not None:
            groups[group.name] = _fit(group, _around(group.parent, groups))
    guests = [
        guest if guest.stack == "native" or guest.group is None else _fit(guest, _around(guest.group, groups))
        for guest in scenario.guests
    ]
    return scenario.replace(groups=list(groups.values()), guests=guests)


def cut_quotas(scenario: Scenario) -> list[str]:
    """Names of the groups and guests whose quota :func:`fit_quotas` cuts down, groups first."""
    fitted = fit_quotas(scenario)
    groups = [group.name for group, cut in zip(scenario.groups, fitted.groups, strict=True) if group != cut]
    return groups + [guest.name for guest, cut in zip(scenario.guests, fitted.guests, strict=True) if guest != cut]


def _around(name: str | None, groups: dict[str, Group]) -> CpuMax | None:
    """The tightest quota among a group and those around it."""
    quotas = []
    while name is not None:
        quotas.append(groups[name].cpu_max)
        name = groups[name].parent
    return min((quota for quota in quotas if quota is not None), key=_part, default=None)


def _fit(limits: L, around: CpuMax | None) -> L:
    mine = limits.cpu_max
    if mine is None or around is None:
        return limits
    quota_ns = int(_part(around) * mine.period_ns) // NS_PER_US * NS_PER_US
    if quota_ns >= mine.quota_ns:
        return limits
    cut = CpuMax(quota_ns, mine.period_ns) if quota_ns >= LEAST_QUOTA_NS else around
    return limits.replace(cpu_max=cut, cpu_burst=Duration(min(limits.cpu_burst, cut.quota_ns)))


def _part(cpu_max: CpuMax) -> Fraction:
    """Share of one CPU."""
    return Fraction(cpu_max.quota_ns, cpu_max.period_ns)
