"""What an overload detector must keep."""

from __future__ import annotations

from typing import Any

import numpy as np

from virtsim.testing.laws import law, require

# pytest shows where the user asked, and not the way from there.
__tracebackhide__ = True


def _overloaded(detector: Any, history: np.ndarray, law_name: str) -> np.ndarray:
    mask = np.asarray(detector.overloaded(history.copy()))
    require(
        mask.shape == (len(history),) and mask.dtype == bool,
        law_name,
        detector,
        f"the answer has shape {mask.shape} and type {mask.dtype}, for {len(history)} hosts",
    )
    return mask


@law("one-answer-a-host", "detector")
def one_answer_a_host(detector: Any, history: np.ndarray) -> None:
    """One truth value a host, the same when asked again, and the history is left as it was."""
    before = history.copy()
    first, second = detector.overloaded(history), detector.overloaded(history)
    require(bool((history == before).all()), "one-answer-a-host", detector, "the history was changed")
    _overloaded(detector, history, "one-answer-a-host")
    same = bool((np.asarray(first) == np.asarray(second)).all())
    require(same, "one-answer-a-host", detector, f"two answers: {history.tolist()}")


@law("each-host-by-itself", "detector")
def each_host_by_itself(detector: Any, history: np.ndarray) -> None:
    """Whether a host is overloaded does not depend on the other hosts, nor on its place among them."""
    mask = _overloaded(detector, history, "each-host-by-itself")
    turned = _overloaded(detector, history[::-1], "each-host-by-itself")[::-1]
    alone = np.concatenate([_overloaded(detector, row[None, :], "each-host-by-itself") for row in history])
    same = bool((mask == turned).all() and (mask == alone).all())
    require(same, "each-host-by-itself", detector, f"{history.tolist()}")


@law("idle-is-not-overloaded", "detector")
def idle_is_not_overloaded(detector: Any, history: np.ndarray) -> None:
    """A host that has always been idle is not overloaded."""
    mask = _overloaded(detector, np.zeros_like(history), "idle-is-not-overloaded")
    require(not mask.any(), "idle-is-not-overloaded", detector, f"{history.shape[1]} samples of 0")


@law("beyond-full-is-overloaded", "detector")
def beyond_full_is_overloaded(detector: Any, history: np.ndarray) -> None:
    """A host of which more is asked than it has, now and always, is overloaded."""
    mask = _overloaded(detector, np.full_like(history, 1.05), "beyond-full-is-overloaded")
    require(bool(mask.all()), "beyond-full-is-overloaded", detector, f"{history.shape[1]} samples of 1.05")


@law("more-load-is-no-relief", "detector")
def more_load_is_no_relief(detector: Any, history: np.ndarray) -> None:
    """A host that is overloaded stays so if more is asked of it now."""
    mask = _overloaded(detector, history, "more-load-is-no-relief")
    more = history.copy()
    more[:, -1] += 0.1
    relieved = mask & ~_overloaded(detector, more, "more-load-is-no-relief")
    require(
        not relieved.any(), "more-load-is-no-relief", detector, f"{history[relieved].tolist()} with 0.1 more at last"
    )
