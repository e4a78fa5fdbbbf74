"""What a paper's own micro rows could say of a macro row at all, whatever the benchmark does.

A row with a scale takes its shape from a mix. Another mix would predict another value, so a miss may be the mix's
fault or the paper's: it may have measured nothing of what made the difference. Which of the two it is can be worked
out. Let ``n``, ``c`` and ``t`` be the published times of the micro rows on the base, on the stack that the scale is
fitted to, and on the stack that is predicted. Over all non-negative counts ``x`` of them,

    minimise or maximise  (t - n) x    with  (c - n) x = T(c) - T(n),   n x <= T(n),   switches x <= calls x

is a linear programme: the benchmark takes the fitted stack as much longer as was published, does no more on the base
than there is time for, and leaves the processor in a system call. Where the published value is outside, no mix of
these rows explains it together with the fitted stack's.

Limits of validity: costs add up; what a row costs in a loop is what it costs in a program.

References
----------
G. B. Dantzig, *Linear Programming and Extensions*, Princeton, 1963.
"""

from __future__ import annotations

import math

import numpy as np

from virtsim.platform.events import ALIASES, EVENTS
from virtsim.platform.host import HostCard, load_host
from virtsim.platform.mixes import load_mix
from virtsim.validation.literature import unit_ns, unit_value
from virtsim.validation.literature_cards import Paper, Row

#: Lowest and highest value of a stack, in the row's unit; NaN where no mix gives the fitted stack its value.
Reach = tuple[float, float]


def reach(row: Row, paper: Paper, host: HostCard) -> dict[str, Reach]:
    """Values that mixes of a paper's micro rows can give a row with a scale, by stack; empty for other rows.

    Parameters
    ----------
    row : Row
        Of the paper.
    paper : Paper
    host : HostCard
        Whose clock turns cycles into time.
    """
    if not row.scaled:
        return {}
    fitted = next(stack for stack in row.calibration if stack != paper.base)
    return {
        stack: _reach(row, paper, host, fitted, stack) for stack in row.published if stack not in (paper.base, fitted)
    }


def paper_reach(paper: Paper) -> dict[tuple[str, str, str], Reach]:
    """The same for all rows of a paper that have a scale, by place, benchmark and stack."""
    host = load_host(paper.host)
    return {
        (row.where, row.benchmark, stack): values
        for row in paper.rows
        for stack, values in reach(row, paper, host).items()
    }


def _reach(row: Row, paper: Paper, host: HostCard, fitted: str, stack: str) -> Reach:
    from scipy.optimize import linprog

    micro = [r for r in paper.rows if r.level == "micro" and {paper.base, fitted, stack} <= set(r.published)]
    if not micro:
        return math.nan, math.nan
    base, known, asked = (
        np.array([unit_ns(r, r.published[s], host) for r in micro]) for s in (paper.base, fitted, stack)
    )
    base_ns = unit_ns(row, row.published[paper.base], host)
    times = []
    for sign in (1.0, -1.0):
        found = linprog(
            sign * (asked - base) / base_ns,
            A_ub=np.array([base / base_ns, [_switches_beyond_calls(r) for r in micro]]),
            b_ub=[1.0, 0.0],
            A_eq=np.array([(known - base) / base_ns]),
            b_eq=[unit_ns(row, row.published[fitted], host) / base_ns - 1.0],
            bounds=(0, None),
        )
        times.append(base_ns * (1.0 + sign * found.fun) if found.status == 0 else math.nan)
    low, high = sorted(float(unit_value(row, time, host)) for time in times)
    return low, high


def _switches_beyond_calls(row: Row) -> float:
    """Switches of one unit of a row less its system calls: a program that gives up the processor is in one."""
    events = [(e.times, ALIASES.get(e.event, e.event)) for e in load_mix(row.fixed).events]
    return sum(times * ((event == "context_switch") - EVENTS[event].system_calls) for times, event in events)
