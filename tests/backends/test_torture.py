"""Nothing stays behind, however a run ends."""

from __future__ import annotations

import os
import threading

import pytest

from tests.backends.torture import WAYS, remains, runners, scenario, torture
from virtsim.backends import observe

pytestmark = pytest.mark.needs("container")


def test_the_search_finds_a_run_that_is_there() -> None:
    """Else finding nothing would mean nothing."""
    seen: list[int] = []
    watch = threading.Timer(0.9, lambda: seen.extend((len(runners(os.getpid())), len(remains(os.getpid())))))
    watch.start()
    observe(scenario(), repeats_if_disturbed=0, timeline=True)
    watch.join()
    processes, everything = seen
    assert processes >= 1 + 3 + 4  # supervisor, first processes, tasks
    assert everything >= processes + 4
    assert remains(os.getpid()) == []


def test_six_rude_ends_leave_nothing() -> None:
    cut_short = torture(6, seed=3)
    assert set(cut_short) == set(WAYS)
    assert sum(cut_short.values()) >= 3


@pytest.mark.slow
def test_three_hundred_rude_ends_leave_nothing() -> None:
    assert sum(torture(300, seed=4).values()) > 200
