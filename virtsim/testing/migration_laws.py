"""What a migration must keep, over a link of its own."""

from __future__ import annotations

from typing import Any

from virtsim.cluster.migration import Dirtying, MigrationPlan, plan_migration
from virtsim.testing.laws import law, require

# pytest shows where the user asked, and not the way from there.
__tracebackhide__ = True

# Times are sums of floats.
_ROUNDING = 1 + 1e-9


def plan_of(strategy: Any, memory: int, dirtying: Dirtying, bandwidth: float) -> MigrationPlan:
    """What a strategy does: a ``Strategy``, or an object with a method ``plan(memory, dirtying, bandwidth)``."""
    own = getattr(strategy, "plan", None)
    if own is not None:
        plan: MigrationPlan = own(memory, dirtying, bandwidth)
        return plan
    return plan_migration(strategy, memory, dirtying, bandwidth)


def _case(memory: int, dirtying: Dirtying, bandwidth: float, plan: MigrationPlan) -> str:
    sets = ", ".join(f"{one.size} bytes at {one.rate} B/s" for one in dirtying.sets) or "nothing"
    return f"{memory} bytes, of which are written {sets}, over {bandwidth:g} B/s: {plan}"


@law("all-memory-is-sent", "migration")
def all_memory_is_sent(strategy: Any, memory: int, dirtying: Dirtying, bandwidth: float) -> None:
    """A migration never sends fewer bytes than the guest's memory has, its CPU and device state not counted."""
    plan = plan_of(strategy, memory, dirtying, bandwidth)
    sent = plan.sent_bytes - int(getattr(strategy, "state", 0))
    require(sent >= memory, "all-memory-is-sent", strategy, _case(memory, dirtying, bandwidth, plan))


@law("stands-within-its-migration", "migration")
def stands_within_its_migration(strategy: Any, memory: int, dirtying: Dirtying, bandwidth: float) -> None:
    """A guest stands no longer than its whole migration takes, and no negative time."""
    plan = plan_of(strategy, memory, dirtying, bandwidth)
    fine = 0 <= plan.downtime_s <= plan.duration_s * _ROUNDING
    require(fine, "stands-within-its-migration", strategy, _case(memory, dirtying, bandwidth, plan))


@law("bytes-take-their-time", "migration")
def bytes_take_their_time(strategy: Any, memory: int, dirtying: Dirtying, bandwidth: float) -> None:
    """A migration takes at least as long as the link needs for the bytes that it sends."""
    plan = plan_of(strategy, memory, dirtying, bandwidth)
    fine = plan.duration_s * _ROUNDING >= plan.sent_bytes / bandwidth
    require(fine, "bytes-take-their-time", strategy, _case(memory, dirtying, bandwidth, plan))


@law("faster-links-do-not-slow", "migration")
def faster_links_do_not_slow(strategy: Any, memory: int, dirtying: Dirtying, bandwidth: float) -> None:
    """A guest that writes nothing is not moved more slowly over a link twice as fast."""
    still = plan_of(strategy, memory, Dirtying(), bandwidth)
    faster = plan_of(strategy, memory, Dirtying(), 2 * bandwidth)
    fine = faster.duration_s <= still.duration_s * _ROUNDING
    require(fine, "faster-links-do-not-slow", strategy, _case(memory, Dirtying(), bandwidth, still))
