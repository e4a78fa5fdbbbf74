"""Live migration against arithmetic; against published cases: ``test_migration_cases.py``."""

from __future__ import annotations

import pytest

from tests.cluster.migration_cases import dirtying
from virtsim.cluster.migration import (
    Dirtying,
    DirtyPages,
    Strategy,
    plan_migration,
)
from virtsim.core.errors import SpecError
from virtsim.core.spec import Size

MB = 1_000_000


def test_a_guest_that_writes_nothing_is_sent_once() -> None:
    plan = plan_migration(Strategy(state="0B", restart="0s"), 100 * MB, bandwidth=10e6)
    assert plan.rounds == [(100 * MB, 10.0), (0, 0.0)]
    assert plan.downtime_s == 0


SPECWEB = dirtying("SPECweb99")


def test_a_guest_that_writes_faster_than_the_link_ends_by_rounds_or_bytes() -> None:
    hot = Dirtying(sets=[DirtyPages(size=Size(500 * MB), rate=Size(10_000 * MB))])
    rounds = plan_migration(Strategy(most_rounds=5, most_sent=1000.0), 800 * MB, hot, 100e6)
    assert len(rounds.rounds) == 6
    sent = plan_migration(Strategy(most_rounds=1000, most_sent=2.0), 800 * MB, hot, 100e6)
    assert sent.sent_bytes <= 2 * 800 * MB + 500 * MB + MB


def test_post_copy_stands_briefly_and_sends_everything_once() -> None:
    plan = plan_migration(Strategy(kind="post-copy", state="1MB"), 800 * MB, SPECWEB, 125e6)
    assert plan.sent_bytes == 801 * MB
    assert plan.downtime_s == pytest.approx(0.018)
    assert plan.lost_s > 0
    idle = plan_migration(Strategy(kind="post-copy"), 800 * MB, Dirtying(), 125e6)
    assert idle.lost_s == 0


def test_errors_name_the_field() -> None:
    with pytest.raises(SpecError, match="bandwidth"):
        plan_migration(Strategy(), MB, bandwidth=0)
    with pytest.raises(SpecError, match="written pages are more than the guest's memory"):
        plan_migration(Strategy(), MB, SPECWEB)
    with pytest.raises(SpecError, match="most_rate"):
        Strategy(rate_step="1MB")
