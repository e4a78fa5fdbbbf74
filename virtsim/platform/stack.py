"""Stacks of layers: the cards, and the checked stack that events are expanded on."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from virtsim.core.data import card_names, find_card
from virtsim.core.errors import SpecError
from virtsim.core.parameter import Parameter
from virtsim.core.spec import Spec, Text, from_builtins, load_toml, read_toml
from virtsim.platform.layers import LAYER_KINDS, LayerKind, Settings
from virtsim.platform.layers.base import exact
from virtsim.platform.layers.hardware import VirtualHardware
from virtsim.scenario.guest import Guest
from virtsim.workload.operations import Name

if TYPE_CHECKING:
    from virtsim.platform.expand import Expansion
    from virtsim.platform.explain import Explanation
    from virtsim.platform.host import HostCard


#: Features of a machine that a kernel on it passes on to monitors inside it.
_PASSED_BY_KERNELS = frozenset({"extensions", "vmcs-shadowing"})


class Layer(Spec, frozen=True, kw_only=True):
    """One layer of a card.

    Parameters
    ----------
    kind : str
        The technique; see :mod:`virtsim.platform.layers`.
    name : str
        How explanations call it; the kind if empty.
    parameters : dict of str to Parameter
        What differs from the kind's defaults.
    """

    kind: Text
    name: str = ""
    parameters: dict[str, Parameter] = {}


class StackCard(Spec, frozen=True, kw_only=True):
    """A stack as a card: layers bottom to top.

    Parameters
    ----------
    name : str
        What guests call it.
    description : str
        One or two sentences: what people call such a platform.
    layers : list of Layer
        The first is ``hardware``, which becomes virtual on hosts that are.
    """

    name: Name
    description: Text
    layers: Annotated[list[Layer], Meta(min_length=2, max_length=40)]

    def _check(self) -> None:
        Stack(self)

    def on(self, base: StackCard) -> StackCard:
        """This stack on top of another.

        What starts with a kernel shares the top kernel of ``base``; a bare-metal hypervisor takes that
        kernel's place on its machine.

        Raises
        ------
        SpecError
            If a bare-metal hypervisor would have to take the place of more than a kernel: of a container, say.
        """
        upper, lower = self.layers[1:], list(base.layers)
        if _kind(upper[0], "layers[1]").role == "kernel":
            upper = upper[1:]
        else:
            top = lower.pop()
            if _kind(top, "layers").role != "kernel" or _kind(lower[-1], "layers").role not in ("machine", "hardware"):
                raise SpecError(
                    f"stack {base.name!r}",
                    f"{upper[0].kind!r} needs a machine of its own, which {top.name or top.kind!r} does not leave it",
                )
        return StackCard(
            name=f"{self.name}-on-{base.name}",
            description=f"{self.description} On: {base.description}",
            layers=lower + upper,
        )


class PaperStack(Spec, frozen=True, kw_only=True):
    """A stack as it was in a paper: a stack card, with parameters of some layers replaced."""

    card: Text
    parameters: dict[str, dict[str, Parameter]] = {}

    def stack(self, name: str) -> Stack:
        """The stack, called ``name``."""
        changed = load_stack(self.card).with_parameters(self.parameters)
        return Stack(changed.card.replace(name=name))


def _kind(layer: Layer, where: str) -> LayerKind:
    return LAYER_KINDS.get(layer.kind, f"{where}.kind")


class Stack:
    """A checked stack; expansions on it are kept.

    Parameters
    ----------
    card : StackCard
        The layers.

    Raises
    ------
    SpecError
        If a layer is unknown, has a parameter its kind does not know, or needs what no layer below offers
        (a guest kernel without a machine, a paravirtual kernel without hypercalls).
    """

    def __init__(self, card: StackCard) -> None:
        self.card = card
        self.kinds: list[LayerKind] = []
        self.settings: list[Settings] = []
        self.kept: dict[tuple[str, int, int], Expansion] = {}
        offered: frozenset[str] = frozenset()
        for i, layer in enumerate(card.layers):
            where = f"layers[{i}]"
            kind = _kind(layer, where)
            if (kind.role == "hardware") != (i == 0):
                raise SpecError(f"{where}.kind", "the first layer, and only the first, is 'hardware'")
            settings = Settings(kind.parameters, layer.parameters, where, kind.least)
            missing = sorted(kind.needs_of(settings) - offered)
            if missing:
                below = card.layers[i - 1].name or card.layers[i - 1].kind
                raise SpecError(
                    f"{where}.kind",
                    f"{kind.name!r} needs {', '.join(missing)} from below, which {below!r} does not offer "
                    f"(it offers: {', '.join(sorted(offered)) or 'nothing'})",
                )
            offered = _offer(kind, settings, offered)
            self.kinds.append(kind)
            self.settings.append(settings)
        self.offered = offered
        if "system" not in offered:
            raise SpecError(f"layers[{len(card.layers) - 1}].kind", "the top layer must be one that programs run on")

    @property
    def name(self) -> str:
        """Name of the card."""
        return self.card.name

    def layer_name(self, level: int) -> str:
        """How explanations call a layer."""
        return self.card.layers[level].name or self.card.layers[level].kind

    def kernels_on_virtual_cpus(self) -> list[Stack]:
        """The stack up to each kernel that runs on virtual CPUs, bottom to top; empty for native and containers."""
        found = []
        virtual = False
        for i, kind in enumerate(self.kinds):
            virtual = virtual or kind.virtual_cpus
            if virtual and kind.role == "kernel":
                found.append(Stack(self.card.replace(layers=self.card.layers[: i + 1])))
                virtual = False
        return found

    def on_host(self, host: HostCard) -> Stack:
        """This stack on a host's machine: on virtual hardware where the host is itself a virtual machine.

        Raises
        ------
        SpecError
            If the card says that the hardware is virtual and the host's is not.
        """
        is_virtual = self.card.layers[0].kind == VirtualHardware.name
        if host.outer_monitor:
            return self if is_virtual else _under(self, host.outer_monitor)
        if is_virtual:
            raise SpecError(f"stack {self.name!r}: layers[0].kind", f"host {host.name!r} is not a virtual machine")
        return self

    def expand(self, event: str, size: int = 0) -> Expansion:
        """The event taken apart down to the primitives; see :func:`virtsim.platform.expand.expand`.

        On the stack as it is; what it costs on a host that may be virtual, ``stack.on_host(host)`` tells.
        """
        from virtsim.platform.expand import expand

        return expand(event, self, size=size)

    def with_parameters(self, changes: Mapping[str, Mapping[str, float | Parameter]]) -> Stack:
        """This stack with other parameters of some layers.

        Parameters
        ----------
        changes : mapping of str to mapping
            Layer, by its name or kind, and its parameters: ``{"virtio": {"batch": 16}}``. A number has the unit of
            the parameter that it replaces and counts as assumed; all layers of that name or kind are changed.

        Raises
        ------
        SpecError
            If there is no such layer, or it has no such parameter.
        """
        layers = list(self.card.layers)
        for label, parameters in changes.items():
            found = [i for i, layer in enumerate(layers) if label in (layer.name, layer.kind)]
            if not found:
                known = ", ".join(self.layer_name(i) for i in range(len(layers)))
                raise SpecError(f"stack {self.name!r}", f"no layer is called {label[:60]!r}; its layers are: {known}")
            for i in found:
                known_here = self.settings[i].parameters
                where = f"stack {self.name!r}: layers[{i}].parameters"
                given = {name: _parameter(where, name, value, known_here) for name, value in parameters.items()}
                layers[i] = layers[i].replace(parameters={**layers[i].parameters, **given})
        return Stack(self.card.replace(layers=layers))

    def explain(self, event: str, host: HostCard | None = None, size: int = 0) -> Explanation:
        """The expansion for reading: who handles what, how often, and what it costs on ``host``.

        Parameters
        ----------
        event : str
            A name of :data:`virtsim.platform.events.EVENTS`.
        host : HostCard, optional
            Where the prices come from; no costs are shown without one.
        size : int, bytes
            For events that have a size.
        """
        from virtsim.platform.explain import Explanation

        stack = self if host is None else self.on_host(host)
        return Explanation(stack.expand(event, size), stack, host)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stack) and other.card == self.card

    def __hash__(self) -> int:
        return hash(self.card.name)

    def __reduce__(self) -> tuple[type[Stack], tuple[StackCard]]:
        return Stack, (self.card,)

    def __repr__(self) -> str:
        return f"Stack({' · '.join(self.layer_name(i) for i in range(len(self.kinds)))})"


def _parameter(where: str, name: str, value: float | Parameter, known: Mapping[str, Parameter]) -> Parameter:
    """``value`` as a parameter; what the layer does not know gets any unit and is refused by :class:`Settings`."""
    if isinstance(value, Parameter):
        return value
    unit = known[name].unit if name in known else "1"
    if not isfinite(value):
        raise SpecError(f"{where}.{name}.value", f"is {value:g} but must be a finite number")
    return Parameter(value=float(value), unit=unit, source="given in the program", date="2026", status="assumed")


def _offer(kind: LayerKind, settings: Settings, below: frozenset[str]) -> frozenset[str]:
    mine = kind.provides_of(settings, below)
    if kind.role == "kernel":
        return mine | (below & _PASSED_BY_KERNELS)
    return mine | below if kind.role == "filter" else mine


@cache
def _under(stack: Stack, monitor: str) -> Stack:
    """The stack on the hardware that an outer monitor offers."""
    hardware = stack.card.layers[0].replace(kind=VirtualHardware.name, name=f"machine under {monitor}")
    return Stack(stack.card.replace(layers=[hardware, *stack.card.layers[1:]]))


@cache
def _load(name: str, path: Path, stamp: int) -> Stack:
    return Stack(load_toml(path, StackCard))


def load_stack(name: str) -> Stack:
    """The stack of a card.

    Parameters
    ----------
    name : str
        Name of a card in ``models/stacks`` or the user's folder, or the path of one, ending with ``.toml``;
        ``"<one>-on-<other>"`` puts one stack on another: ``"container-on-kvm"``; ``"<paper>.<stack>"`` is a stack with
        the parameters that it has in a paper's card: ``"xen-2003.vmware"``.

    Raises
    ------
    SpecError
        If there is no such card or it is not acceptable.
    """
    upper, on, lower = name.partition("-on-")
    if on and name not in card_names("stacks") and not Path(name).is_file():
        return _on(upper, lower)
    paper, dot, of_paper = name.partition(".")
    if dot and of_paper != "toml" and paper in card_names("literature") and name not in card_names("stacks"):
        return _of_paper(find_card("literature", paper, "paper"), of_paper, name)
    path = find_card("stacks", name, "stack")
    return _load(name, path, path.stat().st_mtime_ns)


@cache
def _on(upper: str, lower: str) -> Stack:
    return Stack(load_stack(upper).card.on(load_stack(lower).card))


def _of_paper(path: Path, stack: str, name: str) -> Stack:
    data = read_toml(path)
    found = data.get("stacks", {})
    if stack not in found and "like" in data:
        return _of_paper(find_card("literature", str(data["like"]), "paper"), stack, name)
    if stack not in found:
        raise SpecError("", f"paper {path.stem!r} has no stack {stack[:60]!r}; known: {', '.join(found)}")
    return from_builtins(found[stack], PaperStack, f"{path}: stacks.{stack}").stack(name)


def stack_for(guest: Guest) -> Stack:
    """The stack of a guest, with the parameters that it changes and what its isolation says about seccomp.

    Raises
    ------
    SpecError
        If the stack is unknown, or the guest has isolation that its stack cannot give it.
    """
    try:
        stack = load_stack(guest.stack)
    except SpecError as problem:
        raise SpecError("stack", str(problem)) from None
    if guest.stack_parameters:
        changes = tuple((layer, tuple(values.items())) for layer, values in guest.stack_parameters.items())
        try:
            stack = _changed(stack, changes)
        except SpecError as problem:
            raise SpecError("stack_parameters", str(problem)) from None
    if guest.isolation.seccomp_rules == 0:
        return stack
    return _isolated(stack, guest.isolation.seccomp_rules, guest.isolation.seccomp_arguments)


@cache
def _changed(stack: Stack, changes: tuple[tuple[str, tuple[tuple[str, float], ...]], ...]) -> Stack:
    return stack.with_parameters({layer: dict(values) for layer, values in changes})


@cache
def _isolated(stack: Stack, rules: int, arguments: bool) -> Stack:
    layers = list(stack.card.layers)
    for i in reversed(range(len(layers))):
        if layers[i].kind == "container":
            changed = {
                "seccomp_rules": exact(rules, "rules", "the guest's isolation"),
                "seccomp_arguments": exact(int(arguments), "switch", "the guest's isolation"),
            }
            layers[i] = layers[i].replace(parameters={**layers[i].parameters, **changed})
            return Stack(stack.card.replace(layers=layers))
    raise SpecError("isolation.seccomp_rules", f"the stack {stack.name!r} has no container to filter calls of")
