"""``virtsim explain``: what an event costs on a stack, and why."""

from __future__ import annotations

from typing import Annotated

import typer

from virtsim.cli.console import say
from virtsim.core.units import parse_size


def explain(
    event: Annotated[str, typer.Argument(metavar="EVENT", help="null, page_fault, fork_exec, ...")],
    stack: Annotated[str, typer.Option("--stack", help="A stack card, or a file; ONE-on-OTHER stacks them.")],
    host: Annotated[str | None, typer.Option("--host", help="Host card, or a file; no prices if absent.")] = None,
    size: Annotated[str, typer.Option("--size", help="For events that have a size: 4KiB.")] = "0B",
) -> None:
    """Take an event apart on a stack.

    Who handles it, how often, at what price, and where the price is from.
    """
    from virtsim.core.errors import SpecError
    from virtsim.platform.host import load_host
    from virtsim.platform.stack import load_stack

    try:
        size_bytes = parse_size(size)
    except ValueError as problem:
        raise SpecError("--size", str(problem)) from None
    card = load_host(host) if host is not None else None
    say(str(load_stack(stack).explain(event, card, size_bytes)))
