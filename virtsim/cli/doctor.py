"""``virtsim doctor``: what this machine has for the real back end."""

from __future__ import annotations

from typing import Annotated

import typer

from virtsim.cli.console import say, show_table, write_json


def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    clean: Annotated[bool, typer.Option("--clean", help="First remove what runs of dead owners left behind.")] = False,
) -> None:
    """Tell what this machine has for real runs.

    Each capability: there or not, why, and how to get it.
    """
    from virtsim.backends import clean as remove
    from virtsim.backends import doctor as examine

    cleaned = remove() if clean else []
    found = examine()
    if json:
        write_json("-", {"capabilities": [capability._asdict() for capability in found], "cleaned": cleaned})
        return
    if clean:
        say(f"cleaned up after: {', '.join(cleaned)}" if cleaned else "nothing was left behind")
    rows = [(c.name, "yes" if c.present else "no", c.why if c.present else f"{c.why}: {c.how_to_fix}") for c in found]
    show_table(
        "this machine", ("capability", "there", "why; if not, what to do"), rows, fold=("why; if not, what to do",)
    )
