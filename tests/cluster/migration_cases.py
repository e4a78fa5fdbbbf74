"""The published cases of live migration, as the model has them; run as a module it writes the page about them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from virtsim.cluster import ClusterScenario
from virtsim.cluster.migration import (
    CLARK_2005,
    MEGABIT_BYTES,
    Dirtying,
    DirtyPages,
    MigrationPlan,
    Strategy,
    plan_migration,
)
from virtsim.core.spec import Size

MB = 1_000_000
DATA = json.loads(Path(__file__).with_suffix(".json").read_text())
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "migration-cases.md"
BARE = Strategy(kind="stop-and-copy", state="0B", restart="0s")
ONE_ROUND = Strategy(most_rounds=1, stop_below="0B", downtime="0s", state="0B", restart="0s")
STRATEGIES = {"stop-and-copy": BARE, "clark-2005": CLARK_2005, "one-round": ONE_ROUND}
NAMES = {
    "total_s": "total time, s",
    "downtime_s": "downtime, s",
    "copy_s": "last copy, s",
    "later_s": "all after the first round, s",
    "sent_mb": "sent, MB",
    "last_mb": "last copy, MB",
    "last_mbit": "rate of the last copy, Mb/s",
    "rounds": "rounds, the last copy included",
    "gain": "downtime without the round / with it, at least",
    "served_mbit": "throughput meanwhile, Mb/s",
}


class Row(NamedTuple):
    """One published figure and the model's."""

    case: str
    figure: str
    published: float
    model: float
    basis: str
    verdict: str
    why: str

    @property
    def error(self) -> float:
        """Of the published value."""
        return self.model / self.published - 1


def dirtying(guest: str) -> Dirtying:
    """How a guest of the cases writes."""
    sets = DATA["guests"][guest]["written_mb_and_mb_per_s"]
    return Dirtying(sets=[DirtyPages(size=Size(round(size * MB)), rate=Size(round(rate * MB))) for size, rate in sets])


@cache
def plan(guest: str, memory_mb: int, strategy: str, mbit: int) -> MigrationPlan:
    """The migration of a guest of the cases over a link of its own."""
    return plan_migration(STRATEGIES[strategy], memory_mb * MB, dirtying(guest), mbit * MEGABIT_BYTES)


def model(case: dict[str, Any], figure: dict[str, Any]) -> float:
    """What the model says to a figure."""
    name = figure["figure"]
    key = (case["guest"], case.get("memory_mb", DATA["guests"][case["guest"]]["memory_mb"]))
    one = plan(*key, case["strategy"], case["mbit"])
    if name == "gain":
        return plan(*key, "stop-and-copy", case["mbit"]).downtime_s / one.downtime_s
    if name == "served_mbit":
        # A server that gives what its CPU allows; the slowdown is a cluster's default, not of this paper.
        return figure["before"] * (1 - ClusterScenario(rules="cloudsim-3.0.3").migration_slowdown)
    if name.startswith("round_"):
        _, number, unit = name.split("_")
        size, seconds = one.rounds[int(number) - 1]
        return size / MB if unit == "mb" else seconds
    size, seconds = one.rounds[-1]
    return {
        "total_s": one.duration_s,
        "downtime_s": one.downtime_s,
        "copy_s": seconds,
        "later_s": one.duration_s - one.rounds[0][1],
        "sent_mb": one.sent_bytes / MB,
        "last_mb": size / MB,
        "last_mbit": size / seconds / MEGABIT_BYTES,
        "rounds": len(one.rounds),
    }[name]


def rows() -> Iterator[Row]:
    """All figures of all cases."""
    for case in DATA["cases"]:
        guest = DATA["guests"][case["guest"]]
        for figure in case["figures"]:
            value, published = model(case, figure), figure["published"]
            why = figure.get("no_prediction", figure.get("miss", ""))
            yield Row(case["case"], figure["figure"], published, value, guest["basis"], verdict(figure, value), why)


def verdict(figure: dict[str, Any], value: float) -> str:
    """What a model's value means for the figure."""
    if figure.get("input"):
        return "input"
    if "no_prediction" in figure:
        return "no prediction"
    published, tolerance = figure["published"], figure.get("tolerance", DATA["tolerance"])
    near = value >= published if figure.get("at_least") else abs(value / published - 1) <= tolerance
    return "within" if near else "MISSED"


def name_of(figure: str) -> str:
    """A figure in words."""
    if figure.startswith("round_"):
        _, number, unit = figure.split("_")
        return f"round {number}, {'MB' if unit == 'mb' else unit}"
    return NAMES[figure]


def page() -> str:
    """The page of the documentation."""
    found = list(rows())
    tested = [row for row in found if row.verdict in ("within", "MISSED")]
    within = sum(row.verdict == "within" for row in tested)
    lines = [
        "# Live migration: published cases",
        "",
        "<!-- Made by tests/cluster/migration_cases.py; do not edit. Write it anew with: make golden -->",
        "",
        DATA["source"],
        "",
        f"Of {len(tested)} figures, {within} are within their tolerance: {DATA['tolerance'] * 100:g} %, or at most 1 %",
        "where arithmetic (stop-and-copy) or the rule of section 5.3 leaves no more open. *Input*: how the guest",
        "writes was chosen by this figure, so it tests nothing.",
        "",
        "| case | figure | published | model | error | |",
        "|---|---|---|---|---|---|",
    ]
    for row in found:
        numbers = f"{row.published:g} | {row.model:.4g} | {row.error:+.1%}"
        lines.append(f"| {row.case} | {name_of(row.figure)} | {numbers} | {row.verdict} |")
    lines += ["", "What is missed or not predicted, and why:", ""]
    lines += [f"- {row.case}; {name_of(row.figure)}: {row.why}." for row in found if row.why]
    lines += ["", "## How the guests write", ""]
    lines += ["| guest | memory, MB | sets: MB, MB/s | known by | |", "|---|---|---|---|---|"]
    for name, guest in DATA["guests"].items():
        sets = "; ".join(f"{size:g}, {rate:g}" for size, rate in guest["written_mb_and_mb_per_s"]) or "any"
        lines.append(f"| {name} | {guest['memory_mb']} | {sets} | {guest['basis']} | {guest['note']} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
