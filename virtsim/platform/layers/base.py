"""What a kind of layer is: a pure function from an event to the steps it takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import ClassVar, NamedTuple

from virtsim.core.errors import SpecError
from virtsim.core.parameter import Parameter
from virtsim.core.registry import Registry


class Step(NamedTuple):
    """Part of handling an event: as often as ``times`` says, ``event`` of ``size`` bytes.

    Attributes
    ----------
    event : str
        A primitive or another event.
    times : float
        How often, on average, for one event handled.
    size : int, bytes
        Of events that have one.
    here : bool
        Handled by this layer again; otherwise by the layer below.
    note : str
        Why, in a few words, for the printed tree.
    party : str
        Who spends it, where that is not who asked: ``vhost worker``, ``driver domain``. It runs on a thread or
        virtual processor of its own and has to be scheduled.
    """

    event: str
    times: float = 1.0
    size: int = 0
    here: bool = False
    note: str = ""
    party: str = ""


def here(event: str, count: float = 1.0, size: int = 0, note: str = "") -> Step:
    """A step that this layer handles itself."""
    return Step(event, count, size, True, note)


class Settings:
    """The parameters of one layer: what its card says, on top of what its kind says.

    Parameters
    ----------
    defaults : dict of str to Parameter
        Parameters of the kind, with their provenance.
    given : dict of str to Parameter
        Those that the card overrides; each must be known to the kind and have its unit.
    where : str
        Path of the layer in its card, for errors.
    least : dict of str to float, optional
        Lowest value of those parameters for which it is not 0.
    """

    __slots__ = ("_values", "parameters", "where")

    def __init__(
        self,
        defaults: Mapping[str, Parameter],
        given: Mapping[str, Parameter],
        where: str,
        least: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        for name, parameter in given.items():
            if name not in defaults:
                known = ", ".join(sorted(defaults)) or "none"
                raise SpecError(
                    f"{where}.parameters.{name}", f"this kind of layer has no such parameter; known: {known}"
                )
            if parameter.unit != defaults[name].unit:
                raise SpecError(
                    f"{where}.parameters.{name}.unit", f"is {parameter.unit!r} but must be {defaults[name].unit!r}"
                )
            _check_value(parameter, least.get(name, 0.0), f"{where}.parameters.{name}.value")
        self.parameters = {**defaults, **given}
        self.where = where
        self._values = {name: parameter.value for name, parameter in self.parameters.items()}

    def __getitem__(self, name: str) -> float:
        value = self._values[name]
        if value is None:
            self.parameters[name].known(f"{self.where}.parameters.{name}")
            raise AssertionError("unreachable")
        return value

    def on(self, name: str) -> bool:
        """Whether a switch (a parameter of unit ``switch``) is set."""
        return self[name] != 0


def _check_value(parameter: Parameter, least: float, path: str) -> None:
    """Counts, shares and factors are not negative, and a switch is on or off."""
    if parameter.value is None:
        return
    if parameter.unit == "switch" and parameter.value not in (0, 1):
        raise SpecError(path, f"is {parameter.value:g} but a switch is 0 or 1")
    if parameter.unit == "share" and parameter.value > 1:
        raise SpecError(path, f"is {parameter.value:g} but a share is at most 1")
    if parameter.value < least:
        raise SpecError(path, f"is {parameter.value:g} but must be at least {least:g}")


class LayerKind:
    """Base of the kinds of layers; a subclass is a technique.

    Attributes
    ----------
    name : str
        As cards write it.
    role : str
        ``hardware``, ``kernel`` (offers system events), ``machine`` (offers machine events: a monitor) or
        ``filter`` (offers what the layer below offers).
    needs : frozenset of str
        Features that a layer below must provide.
    provides : frozenset of str
        Features that it offers to layers above.
    parameters : dict of str to Parameter
        What a card may set, with defaults and their sources.
    least : dict of str to float
        Lowest value of those parameters for which it is not 0.
    virtual_cpus : bool
        Whether the kernel above runs on virtual CPUs, which a scheduler below shares CPU time out to.
    """

    virtual_cpus: ClassVar[bool] = False
    name: ClassVar[str]
    role: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset()
    provides: ClassVar[frozenset[str]] = frozenset()
    parameters: ClassVar[Mapping[str, Parameter]] = {}
    least: ClassVar[Mapping[str, float]] = {}

    def needs_of(self, settings: Settings) -> frozenset[str]:
        """What it needs from below with these settings."""
        return self.needs

    def provides_of(self, settings: Settings, below: frozenset[str]) -> frozenset[str]:
        """What it offers with these settings on a layer that offers ``below``."""
        return self.provides

    def handle(self, event: str, size: int, settings: Settings) -> Iterable[Step] | None:
        """Steps that this layer takes for an event, or None if the layer below gets it unchanged."""
        raise NotImplementedError


def without(parameters: Mapping[str, Parameter], *names: str) -> dict[str, Parameter]:
    """The parameters of a kind that a kind derived from it has, too: all but ``names``."""
    return {name: parameter for name, parameter in parameters.items() if name not in names}


LAYER_KINDS: Registry[LayerKind] = Registry("kind of layer")


def assumed(
    value: float, unit: str, reason: str, date: str = "2026", low: float | None = None, high: float | None = None
) -> Parameter:
    """A parameter nobody measured."""
    return Parameter(
        value=value, unit=unit, source=f"assumed: {reason}", date=date, low=low, high=high, status="assumed"
    )


def exact(value: float, unit: str, source: str, date: str = "2026") -> Parameter:
    """A parameter that is known exactly: a count, a definition, a switch."""
    return Parameter(value=value, unit=unit, source=source, date=date, status="exact")


def published(
    value: float, unit: str, source: str, date: str, low: float | None = None, high: float | None = None
) -> Parameter:
    """A parameter from a publication."""
    return Parameter(value=value, unit=unit, source=source, date=date, low=low, high=high, status="published")
