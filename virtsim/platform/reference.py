"""Reference pages made from the tables and the code of this package, so that they cannot disagree with it."""

from __future__ import annotations

import importlib
from collections.abc import Iterable

from virtsim.core.data import models_folder
from virtsim.core.spec import load_toml
from virtsim.platform.events import EVENTS
from virtsim.platform.host import HostCard
from virtsim.platform.layers import LAYER_KINDS
from virtsim.platform.primitives import PRIMITIVES
from virtsim.platform.sensitive import CLASSES, INSTRUCTIONS, TECHNIQUES, how, virtualizable
from virtsim.platform.stack import StackCard, load_stack

_MADE = "<!-- Made from the code by virtsim.platform.reference; do not edit. -->\n"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def sensitive_page() -> str:
    """Popek and Goldberg's classes, and how each technique gets hold of each sensitive instruction."""
    classes = _table(("class", "meaning"), CLASSES.items())
    stacks = {name: load_stack(name) for name in TECHNIQUES}
    rows = (
        (i.name, "yes" if i.privileged else "**no**", i.kind, i.meaning, *(how(i, stack) for stack in stacks.values()))
        for i in INSTRUCTIONS
    )
    head = ("instruction", "privileged", "class", "what is sensitive", *TECHNIQUES.values())
    verdict = "are" if virtualizable() else "are not"
    return (
        f"# Sensitive instructions\n\n{_MADE}\n"
        "Popek and Goldberg (1974) sort the instructions of a machine:\n\n"
        f"{classes}\n"
        "Their theorem: a monitor can be built by trap and emulation if all sensitive instructions are privileged. "
        f"On x86 they {verdict}. How each technique gets hold of them, as the expansion of this model has it:\n\n"
        f"{_table(head, rows)}\n"
        "`runs directly` means that the technique lets the instruction run: on a register or table that is the guest's "
        "own, or because what it shows is tolerated.\n"
    )


def primitives_page() -> str:
    """Every primitive and every event."""
    primitives = _table(
        ("primitive", "unit", "group", "meaning", "measured by"),
        ((f"`{n}`", p.unit, p.group, p.meaning, p.measured_by or "-") for n, p in PRIMITIVES.items()),
    )
    system = _table(
        ("event", "system calls", "has a size", "meaning"),
        (
            (f"`{n}`", str(e.system_calls), "yes" if e.sized else "no", e.meaning)
            for n, e in EVENTS.items()
            if e.interface == "system"
        ),
    )
    machine = _table(
        ("event", "meaning"),
        ((f"`{n}`", e.meaning) for n, e in EVENTS.items() if e.interface == "machine" and n not in PRIMITIVES),
    )
    return (
        f"# Primitives and events\n\n{_MADE}\n"
        "## Primitives\n\nWhat has a price on a host. Unit `1` is ns for each ns of the reference core.\n\n"
        f"{primitives}\n## Events of programs\n\n{system}\n"
        "## Events of machines\n\nBesides these, every primitive is an event of the machine.\n\n"
        f"{machine}"
    )


def layers_page() -> str:
    """Every kind of layer with its description and parameters, and every stack and host card."""
    parts = [f"# Layers, stacks, hosts\n\n{_MADE}"]
    for name in LAYER_KINDS:
        kind = LAYER_KINDS.get(name)
        text = (importlib.import_module(type(kind).__module__).__doc__ or "").strip()
        needs = ", ".join(sorted(kind.needs)) or "nothing"
        parts.append(
            f"## `{name}`\n\n{type(kind).__doc__}\n\nRole: {kind.role}. Needs from below: {needs}.\n\n"
            f"```text\n{text}\n```\n"
        )
        if kind.parameters:
            rows = ((f"`{n}`", f"{p.value:g}", p.unit, p.source, p.status) for n, p in kind.parameters.items())
            parts.append(_table(("parameter", "default", "unit", "source", "status"), rows))
    parts.append("## Stack cards\n\n" + _table(("stack", "layers", "description"), _stacks()))
    parts.append("## Host cards\n\n" + _table(("host", "description"), _hosts()))
    return "\n".join(parts)


def _stacks() -> Iterable[tuple[str, ...]]:
    for path in sorted((models_folder() / "stacks").glob("*.toml")):
        card = load_toml(path, StackCard)
        yield f"`{card.name}`", " · ".join(layer.name or layer.kind for layer in card.layers), card.description


def _hosts() -> Iterable[tuple[str, ...]]:
    for path in sorted((models_folder() / "hosts").glob("*.toml")):
        card = load_toml(path, HostCard)
        yield f"`{card.name}`", card.description


#: Pages by file name, in ``docs/reference``.
PAGES = {
    "sensitive-instructions.md": sensitive_page,
    "primitives-and-events.md": primitives_page,
    "layers-stacks-hosts.md": layers_page,
}
