"""One tree of errors. A message says what is wrong, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint for a message, with a blank behind it, if one of the known names is like the unknown one; else empty."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]!r}? " if close else ""


class VirtsimError(Exception):
    """Base of every error that virtsim raises on purpose."""


class SpecError(VirtsimError, ValueError):
    """A scenario, card or option is not acceptable; nothing was done.

    Parameters
    ----------
    path : str
        Where: ``"file.toml: guests[0].cpu_max"`` or just the path of the field.
    reason : str
        What is wrong and, where it helps, what would be accepted. One line.
    """

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = " ".join(reason.split())
        super().__init__(f"{path}: {self.reason}" if path else self.reason)

    def __reduce__(self) -> tuple[type[SpecError], tuple[str, str]]:
        return type(self), (self.path, self.reason)

    def inside(self, prefix: str) -> SpecError:
        """The same error seen from one level up: ``prefix`` is put before the path."""
        if not self.path:
            return SpecError(prefix, self.reason)
        joint = "" if self.path.startswith("[") or prefix.endswith(": ") else "."
        return SpecError(f"{prefix}{joint}{self.path}", self.reason)


class ModelError(VirtsimError):
    """A model was asked for something it does not describe."""


class BackendError(VirtsimError):
    """Base of what can go wrong with a real back end."""


class BackendUnavailable(BackendError):
    """A back end cannot run here, and will not until something is changed.

    Parameters
    ----------
    capability : str
        What is missing, as ``virtsim doctor`` names it.
    how_to_fix : str
        What to install, mount or allow.
    """

    def __init__(self, capability: str, how_to_fix: str) -> None:
        self.capability = capability
        self.how_to_fix = how_to_fix
        super().__init__(f"{capability} is not available here; {how_to_fix}")

    def __reduce__(self) -> tuple[type[BackendUnavailable], tuple[str, str]]:
        return type(self), (self.capability, self.how_to_fix)


class BackendDisturbed(BackendError):
    """A run was made but something else disturbed it; repeating may help."""


class BackendTimeout(BackendError):
    """A run did not end in its time and was ended."""


class CalibrationError(VirtsimError):
    """Prices could not be fitted from the measurements at hand."""
