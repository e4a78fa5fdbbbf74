"""The entry point: errors become one line and an exit code, whatever the command.

Exit codes: 0 done, 1 done but not passed (a validation, an experiment's claim), 2 refused, 130 interrupted.
"""

from __future__ import annotations

import signal
import sys
import warnings
from collections.abc import Sequence
from types import FrameType
from typing import Any, NoReturn

from virtsim.core.errors import VirtsimError

#: What the command line is drawn with: the extra ``cli``.
_EXTRA = ("typer", "click", "rich", "shellingham", "tqdm")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    try:
        from virtsim.cli.app import app
    except ModuleNotFoundError as problem:
        if problem.name not in _EXTRA:
            raise
        return _refuse(f"the command line needs the package {problem.name!r}; run: pip install 'virtsim[cli]'")
    warnings.showwarning = _note  # type: ignore[assignment]
    signal.signal(signal.SIGTERM, _terminated)
    try:
        code = app(args=None if arguments is None else list(arguments), standalone_mode=False, prog_name="virtsim")
    except VirtsimError as problem:
        return _refuse(str(problem))
    except ModuleNotFoundError as problem:
        if (problem.name or "virtsim").startswith("virtsim"):
            raise
        return _refuse(f"this needs the package {problem.name!r}; run: pip install 'virtsim[all]'")
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as problem:
        return _refuse(f"{problem.filename or 'a file'}: {problem.strerror or problem}")
    except KeyboardInterrupt:
        code = 130
    except Exception as problem:
        # Typer's own errors (an unknown option, a missing argument), whichever click they come from.
        if not hasattr(problem, "format_message"):
            if type(problem).__name__ != "Abort":
                raise
            code = 130
        else:
            return _refuse(f"{problem.format_message()}{_help(problem)}")
    if code == 130:
        print("virtsim: interrupted", file=sys.stderr)
    return code if isinstance(code, int) else 0


def _refuse(message: str) -> int:
    print(f"virtsim: error: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _help(problem: Any) -> str:
    context = getattr(problem, "ctx", None)
    return f" (see: {context.command_path} --help)" if context is not None else ""


def _note(message: Warning | str, category: type[Warning], *_: Any) -> None:
    if issubclass(category, UserWarning):
        print(f"virtsim: note: {' '.join(str(message).split())}", file=sys.stderr)


def _terminated(number: int, frame: FrameType | None) -> NoReturn:
    """Leave through every ``finally``, so that a real run takes its groups down."""
    raise SystemExit(128 + number)
