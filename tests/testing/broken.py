"""For every law a policy that breaks it, and the smallest instance on which it does; as a module it writes the page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from virtsim.cluster.migration import Dirtying, MigrationPlan, Strategy, plan_migration
from virtsim.cluster.policies.consolidation import Stay
from virtsim.cluster.policies.overload import StaticThreshold
from virtsim.cluster.policies.placement import FirstFit
from virtsim.cluster.policies.selection import Candidates, MinimumMigrationTime
from virtsim.cluster.policies.situation import Move, Situation
from virtsim.cluster.policies.tables import Guests, Hosts
from virtsim.testing import LAWS, ConsolidationMachine
from virtsim.testing.witnesses import WITNESSES

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "laws.md"
KINDS = {
    "placement": "Placement",
    "packing": "Placement on equal, empty hosts",
    "detector": "Overload detection",
    "selection": "Selection of the guest that leaves",
    "consolidation": "Consolidation",
    "migration": "Migration",
    "data centre": "A data centre in which anything happens",
}


@dataclass(frozen=True)
class Broken:
    """A policy that breaks a law, and an instance that shows it."""

    law: str
    policy: Callable[[], Any]
    instance: tuple[Any, ...]

    @property
    def name(self) -> str:
        """What reports call the policy."""
        return self.policy.__name__


# -- placement --------------------------------------------------------------------------------------------


class Careless(FirstFit):
    """First fit that declares nothing, and promises nothing."""

    breaks = frozenset()
    ratio = None


class ForgetsTheLast(Careless):
    """Answers for all guests but the last."""

    def place(self, guests, hosts, random):
        return super().place(guests, hosts, random)[:-1]


class Overbooks(Careless):
    """Puts everything on the first host that works."""

    def place(self, guests, hosts, random):
        return np.full(len(guests), hosts.available.argmax() if hosts.available.any() else -1)


class WakesTheDead(Careless):
    """Uses hosts that failed."""

    def place(self, guests, hosts, random):
        return super().place(guests, replace(hosts, available=np.ones(len(hosts), dtype=bool)), random)


class IgnoresGroups(Careless):
    """Has not heard of anti-affinity."""

    def place(self, guests, hosts, random):
        return super().place(replace(guests, apart=("",) * len(guests)), hosts, random)


class ChangesItsMind(Careless):
    """Starts at another host every time it is asked."""

    asked = 0

    def score(self, need, book, random):
        self.asked += 1
        return np.roll(np.arange(len(book.hosts), dtype=float), self.asked)


class LikesNames(Careless):
    """Takes the host whose name sorts first."""

    def score(self, need, book, random):
        return np.argsort(np.argsort(book.hosts.names)).astype(float)


class HasAFavourite(Careless):
    """Takes the host called h0 for the first guest, and the first host with room for the others."""

    def score(self, need, book, random):
        score = np.arange(len(book.hosts), dtype=float)
        if not book.opened.any():
            score[np.array(book.hosts.names) == "h0"] = -1
        return score

    opens_last = False


class GivesUp(Careless):
    """Has no host for anybody."""

    def place(self, guests, hosts, random):
        return np.full(len(guests), -1)


class Boasts(Careless):
    """First fit that says it is always optimal."""

    ratio = (1.0, 0.0)


class HidesItsAnomaly(Careless):
    """First fit that does not say that it has anomalies."""


def packing(
    needs: list[tuple[float, float]], rooms: list[tuple[float, float]], word: str = "", dead: bool = False
) -> tuple[Guests, Hosts]:
    """Guests that must be apart if there is a word, and hosts that failed if they are dead."""
    n, m = len(needs), len(rooms)
    return (
        Guests([f"g{i}" for i in range(n)], np.array(needs, dtype=float), [word] * n if word else ()),
        Hosts([f"h{i}" for i in range(m)], np.array(rooms, dtype=float), available=np.full(m, not dead)),
    )


# -- overload detection and selection -----------------------------------------------------------------------


class AnswersForAll(StaticThreshold):
    """One answer for all hosts together."""

    def overloaded(self, history):
        return np.array(super().overloaded(history).any())


class ComparesHosts(StaticThreshold):
    """A host is overloaded if it is full, or busier than the mean."""

    def overloaded(self, history):
        return (history[:, -1] > history[:, -1].mean()) | (history[:, -1] > 1)


class Nervous(StaticThreshold):
    """Everything is overloaded."""

    def overloaded(self, history):
        return np.ones(len(history), dtype=bool)


class Calm(StaticThreshold):
    """Nothing is overloaded."""

    def overloaded(self, history):
        return np.zeros(len(history), dtype=bool)


class Backwards(StaticThreshold):
    """A host is overloaded just above the threshold and when it is full, but not between."""

    def overloaded(self, history):
        last = history[:, -1]
        return ((last > 0.8) & (last < 0.9)) | (last > 1)


class PicksNobody(MinimumMigrationTime):
    """Answers with a number that is no guest's."""

    def pick(self, guests, random):
        return len(guests)


class PicksInTurn(MinimumMigrationTime):
    """Another guest every time it is asked."""

    asked = 0

    def pick(self, guests, random):
        self.asked += 1
        return self.asked % len(guests)


class PicksByName(MinimumMigrationTime):
    """The guest whose name sorts first."""

    def pick(self, guests, random):
        return int(np.argmin(np.argsort(np.argsort(guests.names))))


class PicksTheFirst(MinimumMigrationTime):
    """The first guest of the list."""

    def pick(self, guests, random):
        return 0


def candidates(n: int) -> tuple[Candidates]:
    """Guests that differ in use and memory."""
    use = np.arange(n) / 10
    return (Candidates(tuple(f"g{i}" for i in range(n)), use * 1000, 1.0 + np.arange(n), use[:, None]),)


# -- consolidation ----------------------------------------------------------------------------------------


class MovesToNowhere(Stay):
    """Moves the first guest to a host that does not exist."""

    def decide(self, situation, random):
        return [Move(0, len(situation.hosts))] if len(situation.guests) else []


class MovesInPlace(Stay):
    """Moves guests to where they are."""

    def decide(self, situation, random):
        return [Move(guest, int(host)) for guest, host in enumerate(situation.place) if situation.movable[guest]]


class MovesTheFixed(Stay):
    """Moves guests that may not be moved to an empty host."""

    def decide(self, situation, random):
        return to_an_empty_host(replace(situation, movable=~situation.movable))


class Wavers(Stay):
    """Moves the first guest to an empty host every other time it is asked."""

    asked = 0

    def decide(self, situation, random):
        self.asked += 1
        return to_an_empty_host(situation) if self.asked % 2 else []


class LikesHostNames(Stay):
    """Moves the first guest to the empty host whose name sorts last, if that sorts after its own."""

    def decide(self, situation, random):
        moves = to_an_empty_host(situation)
        names = situation.hosts.names
        return [move for move in moves if names[move.host] > names[int(situation.place[move.guest])]]


class NeverRests(Stay):
    """Moves the first guest to an empty host, again and again."""

    def decide(self, situation, random):
        return to_an_empty_host(situation)


def to_an_empty_host(situation: Situation) -> list[Move]:
    """A move of the first guest that may move to the first empty host with room."""
    for guest in np.flatnonzero(situation.movable).tolist():
        for host in range(len(situation.hosts)):
            hosts = situation.hosts
            empty = hosts.available[host] and host not in situation.place and not hosts.used[host].any()
            if empty and (hosts.capacity[host] >= situation.guests.need[guest]).all() and not hosts.apart[host]:
                return [Move(guest, host)]
        return []
    return []


def situation(n: int, m: int = 2) -> tuple[Situation]:
    """So many small guests on the first of some hosts."""
    used = np.zeros((m, 2))
    used[0] = n
    return (
        Situation(
            guests=Guests([f"g{i}" for i in range(n)], np.ones((n, 2))),
            hosts=Hosts([f"h{i}" for i in range(m)], np.full((m, 2), 100.0), used),
            place=np.zeros(n, dtype=np.int64),
            demand=np.ones(n),
            host_history=used[:, :1] / 100,
            guest_history=np.full((n, 1), 0.01),
        ),
    )


# -- migration --------------------------------------------------------------------------------------------


class Cheats:
    """Base: the default strategy without state, whose plan is then changed."""

    def plan(self, memory: int, dirtying: Dirtying, bandwidth: float) -> MigrationPlan:
        return self.cheat(plan_migration(Strategy(state="0B"), memory, dirtying, bandwidth), bandwidth)


class SendsHalf(Cheats):
    """Sends half of the memory."""

    def cheat(self, plan, bandwidth):
        return replace(plan, sent_bytes=plan.sent_bytes // 2)


class StandsTooLong(Cheats):
    """The guest stands for a second more than anybody waits."""

    def cheat(self, plan, bandwidth):
        return replace(plan, downtime_s=plan.duration_s + 1)


class IsTooFast(Cheats):
    """Sends more than the link can take."""

    def cheat(self, plan, bandwidth):
        return replace(plan, duration_s=plan.sent_bytes / bandwidth / 2, downtime_s=0.0)


class HatesFastLinks(Cheats):
    """Takes a second longer for every byte per second."""

    def cheat(self, plan, bandwidth):
        return replace(plan, duration_s=plan.duration_s + bandwidth)


PAGE_OF_MEMORY = (4096, Dirtying(), 1e6)


# -- a data centre ----------------------------------------------------------------------------------------


class Forgets(ConsolidationMachine):
    """Guests that wait are forgotten."""

    def _place(self):
        self.waiting.clear()
        self._done()


class LetsThemSleep(ConsolidationMachine):
    """A host is not woken when it gets a guest."""

    class placement(FirstFit):
        opens_last = False

    def _put(self, guest, host):
        self.plant.attach(guest, host)


class PilesUp(ConsolidationMachine):
    """Everything is put on the first host, and nobody asked whether it fits."""

    def _place(self):
        for guest in sorted(self.waiting):
            self._put(guest, 0)
        self.waiting.clear()
        self._done()


class MissesTheSwitch(ConsolidationMachine):
    """Power goes on as if no host had been switched off."""

    def build(self):
        super().build()
        self.plant.set_state = self.plant.state.__setitem__


class InventsWork(ConsolidationMachine):
    """More work is lost than was asked for."""

    def _done(self):
        super()._done()
        self.plant.work_stolen[0] += 1.0


def after(machine: type[ConsolidationMachine], *steps: tuple[Any, ...]) -> ConsolidationMachine:
    """A data centre in which these things have happened."""
    centre = machine()
    centre.build()
    for name, *arguments in steps:
        getattr(centre, name)(*arguments)
    return centre


ARRIVES, GOES_OFF, TIME_PASSES = ("arrive", 0), ("host_goes_off", 0), ("time_passes",)

BROKEN = [
    Broken("answers-for-all", ForgetsTheLast, packing([(1, 1)], [(1, 1)])),
    Broken("room-is-kept", Overbooks, packing([(1, 2)], [(1, 1)])),
    Broken("only-where-allowed", WakesTheDead, packing([(1, 1)], [(1, 1)], dead=True)),
    Broken("apart-is-kept", IgnoresGroups, packing([(1, 1), (1, 1)], [(2, 2)], word="a")),
    Broken("same-seed-same-answer", ChangesItsMind, packing([(1, 1)], [(1, 1), (1, 1)])),
    Broken("host-names-do-not-matter", LikesNames, packing([(1, 1), (1, 1)], [(1, 1), (2, 2)])),
    Broken("order-of-equals-does-not-matter", HasAFavourite, packing([(1, 1), (1, 1)], [(2, 2), (2, 2)])),
    Broken("no-needless-refusal", GivesUp, packing([(1, 1)], [(1, 1)])),
    Broken("not-more-hosts-than-guests", Overbooks, packing([(2, 1), (2, 1)], [(3, 2)])),
    Broken("within-ratio", Boasts, packing([(4, 0), (5, 0), (6, 0), (5, 0)], [(10, 1)])),
    Broken("capacity-helps", HidesItsAnomaly, WITNESSES["capacity-helps"][0]),
    Broken("one-answer-a-host", AnswersForAll, (np.array([[0.0]]),)),
    Broken("each-host-by-itself", ComparesHosts, (np.array([[0.0], [0.1]]),)),
    Broken("idle-is-not-overloaded", Nervous, (np.array([[0.0]]),)),
    Broken("beyond-full-is-overloaded", Calm, (np.array([[0.0]]),)),
    Broken("more-load-is-no-relief", Backwards, (np.array([[0.85]]),)),
    Broken("picks-one-of-them", PicksNobody, candidates(1)),
    Broken("same-seed-same-pick", PicksInTurn, candidates(2)),
    Broken("guest-names-do-not-matter", PicksByName, candidates(2)),
    Broken("order-of-guests-does-not-matter", PicksTheFirst, candidates(2)),
    Broken("moves-are-possible", MovesToNowhere, situation(1)),
    Broken("moves-change-something", MovesInPlace, situation(1)),
    Broken("fixed-guests-stay", MovesTheFixed, situation(2)),
    Broken("same-seed-same-moves", Wavers, situation(1)),
    Broken("names-do-not-matter", LikesHostNames, situation(1)),
    Broken("steady-load-comes-to-rest", NeverRests, situation(1)),
    Broken("all-memory-is-sent", SendsHalf, PAGE_OF_MEMORY),
    Broken("stands-within-its-migration", StandsTooLong, PAGE_OF_MEMORY),
    Broken("bytes-take-their-time", IsTooFast, PAGE_OF_MEMORY),
    Broken("faster-links-do-not-slow", HatesFastLinks, PAGE_OF_MEMORY),
    Broken("no-guest-is-lost", Forgets, (ARRIVES,)),
    Broken("nothing-on-a-host-that-is-off", LetsThemSleep, (GOES_OFF, ARRIVES)),
    Broken("memory-is-kept", PilesUp, (("arrive", 6), ("arrive", 7))),
    Broken("apart-stays-apart", PilesUp, (("arrive", 4), ("arrive", 5))),
    Broken("energy-is-conserved", MissesTheSwitch, (GOES_OFF,)),
    Broken("work-is-conserved", InventsWork, (TIME_PASSES,)),
]


def breaks(case: Broken, instance: tuple[Any, ...]) -> str:
    """The message of the law that the policy breaks on an instance; empty if it does not."""
    law = LAWS[case.law]
    try:
        if law.kind == "data centre":
            law.check(after(case.policy, *instance))
        else:
            law.check(case.policy(), *instance)
    except AssertionError as problem:
        return str(problem)
    return ""


def show(instance: tuple[Any, ...]) -> str:
    """An instance in a few words."""
    match instance:
        case (Guests() as guests, Hosts() as hosts):
            words = ", apart" if any(guests.apart) else ""
            dead = "" if hosts.available.all() else ", failed"
            return f"guests {_pairs(guests.need)}{words}; hosts {_pairs(hosts.capacity)}{dead}"
        case (np.ndarray() as history,):
            return f"loads {history.tolist()}"
        case (Candidates() as guests,):
            return "1 guest" if len(guests) == 1 else f"{len(guests)} guests that differ in use and memory"
        case (Situation() as seen,):
            return f"{len(seen.guests)} guest{'s' * (len(seen.guests) > 1)} on the first of {len(seen.hosts)} hosts"
        case (int() as memory, Dirtying(), float() as bandwidth):
            return f"{memory} bytes, nothing written, {bandwidth:g} B/s"
    return ", then ".join(f"{name.replace('_', ' ')} {' '.join(map(str, rest))}".strip() for name, *rest in instance)


def _pairs(table: np.ndarray) -> str:
    return " ".join(f"({cpu:g}, {memory:g})" for cpu, memory in table.tolist())


def page() -> str:
    """The page of the documentation."""
    lines = [
        "# Laws of policies",
        "",
        "<!-- Made by tests/testing/broken.py; do not edit. Write it anew with: make golden -->",
        "",
        "What `virtsim.testing` checks; [how to check a policy of your own](../how-to/test-your-own-policy.md).",
        "Each law has a policy that breaks it, and an instance on which it does and of which nothing can be left out.",
        "Guests and hosts are (CPU, memory).",
    ]
    for kind, title in KINDS.items():
        lines += ["", f"## {title}", "", "| law | meaning | broken by a policy that | on |", "|---|---|---|---|"]
        for case in BROKEN:
            if LAWS[case.law].kind == kind:
                meaning = " ".join(LAWS[case.law].meaning.split())
                doc = " ".join((case.policy.__doc__ or "").split()).rstrip(".")
                lines.append(f"| `{case.law}` | {meaning} | `{case.name}`: {doc} | {show(case.instance)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
