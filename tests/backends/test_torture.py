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
    seen: list[tuple[int, int]] = [(0, 0)]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            seen.append((len(runners(os.getpid())), len(remains(os.getpid()))))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        observe(scenario(), repeats_if_disturbed=0, timeline=True)
    finally:
        over.set()
        watcher.join()
    processes, everything = max(seen)
    assert processes >= 1 + 3 + 4  # supervisor, first processes, tasks
    assert everything >= processes + 3  # a group, a folder, a journal entry
    assert remains(os.getpid()) == []


def test_six_rude_ends_leave_nothing() -> None:
    cut_short = torture(6, seed=3)
    assert set(cut_short) == set(WAYS)
    assert sum(cut_short.values()) >= 4


@pytest.mark.slow
def test_three_hundred_rude_ends_leave_nothing() -> None:
    cut_short = torture(300, seed=4)
    print(dict(cut_short))
    assert min(cut_short[way] for way in WAYS) > 50
