"""Live migration: pre-copy, post-copy, stop-and-copy; what is sent, for how long, and how long the guest stands.

The strategies are generators that ask for transfers and are told how long each took. :func:`plan_migration` drives
one over a link of constant bandwidth; the cluster drives the same one over links that others use too.

References
----------
C. Clark et al., "Live migration of virtual machines", NSDI 2005 (pre-copy, sections 3 and 5.3). M. R. Hines, K.
Gopalan, "Post-copy based live virtual machine migration using adaptive pre-paging and dynamic self-ballooning",
VEE 2009.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from msgspec import Meta

from virtsim.core.errors import ModelError, SpecError
from virtsim.core.spec import Duration, Size, Spec
from virtsim.core.units import NS_PER_S

PAGE_BYTES = 4096
#: What Clark et al. call Mb/s, in bytes per second.
MEGABIT_BYTES = 125_000


class DirtyPages(Spec, frozen=True, kw_only=True):
    """A set of pages that are written with equal frequency.

    Parameters
    ----------
    size : Size
        How many bytes of pages.
    rate : Size
        Bytes of pages written per second, repeats counted; in time t, ``size * (1 - exp(-rate * t / size))`` bytes
        are dirtied at least once.
    """

    size: Size
    rate: Size


class Dirtying(Spec, frozen=True, kw_only=True):
    """How a guest writes to its memory: its writable working set is the sum of such sets.

    Parameters
    ----------
    sets : list of DirtyPages
        Disjoint; what is in none of them is never written.
    """

    sets: list[DirtyPages] = []

    def dirtied_bytes(self, seconds: float) -> float:
        """Bytes of pages written at least once in this time."""
        return sum(one.size * -math.expm1(-one.rate * seconds / one.size) for one in self.sets if one.size > 0)

    def overtaken_bytes(self, seconds: float, start: list[float]) -> float:
        """Of ``start`` bytes a set, sent at an even pace over this time, those written again before their turn."""
        total = 0.0
        for one, size in zip(self.sets, start):
            x = one.rate * seconds / one.size if one.size > 0 else 0.0
            total += size * (1 + math.expm1(-x) / x) if x > 1e-12 else 0.0
        return total

    def by_set(self, seconds: float) -> list[float]:
        """:meth:`dirtied_bytes`, set by set."""
        return [one.size * -math.expm1(-one.rate * seconds / one.size) if one.size > 0 else 0.0 for one in self.sets]


class Strategy(Spec, frozen=True, kw_only=True):
    """How a guest is moved.

    Parameters
    ----------
    kind : str
        ``pre-copy``, ``post-copy`` or ``stop-and-copy``.
    least_rate, most_rate : Size
        Bytes per second that a migration takes at least, and at most (the last copy goes at most_rate). 0 for
        most_rate: whatever the links give.
    rate_step : Size
        Pre-copy, adaptive: a round's rate is the dirty rate of the round before plus this. 0: always most_rate.
    stop_below : Size
        Pre-copy: copy the rest at once when so little is dirty.
    downtime : Duration
        Pre-copy: copy the rest at once when that would take no longer than this. 0: no such rule.
    most_rounds : int
        Pre-copy: copy the rest at once after so many rounds.
    most_sent : float
        Pre-copy: copy the rest at once when so many times the memory has been sent.
    skip_dirty : bool
        Pre-copy: a page that was written since the round began is left for the next round.
    restart : Duration
        Time to stop the guest here and start it there, besides copying.
    state : Size
        CPU and device state, sent while the guest stands.
    round_trip : Duration
        Post-copy: time of one fault over the network, besides its page.
    prepaged : float
        Post-copy: share of the faults that are avoided because the page before them brought theirs along.
    """

    kind: Literal["pre-copy", "post-copy", "stop-and-copy"] = "pre-copy"
    least_rate: Size = Size(0)
    most_rate: Size = Size(0)
    rate_step: Size = Size(0)
    stop_below: Size = Size(256 * 1024)
    downtime: Duration = Duration(300_000_000)
    most_rounds: Annotated[int, Meta(ge=1, le=10_000)] = 29
    most_sent: Annotated[float, Meta(ge=1, le=1000)] = 3.0
    skip_dirty: bool = True
    restart: Duration = Duration(10_000_000)
    state: Size = Size(1_000_000)
    round_trip: Duration = Duration(200_000)
    prepaged: Annotated[float, Meta(ge=0, le=1)] = 0.5

    def _check(self) -> None:
        if self.rate_step and not self.most_rate:
            raise SpecError("most_rate", "an adaptive rate needs a largest one")
        if self.most_rate and self.least_rate > self.most_rate:
            raise SpecError("least_rate", "must not be more than most_rate")


#: The algorithm of Clark et al., section 5.3, as their experiments set it (100 to 500 Mb/s).
CLARK_2005 = Strategy(
    kind="pre-copy",
    least_rate=Size(100 * MEGABIT_BYTES),
    most_rate=Size(500 * MEGABIT_BYTES),
    rate_step=Size(50 * MEGABIT_BYTES),
    downtime=Duration(0),
    restart=Duration(9_000_000),
    state=Size(0),
)


class Ask(NamedTuple):
    """A transfer that a migration wants.

    Attributes
    ----------
    size_bytes : int
        How much.
    rate : float
        Bytes per second that it may take; 0 for no limit.
    paused : bool
        Whether the guest stands meanwhile.
    running_at : str
        ``source`` or ``target``: where the guest runs.
    fixed_ns : int
        Time that passes besides the transfer, ns.
    lost_s : float
        Work time that the guest loses besides, s.
    """

    size_bytes: int
    rate: float
    paused: bool
    running_at: Literal["source", "target"] = "source"
    fixed_ns: int = 0
    lost_s: float = 0.0


#: Asks for transfers; is sent the seconds each took.
Steps = Generator[Ask, float, None]


def steps(strategy: Strategy, memory_bytes: int, dirtying: Dirtying, bandwidth: float) -> Steps:
    """The transfers of one migration; ``bandwidth`` is what the links are expected to give, bytes per second."""
    if memory_bytes < 1:
        raise ModelError("a guest that is moved has memory; give at least one byte")
    if sum(one.size for one in dirtying.sets) > memory_bytes:
        raise SpecError("dirtying", f"the written pages are more than the guest's memory of {memory_bytes} bytes")
    if strategy.kind == "pre-copy":
        return _pre_copy(strategy, memory_bytes, dirtying, bandwidth)
    if strategy.kind == "post-copy":
        return _post_copy(strategy, memory_bytes, dirtying, bandwidth)
    return _stop_and_copy(strategy, memory_bytes)


def _stop_and_copy(strategy: Strategy, memory_bytes: int) -> Steps:
    yield Ask(int(memory_bytes + strategy.state), strategy.most_rate, True, fixed_ns=strategy.restart)


def _pre_copy(strategy: Strategy, memory_bytes: int, dirtying: Dirtying, bandwidth: float) -> Steps:
    clean = memory_bytes - sum(one.size for one in dirtying.sets)
    to_send = [float(one.size) for one in dirtying.sets]
    rate = float(strategy.least_rate if strategy.rate_step else strategy.most_rate)
    sent = 0
    for _ in range(strategy.most_rounds):
        size = clean + sum(to_send)
        if strategy.skip_dirty:
            size -= _overtaken(dirtying, to_send, size, min(rate or bandwidth, bandwidth))
        whole = max(1, round(size))
        seconds = yield Ask(whole, rate, False)
        sent += whole
        clean = 0
        to_send = dirtying.by_set(seconds)
        remaining = sum(to_send)
        fastest = min(strategy.most_rate or bandwidth, bandwidth)
        if remaining < strategy.stop_below or remaining / fastest * NS_PER_S <= strategy.downtime:
            break
        if sent + remaining > strategy.most_sent * memory_bytes:
            break
        if strategy.rate_step:
            rate = max(strategy.least_rate, remaining / max(seconds, 1e-9) + strategy.rate_step)
            if rate > strategy.most_rate:
                break
    rest = sum(to_send)
    # The memory crosses the network whole: what was skipped in every round is in the rest.
    rest = max(rest, memory_bytes - sent)
    yield Ask(int(round(rest) + strategy.state), strategy.most_rate, True, fixed_ns=strategy.restart)


def _overtaken(dirtying: Dirtying, to_send: list[float], size: float, rate: float) -> float:
    """Pages left out of a round because they are written before their turn; the round is shorter for it.

    More left out is less time and less written again, with a slope between -1 and 0: the mean of a guess and what
    follows from it is nearer by half at least.
    """
    skipped = 0.0
    for _ in range(60):
        again = dirtying.overtaken_bytes((size - skipped) / rate, to_send)
        if abs(again - skipped) < PAGE_BYTES:
            break
        skipped = (skipped + again) / 2
    return skipped


def _post_copy(strategy: Strategy, memory_bytes: int, dirtying: Dirtying, bandwidth: float) -> Steps:
    yield Ask(max(1, int(strategy.state)), strategy.most_rate, True, fixed_ns=strategy.restart)
    rate = min(strategy.most_rate or bandwidth, bandwidth)
    seconds = memory_bytes / rate
    # A page that is used before it was pushed is fetched; the working set is used at the rate it is written.
    faults = dirtying.overtaken_bytes(seconds, [float(one.size) for one in dirtying.sets]) / PAGE_BYTES
    wait_s = strategy.round_trip / NS_PER_S + PAGE_BYTES / rate
    lost_s = min(seconds, faults * (1 - strategy.prepaged) * wait_s)
    yield Ask(memory_bytes, strategy.most_rate, False, running_at="target", lost_s=lost_s)


@dataclass(frozen=True)
class MigrationPlan:
    """What a migration does on a link of its own.

    Attributes
    ----------
    rounds : list of (int, float)
        Bytes sent and seconds taken, transfer by transfer; the last pre-copy one is the stop-and-copy.
    duration_s, downtime_s : float, s
        From the first byte until the guest no longer needs the source, and the time it stands.
    sent_bytes : int
        All bytes.
    lost_s : float, s
        Time lost to faults over the network (post-copy).
    """

    rounds: list[tuple[int, float]]
    duration_s: float
    downtime_s: float
    sent_bytes: int
    lost_s: float


def plan_migration(
    strategy: Strategy, memory_bytes: int, dirtying: Dirtying | None = None, bandwidth: float = 125e6
) -> MigrationPlan:
    """Drive a migration over a link that gives ``bandwidth`` bytes per second, or less if the strategy asks for less.

    Examples
    --------
    >>> plan = plan_migration(Strategy(kind="stop-and-copy", state="0B", restart="0s"), 512_000_000, bandwidth=32e6)
    >>> plan.downtime_s
    16.0
    """
    if not bandwidth > 0:
        raise SpecError("bandwidth", f"must be more than 0 bytes per second, not {bandwidth!r}")
    rounds: list[tuple[int, float]] = []
    downtime = fixed = lost = 0.0
    moving = steps(strategy, memory_bytes, dirtying or Dirtying(), bandwidth)
    ask = next(moving)
    while True:
        seconds = ask.size_bytes / min(ask.rate or bandwidth, bandwidth)
        rounds.append((ask.size_bytes, seconds))
        fixed += ask.fixed_ns / NS_PER_S
        lost += ask.lost_s
        if ask.paused:
            downtime += seconds + ask.fixed_ns / NS_PER_S
        try:
            ask = moving.send(seconds)
        except StopIteration:
            break
    total = sum(seconds for _, seconds in rounds) + fixed
    return MigrationPlan(rounds, total, downtime, sum(size for size, _ in rounds), lost)
