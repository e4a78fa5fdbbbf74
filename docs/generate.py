"""Write the reference pages that are made from the code; ``--check`` only tells whether they are what it says today.

``make golden`` runs this; a test runs it with ``--check``.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
import typing
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
import typer.main

import virtsim
from virtsim.cli.app import app
from virtsim.core import errors, units
from virtsim.core.spec import CpuMax, CpuSet, Duration, Frequency, Rate, Size, Spec
from virtsim.platform.reference import PAGES as PLATFORM_PAGES
from virtsim.results.schema import LATENCIES, METRICS, PERCENTILES
from virtsim.scenario.driver_domain import DriverDomain
from virtsim.scenario.guest import Group, Guest, Isolation, Limits, VirtualMachine
from virtsim.scenario.scenario import Scenario
from virtsim.validation.verdict import MARGINS, Verdict
from virtsim.workload.arrivals import Arrivals
from virtsim.workload.draw import Draw
from virtsim.workload.operations import Operation
from virtsim.workload.workload import Task, Workload

FOLDER = Path(__file__).resolve().parent / "reference"
MADE = "<!-- Made from the code by docs/generate.py; do not edit. Write it anew with: make golden -->\n"
QUANTITIES = {
    Duration: 'duration, as `"250us"`',
    Size: 'size, as `"4KiB"`',
    Rate: 'rate, as `"800/s"`',
    Frequency: 'frequency, as `"2.5GHz"`',
    CpuMax: 'bandwidth, as `"30ms/100ms"` or `"30%"`',
    CpuSet: 'CPUs, as `"0,2-3"`',
    Draw: 'duration or distribution, as `"exponential(1ms)"`',
    Arrivals: 'arrivals, as `"poisson(800/s)"`',
}


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


# -- scenarios -----------------------------------------------------------------------------------------


def scenario_page() -> str:
    """The TOML format, field by field, from the specs that read it."""
    parts = [
        "# Scenario files\n\n" + MADE,
        "A scenario is a TOML file; [how to run one](../how-to/run-a-scenario.md) shows some. Unknown fields, wrong\n"
        "types and values out of range are refused with the path of the field. `*` marks fields that must be there.\n",
        "## Scenario\n\n" + spec_table(Scenario),
        "## Guests\n\nTables `[[guests]]`. A guest has the fields of a group's limits, too.\n\n" + spec_table(Guest),
        "### Isolation\n\nTable `[guests.isolation]`.\n\n" + spec_table(Isolation),
        "### VirtualMachine\n\nTable `[guests.machine]`.\n\n" + spec_table(VirtualMachine),
        "### DriverDomain\n\nTable `[driver_domain]`.\n\n" + spec_table(DriverDomain),
        "## Limits\n\nFields of guests and of groups.\n\n" + spec_table(Limits),
        "## Groups\n\nTables `[[groups]]`.\n\n" + spec_table(Group, without=Limits),
        "## Workload\n\nTable `[guests.workload]`.\n\n" + spec_table(Workload),
        "### Tasks\n\nTables `[[guests.workload.tasks]]`.\n\n" + spec_table(Task),
        "## Operations\n\nTables in `program` and `body`; `op` says which.\n",
    ]
    for operation in get_args(Operation):
        summary = paragraphs(operation)
        fields = spec_table(operation) if operation.__struct_fields__ else ""
        parts.append(f"### `{operation.__struct_config__.tag}`\n\n{summary}\n\n{fields}")
    parts.append(quantities_section())
    return "\n".join(part.rstrip() + "\n" for part in parts)


def quantities_section() -> str:
    """How quantities are written."""
    rows = [
        ("duration", ", ".join(f"`{unit}`" for unit in units.DURATION_NS)),
        ("size", ", ".join(f"`{unit}`" for unit in units.SIZE_BYTES)),
        ("rate", ", ".join(f"`{unit}`" for unit in units.RATE_HZ)),
    ]
    draws, arrivals = (plain(inspect.getmodule(kind).__doc__ or "") for kind in (Draw, Arrivals))
    return (
        "## Quantities\n\nA quantity is a text: a number and a unit.\n\n"
        + table(("quantity", "units"), rows)
        + f"\n### Distributions\n\n{before_references(draws)}\n\n### Arrivals\n\n{before_references(arrivals)}\n"
    )


def spec_table(spec: type[Spec], without: type[Spec] | None = None) -> str:
    """Fields of a spec: type, default, meaning."""
    hints = get_type_hints(spec, include_extras=True)
    inherited = set() if without is None else set(without.__struct_fields__)
    if spec is Guest:
        inherited = set(Limits.__struct_fields__)
    meanings = documented_fields(spec)
    rows = []
    for field in msgspec.structs.fields(spec):
        if field.name in inherited:
            continue
        rows.append(
            (
                f"`{field.name}`" + ("*" if field.required else ""),
                type_text(hints[field.name]),
                default_text(field),
                meanings.get(field.name, ""),
            )
        )
    return table(("field", "type", "default", "meaning"), rows)


def type_text(hint: Any) -> str:
    """A type as a reader of TOML would call it."""
    if hint in QUANTITIES:
        return QUANTITIES[hint]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is typing.Annotated:
        return type_text(arguments[0]) + meta_text(arguments[1:])
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin is list:
        return f"list of {type_text(arguments[0])}"
    if origin is dict:
        return f"table of {type_text(arguments[0])} to {type_text(arguments[1])}"
    if origin is Union or "UnionType" in type(hint).__name__:
        if hint == Operation or set(arguments) == set(get_args(Operation)):
            return "operation"
        return " or ".join(type_text(part) for part in arguments if part is not type(None))
    if isinstance(hint, typing.ForwardRef):
        return "operation"
    if isinstance(hint, type) and issubclass(hint, Spec):
        return f"[{hint.__name__.lower()}](#{anchor(hint)})"
    return {str: "text", int: "whole number", float: "number", bool: "`true` or `false`"}.get(hint, str(hint))


def anchor(spec: type[Spec]) -> str:
    """Heading of a spec on the page."""
    return {Guest: "guests", Group: "groups", Task: "tasks"}.get(spec, spec.__name__.lower())


def meta_text(metas: Iterable[Any]) -> str:
    """Bounds that a type states."""
    texts = []
    for meta in metas:
        if meta.ge is not None or meta.le is not None:
            low, high = "" if meta.ge is None else f"{meta.ge}", "" if meta.le is None else f"{meta.le}"
            texts.append(f"{low} to {high}" if low and high else f"at least {low}" if low else f"at most {high}")
        if meta.pattern is not None and "A-Za-z0-9" in meta.pattern:
            path = " or the path of a card that ends with `.toml`" if "toml" in meta.pattern else ""
            texts.append(f"a name: letters, digits, `_`, `.`, `-`, at most 63{';' if path else ''}{path}")
        if meta.min_length:
            texts.append(f"{meta.min_length} to {meta.max_length} of them" if meta.max_length else "not empty")
    return f" ({'; '.join(texts)})" if texts else ""


def default_text(field: Any) -> str:
    """A field's default as TOML."""
    if field.required:
        return ""
    default = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    if default is None:
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, Duration):
        return f'`"{units.format_duration(default)}"`'
    if isinstance(default, Size):
        return f'`"{units.format_size(default)}"`'
    if isinstance(default, str):
        return f'`"{default}"`'
    return "none" if default in ([], {}) or isinstance(default, Spec) else f"`{default}`"


# -- docstrings ----------------------------------------------------------------------------------------


def plain(text: str) -> str:
    """A docstring as Markdown."""
    text = re.sub(r":\w+:`~?([^`]*)`", lambda match: f"`{match[1].rsplit('.', 1)[-1]}`", inspect.cleandoc(text))
    return text.replace("``", "`")


def paragraphs(entity: Any) -> str:
    """The docstring before its sections."""
    return re.split(r"\n\w+\n-{3,}\n", plain(entity.__doc__ or ""))[0].strip()


def before_references(text: str) -> str:
    """A module's docstring without its title and its references."""
    return re.split(r"\nReferences\n-+\n", text)[0].strip()


def documented_fields(entity: Any) -> dict[str, str]:
    """Meanings from the NumPy-style section Parameters or Attributes of a class and its bases."""
    found: dict[str, str] = {}
    for base in reversed(inspect.getmro(entity)):
        match = re.search(
            r"\n(?:Parameters|Attributes)\n-+\n(.*?)(?=\n\n\w[\w ]*\n-+\n|\Z)", plain(base.__doc__ or ""), re.DOTALL
        )
        if match is None:
            continue
        for names, body in re.findall(
            r"^(\S[^\n:]*?) ?(?::[^\n]*)?\n((?:(?:    [^\n]*)?\n?)*)", match[1], re.MULTILINE
        ):
            meaning = " ".join(body.split())
            for name in names.split(","):
                if meaning:
                    found[name.strip()] = meaning
    return found


# -- the other pages -----------------------------------------------------------------------------------


def metrics_page() -> str:
    """What runs report, and the margins of validation."""
    rows = [(f"`{name}`", column.unit, column.of, column.meaning) for name, column in METRICS.items()]
    margins = [
        (f"`{name}`", f"{margin.relative:.0%}", show_absolute(name, margin.absolute))
        for name, margin in MARGINS.items()
    ]
    verdicts = [(f"`{verdict.value}`", meaning) for verdict, meaning in comments_of(Verdict).items()]
    kinds = ", ".join(f"`{kind}`" for kind in LATENCIES)
    percentiles = ", ".join(f"`_p{percent}`" for percent in PERCENTILES)
    return (
        f"# Metrics\n\n{MADE}\n"
        "What `run.metrics()` and `virtsim run` report, for each guest (`web`) or task (`web/server`). Times are in\n"
        "nanoseconds (`ns`), `1` is a count, `B` are bytes, `Hz` hertz. A world that cannot tell a metric leaves it\n"
        "out.\n\n"
        f"{table(('metric', 'unit', 'of', 'meaning'), rows)}\n"
        "## What each world tells\n\n"
        "In the model `run_time`, `wait_time`, `throttled_time` and `sleep_time` of a task add up to its life, and\n"
        "those of a guest or a group to the sums over its tasks (but for `throttled_time`, which is counted by CPU,\n"
        "as in `cpu.stat`).\n\n"
        "The kernel counts a task's CPU time and its `run_delay` (`/proc/PID/schedstat`), time throttled included. It\n"
        "has no figure for being throttled, so for tasks with a quota around them `wait_time` and `throttled_time`\n"
        "are absent; for others `throttled_time` is 0. Without `schedstat`, `run_delay`, `wait_time` and `sleep_time`\n"
        "are absent. When a group was throttled (`run.throttles`) only the model tells; how long and how often, both\n"
        "do. Where tracefs cannot be mounted, a timeline has no wake-ups, and there is no `scheduling_latency`.\n\n"
        f"The latencies {kinds} come as `_mean` and as percentiles: {percentiles}.\n\n"
        "## Margins\n\nHow far model and kernel may be apart for a verdict of PASSED: the larger of the two.\n\n"
        f"{table(('metric', 'of the real value', 'or'), margins)}\n"
        f"## Verdicts\n\n{table(('verdict', 'meaning'), verdicts)}"
    )


def show_absolute(metric: str, value: float) -> str:
    """An absolute margin with its unit."""
    if not value:
        return "–"
    return f"{value:g}" if metric in METRICS and METRICS[metric].unit == "1" else units.show_duration(value)


def comments_of(enum: Any) -> dict[Any, str]:
    """The ``#:`` comments above an enumeration's members."""
    found = re.findall(r"#: (.*)\n\s+(\w+) =", inspect.getsource(enum))
    return {enum[name]: text for text, name in found}


def errors_page() -> str:
    """The tree of errors."""
    rows = []
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, errors.VirtsimError):
            rows.append((f"`{name}`", f"`{kind.__bases__[0].__name__}`", paragraphs(kind)))
    return (
        f"# Errors\n\n{MADE}\n"
        "All errors that virtsim raises on purpose are `VirtsimError`s, found in `virtsim.core.errors`. A message\n"
        "says what is wrong, where, and what to do. The command line prints it as one line, with exit code 2.\n\n"
        f"{table(('error', 'is a', 'when'), rows)}\n"
        "## Exit codes\n\n"
        + table(
            ("code", "meaning"),
            [
                ("0", "done"),
                ("1", "done, but a validation failed or an experiment's claim does not hold"),
                ("2", "refused: one line on standard error says why"),
                ("130", "interrupted"),
            ],
        )
    )


def cli_page() -> str:
    """Every command with its arguments and options, as the parser knows them."""
    root = typer.main.get_command(app)
    parts = [
        f"# Command line\n\n{MADE}",
        "`virtsim COMMAND --help` prints the same. Without the command installed, `python -m virtsim` is `virtsim`.\n",
    ]
    for name, command in commands(root, "virtsim"):
        rows = [option_row(parameter) for parameter in command.params if parameter.name != "help"]
        text = plain(command.help or "").replace("\f", "")
        parts.append(
            f"## `{name}`\n\n{text}\n\n" + (table(("argument or option", "default", "meaning"), rows) if rows else "")
        )
    return "\n".join(part.rstrip() + "\n" for part in parts)


def commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """A command and those below it."""
    if hasattr(command, "commands"):
        for child in command.commands.values():
            yield from commands(child, f"{name} {child.name}")
    else:
        yield name, command


def option_row(parameter: Any) -> tuple[str, str, str]:
    """An option or an argument."""
    metavar = parameter.metavar or ""
    if parameter.param_type_name == "argument":
        shown = f"`{metavar or parameter.name.upper()}`"
    else:
        value = "" if getattr(parameter, "is_flag", False) else f" {metavar or 'VALUE'}"
        shown = f"`{', '.join(parameter.opts)}{value}`"
    default = parameter.default
    default = getattr(default, "value", default)
    hidden = default is None or default is False or callable(default) or "Sentinel" in type(default).__name__
    return shown, "" if hidden or default == () else f"`{default}`", getattr(parameter, "help", None) or ""


def api_page() -> str:
    """The public names: signatures and docstrings."""
    parts = [
        f"# Python interface\n\n{MADE}",
        "The names of `import virtsim as vs`. What is promised to stay is in [API stability](api-stability.md).\n",
    ]
    for name in virtsim.__all__:
        entity = getattr(virtsim, name)
        if inspect.ismodule(entity):
            parts.append(f"## `{name}`\n\nThe module `{entity.__name__}`: {members(entity)}\n\n{paragraphs(entity)}\n")
            continue
        doc = plain(entity.__doc__ or "")
        doc = re.sub(r"^(\w[\w ]*)\n-{3,}$", r"**\1**\n", doc, flags=re.MULTILINE)
        doc = re.sub(r"^(\w[\w, ]*) : (.*)$", r"- `\1` : \2", doc, flags=re.MULTILINE)
        doc = re.sub(r"(?ms)^((?:>>> |\.\.\. ).*?)(?=\n\n|\Z)", r"```pycon\n\1\n```", doc)
        parts.append(f"## `{name}`\n\n{signature(name, entity)}{doc}\n")
    return "\n".join(part.rstrip() + "\n" for part in parts)


def signature(name: str, entity: Any) -> str:
    """A function's parameters in one block; classes say theirs in their docstring."""
    if not inspect.isfunction(entity):
        return ""
    parameters = [str(p).replace("'", "") for p in inspect.signature(entity).parameters.values()]
    star = next(
        (i for i, p in enumerate(inspect.signature(entity).parameters.values()) if p.kind is p.KEYWORD_ONLY), None
    )
    if star is not None:
        parameters.insert(star, "*")
    returns = str(inspect.signature(entity).return_annotation).replace("'", "")
    return f"```text\n{name}(\n" + "".join(f"    {text},\n" for text in parameters) + f") -> {returns}\n```\n\n"


def members(module: Any) -> str:
    """Public functions and classes that a module defines."""
    own = [n for n, e in vars(module).items() if getattr(e, "__module__", "") == module.__name__ and n[0] != "_"]
    return ", ".join(f"`{name}`" for name in own) + "."


PAGES: dict[str, Callable[[], str]] = {
    "scenario-files.md": scenario_page,
    "metrics.md": metrics_page,
    "errors.md": errors_page,
    "command-line.md": cli_page,
    "python-interface.md": api_page,
    **PLATFORM_PAGES,
}


def main() -> int:
    """Write the pages, or check them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a page would change")
    check = parser.parse_args().check
    stale = []
    for name, make in PAGES.items():
        path, text = FOLDER / name, make()
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if not check:
                path.write_text(text, encoding="utf-8")
    if stale:
        print(("would change: " if check else "written: ") + ", ".join(stale))
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
