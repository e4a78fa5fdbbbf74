"""``virtsim overhead``: what work costs more on some stacks than on another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from virtsim.cli.console import check_target, show_table, write_json
from virtsim.cli.options import Json, Seed

if TYPE_CHECKING:
    from virtsim.platform.overhead import Overhead


def overhead(
    work: Annotated[
        str, typer.Argument(metavar="WORK", help="A mix: units-of-work/compile, FILE.toml/mix; or an event.")
    ],
    stacks: Annotated[
        str, typer.Option("--stack", metavar="S1,S2", help="Stack cards, or files; ONE-on-OTHER stacks them.")
    ],
    host: Annotated[str, typer.Option("--host", metavar="NAME", help="Host card with the prices, or a file.")],
    base: Annotated[str, typer.Option(metavar="STACK", help="What they are compared with.")] = "native",
    n: Annotated[int, typer.Option("-n", help="Draws of the prices.", min=100, max=100_000)] = 1000,
    seed: Seed = 0,
    json: Json = None,
) -> None:
    """Compare what work costs on stacks.

    CPU time of everybody for one unit of it, over the base, with 90 % intervals from those of the prices.
    """
    from virtsim.platform.overhead import COLUMNS, overheads

    check_target("--json", json)
    found = overheads(work, [name.strip() for name in stacks.split(",")], host, base=base, n=n, seed=seed)
    if json is not None:
        write_json(json, {"work": work, "base": base, "host": found.host, "rows": [_plain(row) for row in found]})
    if json != "-":
        show_table(found.title, COLUMNS, found.cells(), right=COLUMNS[1:])


def _plain(row: Overhead) -> dict[str, Any]:
    return {"stack": row.stack, "cost_ns": row.cost_ns._asdict(), "over": row.over._asdict(), "assumed": row.assumed}
