"""``virtsim models``: the cards of hosts, stacks, workloads and more."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from virtsim.cli.console import say, show_table
from virtsim.core.data import card_names, find_card, models_folder, user_folder
from virtsim.core.errors import SpecError
from virtsim.core.spec import read_toml


def models(
    kind: Annotated[str | None, typer.Argument(metavar="[KIND]", help="hosts, stacks, workloads, ...")] = None,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Show this card.")] = None,
) -> None:
    """List or show cards of hosts, stacks and more."""
    kinds = _kinds()
    if kind is None:
        rows = [(each, len(card_names(each)), ", ".join(card_names(each)[:6])) for each in kinds]
        show_table("cards", ("kind", "cards", "for example"), rows, right=("cards",), fold=("for example",))
        say(f"your own cards go into {user_folder()}/KIND and are searched first")
    elif kind not in kinds:
        raise SpecError("kind", f"there are no cards of the kind {kind[:60]!r}; there are: {', '.join(kinds)}")
    elif name is None:
        cards = [(each, _description(find_card(kind, each, "card"))) for each in card_names(kind)]
        show_table(kind, ("name", "description"), cards, fold=("description",))
    else:
        path = find_card(kind, name, f"card in {kind}")
        say(path.read_text(encoding="utf-8").rstrip())


def _kinds() -> list[str]:
    folders = [folder for root in (models_folder(), user_folder()) if root.is_dir() for folder in root.iterdir()]
    return sorted({folder.name for folder in folders if any(folder.glob("*.toml"))})


def _description(path: Path) -> str:
    """The card's own words; an unreadable card says so, the others are still listed."""
    try:
        data = read_toml(path)
    except SpecError as problem:
        return f"not readable: {problem.reason}"
    return str(data.get("description") or data.get("title") or "")
