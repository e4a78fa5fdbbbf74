"""The scenario, the one thing both worlds run."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from virtsim.core.errors import SpecError
from virtsim.core.spec import CpuSet, Duration, Spec, dump_toml, encode_json, from_builtins, load_toml
from virtsim.core.units import NS_PER_S, format_duration
from virtsim.scenario.driver_domain import DriverDomain
from virtsim.scenario.guest import Group, Guest
from virtsim.workload.operations import CardName, Name


class Scenario(Spec, frozen=True, kw_only=True):
    """Guests on a host for a time.

    Parameters
    ----------
    guests : list of Guest
        At least one; names differ.
    duration : str or int, ns
        The run ends then, or earlier when all tasks have ended.
    name : str
        For tables and files.
    host : str
        Name of a host card, or the path of one that ends with ``.toml``; ``"this"`` is the card calibrated on this
        machine.
    groups : list of Group
        Groups that guests may share; a parent stands before its children.
    cpus : str, optional
        The CPUs the whole run may use, as ``"0"`` or ``"0-1"``; all of the host's if absent.
    driver_domain : DriverDomain
        Which has the devices, where stacks have split drivers.

    Examples
    --------
    >>> from virtsim.workload.builders import spin
    >>> s = Scenario(guests=[Guest(name="a", workload=spin())], duration="1s", cpus="0")
    >>> Scenario.from_builtins(s.to_builtins()) == s
    True
    """

    guests: Annotated[list[Guest], Meta(min_length=1, max_length=1000)]
    duration: Duration
    name: Name = "scenario"
    host: CardName = "this"
    groups: Annotated[list[Group], Meta(max_length=1000)] = []
    cpus: CpuSet | None = None
    driver_domain: DriverDomain = DriverDomain()

    def _check(self) -> None:
        if not 1_000_000 <= self.duration <= 24 * 3600 * NS_PER_S:
            raise SpecError("duration", "must be 1ms to 24h")
        self._check_names()
        self._check_cpus()

    def _check_names(self) -> None:
        groups: set[str] = set()
        for i, group in enumerate(self.groups):
            if group.name in groups:
                raise SpecError(f"groups[{i}].name", f"two groups are called {group.name!r}")
            if group.parent is not None and group.parent not in groups:
                raise SpecError(f"groups[{i}].parent", f"no group before this one is called {group.parent!r}")
            groups.add(group.name)
        names = set(groups)
        for i, guest in enumerate(self.guests):
            if guest.name in names:
                raise SpecError(f"guests[{i}].name", f"the name {guest.name!r} is taken already")
            if guest.group is not None and guest.group not in groups:
                raise SpecError(f"guests[{i}].group", f"no group is called {guest.group!r}")
            names.add(guest.name)

    def _check_cpus(self) -> None:
        """Every set of CPUs lies within the one above it, as cpuset demands."""
        allowed: dict[str | None, CpuSet | None] = {None: self.cpus}
        for i, group in enumerate(self.groups):
            allowed[group.name] = _narrow(group.cpus, allowed[group.parent], f"groups[{i}].cpus")
        _narrow(self.driver_domain.cpus, self.cpus, "driver_domain.cpus")
        for i, guest in enumerate(self.guests):
            mine = _narrow(guest.cpus, allowed[guest.group], f"guests[{i}].cpus")
            if guest.vcpus is not None:
                mine = CpuSet(range(guest.vcpus))
            for j, task in enumerate(guest.workload.tasks):
                _narrow(task.cpus, mine, f"guests[{i}].workload.tasks[{j}].cpus")

    def allowed_cpus(self, guest: Guest) -> CpuSet | None:
        """CPUs of the guest after all sets above it; None is all of the host's."""
        around = (guest, *self.groups_around(guest))
        return next((one.cpus for one in around if one.cpus is not None), self.cpus)

    def groups_around(self, guest: Guest) -> list[Group]:
        """The groups that a guest is in, innermost first."""
        if guest.group is None:
            return []
        groups = {group.name: group for group in self.groups}
        around = [groups[guest.group]]
        while (parent := around[-1].parent) is not None:
            around.append(groups[parent])
        return around

    def has_quota(self, guest: Guest) -> bool:
        """Whether the guest or a group around it has a quota."""
        return any(one.cpu_max is not None for one in (guest, *self.groups_around(guest)))

    def checked(self) -> Scenario:
        """The same scenario after the strict check of every field, as if it had been read from a file."""
        return from_builtins(self.to_builtins(), Scenario, self.name)

    @property
    def digest(self) -> str:
        """Hash of the content; equal scenarios have equal digests."""
        return hashlib.blake2b(encode_json(self), digest_size=16).hexdigest()

    @classmethod
    def load(cls, path: Path | str) -> Scenario:
        """Read a TOML file."""
        return load_toml(path, cls)

    def save(self, path: Path | str) -> None:
        """Write a TOML file that :meth:`load` reads back to an equal scenario."""
        Path(path).write_text(dump_toml(self), encoding="utf-8")

    def _repr_html_(self) -> str:
        head = f"<b>{self.name}</b> on host <b>{self.host}</b> for {format_duration(self.duration)}"
        columns = ("guest", "stack", "tasks", "cpu_weight", "cpu_max", "cpus")
        rows = [tuple(_cells(guest).values()) for guest in self.guests]
        cells = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
        return f"{head}<table><tr>{''.join(f'<th>{c}</th>' for c in columns)}</tr>{cells}</table>"


def _cells(guest: Guest) -> dict[str, Any]:
    return {
        "guest": guest.name,
        "stack": guest.stack,
        "tasks": guest.workload.process_count,
        "cpu_weight": guest.cpu_weight,
        "cpu_max": guest.cpu_max or "",
        "cpus": guest.cpus or "",
    }


def _narrow(inner: CpuSet | None, outer: CpuSet | None, path: str) -> CpuSet | None:
    if inner is None:
        return outer
    if outer is not None and not set(inner) <= set(outer):
        raise SpecError(path, f"CPUs {inner} are not all among {outer}, the set around them")
    return inner
