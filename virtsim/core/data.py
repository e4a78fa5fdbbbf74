"""Where cards are found: the folder ``models/`` in a checkout or in the wheel, and the user's own folder."""

from __future__ import annotations

import os
from functools import cache
from importlib import resources
from pathlib import Path

from virtsim.core.errors import SpecError, did_you_mean


@cache
def models_folder() -> Path:
    """The shipped cards: next to the package in a checkout, inside it (``virtsim.models``) in a wheel."""
    package = Path(__file__).resolve().parent.parent
    beside = package.parent / "models"
    if (package.parent / "pyproject.toml").is_file() and beside.is_dir():
        return beside
    return Path(str(resources.files("virtsim") / "models"))


def user_folder() -> Path:
    """``$XDG_CONFIG_HOME/virtsim``, or ``~/.config/virtsim``: the user's own cards, searched first."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(base) if base else Path.home() / ".config") / "virtsim"


def card_names(kind: str) -> list[str]:
    """Names of the cards of a kind (``hosts``, ``stacks``, ``workloads``, ...), sorted."""
    folders = (user_folder() / kind, models_folder() / kind)
    return sorted({path.stem for folder in folders if folder.is_dir() for path in folder.glob("*.toml")})


def find_card(kind: str, name: str, what: str) -> Path:
    """Path of a card; the user's own card goes before a shipped one of the same name.

    A name that ends with ``.toml`` is the path of a card that is anywhere else.

    Raises
    ------
    SpecError
        If there is none; lists the known names. ``what`` says what the card is, for the message.
    """
    if name.endswith(".toml"):
        path = Path(name)
        if path.is_file():
            return path
        raise SpecError("", f"there is no {what} card {name[-200:]!r} below {Path.cwd()}")
    if "/" not in name and "\\" not in name:
        for folder in (user_folder() / kind, models_folder() / kind):
            path = folder / f"{name}.toml"
            if path.is_file():
                return path
    known = card_names(kind)
    hint = did_you_mean(name, known)
    raise SpecError("", f"no {what} is called {name[:60]!r}; {hint}known: {', '.join(known) or 'none'}")
