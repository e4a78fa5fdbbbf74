"""Live migration against the published cases, and against arithmetic."""

from __future__ import annotations

import pytest

from virtsim.cluster.migration import (
    CLARK_2005,
    MEGABIT_BYTES,
    Dirtying,
    DirtyPages,
    Strategy,
    plan_migration,
)
from virtsim.core.errors import SpecError
from virtsim.core.spec import Size

MB = 1_000_000


@pytest.mark.parametrize(("megabits", "seconds"), [(128, 32), (256, 16), (512, 8)])
def test_stop_and_copy_of_512_mb(megabits: int, seconds: float) -> None:
    """Clark et al. 2005, section 3: the upper bound of the downtime."""
    strategy = Strategy(kind="stop-and-copy", state="0B", restart="0s")
    plan = plan_migration(strategy, 512 * MB, bandwidth=megabits * MEGABIT_BYTES)
    assert plan.downtime_s == plan.duration_s == seconds


def test_a_guest_that_writes_nothing_is_sent_once() -> None:
    plan = plan_migration(Strategy(state="0B", restart="0s"), 100 * MB, bandwidth=10e6)
    assert plan.rounds == [(100 * MB, 10.0), (0, 0.0)]
    assert plan.downtime_s == 0


#: SPECweb99 of Clark et al. 2005: two sets fitted to the dirty memory that their rounds report (time, MB): (54.1,
#: 126.7), (10.1, 39.0), (3.1, 28.4), (2.3, 24.2), (1.6, 16.7), (0.85, 14.2), (0.62, 15.3), (0.5, 18.2).
SPECWEB = Dirtying(
    sets=[
        DirtyPages(size=Size(13_842_000), rate=Size(600 * MB)),
        DirtyPages(size=Size(198_944_000), rate=Size(3_029_000)),
    ]
)


def test_specweb_of_clark_2005() -> None:
    """800 MB: 71 s, 960 MB in nine rounds, 210 ms of downtime.

    The model leaves out that their rounds fluctuate, which ended theirs at 345 Mb/s: it goes on to the limit of
    500 Mb/s. Expected within 20 %.
    """
    plan = plan_migration(CLARK_2005, 800 * MB, SPECWEB, 125e6)
    print(f"{plan.duration_s:.1f} s (71), {plan.sent_bytes / MB:.0f} MB (960), {plan.downtime_s * 1e3:.0f} ms (210)")
    assert plan.duration_s == pytest.approx(71, rel=0.2)
    assert plan.sent_bytes == pytest.approx(960 * MB, rel=0.2)
    assert plan.downtime_s == pytest.approx(0.210, rel=0.2)
    sizes = [size / MB for size, _ in plan.rounds]
    for ours, theirs in zip(sizes[1:8], (126.7, 39.0, 28.4, 24.2, 16.7, 14.2, 15.3)):
        assert ours == pytest.approx(theirs, rel=0.3)


def test_static_web_of_clark_2005() -> None:
    """776 of 800 MB go in the first round of 62 s at 100 Mb/s, because the other 24 MB are being written."""
    hot = Dirtying(sets=[DirtyPages(size=Size(24 * MB), rate=Size(24 * MB))])
    plan = plan_migration(CLARK_2005, 800 * MB, hot, 125e6)
    size, seconds = plan.rounds[0]
    assert size == pytest.approx(776 * MB, rel=0.005)
    assert seconds == pytest.approx(62, rel=0.01)


def test_rates_follow_the_dirty_rate() -> None:
    """Section 5.3: a round's limit is the dirty rate of the round before plus 50 Mb/s, never below 100."""
    plan = plan_migration(CLARK_2005, 800 * MB, SPECWEB, 125e6)
    rates = [size / seconds / MEGABIT_BYTES for size, seconds in plan.rounds if seconds]
    assert rates[0] == pytest.approx(100)
    for i in range(1, len(rates) - 1):
        dirty_rate = plan.rounds[i][0] / plan.rounds[i - 1][1] / MEGABIT_BYTES
        assert rates[i] == pytest.approx(max(100, dirty_rate + 50), rel=1e-6)
    assert rates[-1] == pytest.approx(500)
    dirty_rate = plan.rounds[-1][0] / plan.rounds[-2][1] / MEGABIT_BYTES
    assert dirty_rate + 50 > 500


def test_one_round_of_pre_copy_saves_a_factor_of_four() -> None:
    """Figure 2 to 5 of Clark et al.: at least 4 for the start of SPECweb."""
    stop = plan_migration(Strategy(kind="stop-and-copy"), 800 * MB, SPECWEB, 12.5e6)
    one = plan_migration(Strategy(most_rounds=1, stop_below="0B", downtime="0s"), 800 * MB, SPECWEB, 12.5e6)
    assert stop.downtime_s / one.downtime_s > 4


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
