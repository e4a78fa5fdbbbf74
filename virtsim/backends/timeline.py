"""Who ran when, from the text of a kernel trace of the scheduler's events."""

from __future__ import annotations

import re
from collections.abc import Mapping

from virtsim.results.run import Slice, Wakeup

_EVENT = re.compile(r"\[(\d+)\] .*? (\d+)\.(\d{6}): (sched_switch|sched_wakeup|sched_wakeup_new): (.*)$")
_SWITCH = re.compile(r"prev_comm=.* prev_pid=(\d+) prev_prio=.*?prev_state=(\S+) ==> next_comm=.* next_pid=(\d+) ")
_WAKEUP = re.compile(r"comm=.* pid=(\d+) prio=.*target_cpu=(\d+)")


def read_trace(
    text: str, names: Mapping[int, tuple[str, str]], zero_ns: int, end_ns: int
) -> tuple[list[Slice], list[Wakeup]]:
    """Slices and wake-ups of the run's tasks.

    Parameters
    ----------
    text : str
        Of the ``trace`` file, with the clock ``mono``; its resolution is 1 us.
    names : dict of int to (str, str)
        Guest and task by process number.
    zero_ns, end_ns : int, ns
        Time 0 on that clock, and the run's end after it; slices are cut off there.
    """
    slices: list[Slice] = []
    wakeups: list[Wakeup] = []
    running: dict[int, tuple[int, int]] = {}

    def close(cpu: int, time_ns: int, state: str = "") -> None:
        pid, start_ns = running.pop(cpu)
        time_ns = min(time_ns, end_ns)
        if time_ns > start_ns:
            slices.append(Slice(cpu, start_ns, time_ns, *names[pid], state if time_ns < end_ns else ""))

    for line in text.splitlines():
        event = _EVENT.search(line)
        if event is None:
            continue
        cpu = int(event[1])
        time_ns = max(0, int(event[2]) * 1_000_000_000 + int(event[3]) * 1000 - zero_ns)
        if event[4] == "sched_switch":
            switch = _SWITCH.match(event[5])
            if switch is None:
                continue
            if cpu in running:
                close(cpu, time_ns, switch[2][0])
            if int(switch[3]) in names:
                running[cpu] = int(switch[3]), time_ns
        else:
            wakeup = _WAKEUP.match(event[5])
            if wakeup is not None and int(wakeup[1]) in names and time_ns <= end_ns:
                wakeups.append(Wakeup(time_ns, int(wakeup[2]), *names[int(wakeup[1])]))
    for cpu in list(running):
        close(cpu, end_ns)
    slices.sort(key=lambda piece: (piece.start_ns, piece.cpu))
    return slices, wakeups
