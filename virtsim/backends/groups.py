"""The tree of groups of one run: a shield around everything, the scenario's groups, the guests."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from virtsim.backends.cgroups import PREFIX, Cgroups, Write
from virtsim.scenario.guest import Guest, Limits
from virtsim.scenario.quotas import cut_quotas, fit_quotas
from virtsim.scenario.scenario import Scenario

#: Real-time microseconds in a second that the run's groups share, where the kernel rations them.
REAL_TIME_US = 950_000


class RunGroups:
    """Plans and makes the groups of a run.

    Native guests live in the group around them, beside the container guests in it. Where a group may
    not hold tasks and groups at once (v2), such a guest gets a leaf of its own, whose weight is 100 for
    each of its processes.

    Parameters
    ----------
    cgroups : Cgroups
    name : str
        Of the outermost group; begins with ``virtsim-``.
    scenario : Scenario

    Attributes
    ----------
    of_group, of_guest : dict of str to str
        Paths by name.
    leaves : tuple of str
        Native guests that got a leaf.
    clamped : list of str
        Groups and guests whose quota is cut down to that of a group around (v1).
    """

    def __init__(self, cgroups: Cgroups, name: str, scenario: Scenario) -> None:
        if not name.startswith(PREFIX):
            raise ValueError(f"{name!r} must begin with {PREFIX!r}")
        self.cgroups = cgroups
        self.top = name
        self.scenario = scenario
        self.clamped = cut_quotas(scenario) if cgroups.quotas_must_fit else []
        self.of_group: dict[str, str] = {}
        for group in scenario.groups:
            self.of_group[group.name] = f"{self._around(group.parent)}/group-{group.name}"
        self.leaves = tuple(guest.name for guest in scenario.guests if self._needs_leaf(guest))
        self.of_guest = {guest.name: self._place(guest) for guest in scenario.guests}

    def _around(self, group: str | None) -> str:
        return self.top if group is None else self.of_group[group]

    def _needs_leaf(self, guest: Guest) -> bool:
        if guest.stack != "native" or self.cgroups.tasks_beside_groups:
            return False
        return any(other.group == guest.group and other.stack != "native" for other in self.scenario.guests) or any(
            group.parent == guest.group for group in self.scenario.groups
        )

    def _place(self, guest: Guest) -> str:
        around = self._around(guest.group)
        return around if guest.stack == "native" and guest.name not in self.leaves else f"{around}/guest-{guest.name}"

    @property
    def paths(self) -> list[str]:
        """All groups, each after the one around it."""
        return list(dict.fromkeys([self.top, *self.of_group.values(), *self.of_guest.values()]))

    @property
    def folders(self) -> list[Path]:
        """All folders, each after the one around it."""
        return [folder for path in self.paths for folder in self.cgroups.folders(path)]

    def create(self) -> None:
        """Make all groups and set their limits, but not their bandwidth."""
        self.cgroups.create(self.top)
        self.cgroups.shield(self.top)
        self.cgroups.limit(self.top, Limits(cpus=self.scenario.cpus), 0)
        for group in self.scenario.groups:
            self._create(self.of_group[group.name], group)
        for guest in self.scenario.guests:
            if guest.stack != "native":
                self._create(self.of_guest[guest.name], guest)
            elif guest.name in self.leaves:
                weight = min(10_000, 100 * guest.workload.process_count)
                self._create(self.of_guest[guest.name], Limits(cpu_weight=weight))
        self._allow_real_time()

    def _create(self, path: str, limits: Limits) -> None:
        self.cgroups.create(path)
        self.cgroups.limit(path, limits, self._guests_in(path))

    def _guests_in(self, path: str) -> int:
        return sum(place == path or place.startswith(f"{path}/") for place in self.of_guest.values())

    def _allow_real_time(self) -> None:
        """Each guest with real-time tasks gets an equal part, and each group the sum of what is in it."""
        places = [
            self.of_guest[guest.name]
            for guest in self.scenario.guests
            if any(task.policy in ("fifo", "rr") for task in guest.workload.tasks)
        ]
        for path in self.paths if places else ():
            inside = sum(place == path or place.startswith(f"{path}/") for place in places)
            self.cgroups.allow_real_time(path, REAL_TIME_US * inside // len(places))

    @cached_property
    def limited(self) -> list[tuple[str, Limits]]:
        """Groups and container guests with a bandwidth, outermost first."""
        scenario = fit_quotas(self.scenario) if self.cgroups.quotas_must_fit else self.scenario
        named: list[tuple[str, Limits]] = [(self.of_group[group.name], group) for group in scenario.groups]
        named += [(self.of_guest[guest.name], guest) for guest in scenario.guests if guest.stack != "native"]
        return [(path, limits) for path, limits in named if limits.cpu_max is not None]

    def bandwidth(self) -> list[Write]:
        """Writes for the release."""
        return [write for path, limits in self.limited for write in self.cgroups.bandwidth(path, limits)]

    def lift(self) -> list[Write]:
        """Writes for the end."""
        return [write for path, _ in self.limited for write in self.cgroups.lift(path)]
