"""What is measured: micro-workloads, each with its row of the design matrix.

A micro-workload repeats a few operations on one CPU (or two, for what crosses CPUs); its CPU time for
each repetition is a sum of primitive counts times prices. The counts come from the very expansion that
the machine charges from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from virtsim.platform.costs import Costs
from virtsim.platform.host import HostCard
from virtsim.platform.operations import Event, operation_events
from virtsim.platform.stack import stack_for
from virtsim.scenario.guest import Guest, Isolation
from virtsim.scenario.scenario import Scenario
from virtsim.workload.draw import Draw
from virtsim.workload.operations import (
    Compute,
    ForkExec,
    ForkWait,
    Lock,
    MapUnmap,
    Operation,
    PageFault,
    Receive,
    Repeat,
    Send,
    Signal,
    Sleep,
    Syscall,
    Touch,
    Unlock,
    WriteFsync,
)
from virtsim.workload.workload import Task, Workload

#: Prefix of the names of all calibration scenarios: validation scenarios never have it.
PREFIX = "calibrate-"


@dataclass(frozen=True)
class Micro:
    """One micro-workload.

    Parameters
    ----------
    name : str
    scenario : Scenario
        One guest whose tasks all run to their end.
    repetitions : int
        How often the measured body runs in each task.
    totals : dict of str to float
        Primitives of one repetition, all tasks together, but for what follows.
    per_wait, per_switch : dict of str to float
        Primitives of each wait for another task, and of each switch between tasks. How many there are is counted in
        the runs: one that is woken may preempt, and then the waker need not wait for it.
    """

    name: str
    scenario: Scenario
    repetitions: int
    totals: dict[str, float] = field(hash=False)
    per_wait: dict[str, float] = field(default_factory=dict, hash=False)
    per_switch: dict[str, float] = field(default_factory=dict, hash=False)

    def counted(self, waits: float, switches: float) -> dict[str, float]:
        """Primitives of one repetition in which tasks waited and were switched so often."""
        made = dict(self.totals)
        for count, part in ((waits, self.per_wait), (switches, self.per_switch)):
            for name, each in part.items():
                made[name] = made.get(name, 0.0) + count * each
        return made

    @property
    def never_waits(self) -> bool:
        """Whether it has one task that is always runnable, so that elapsed time shows what others took."""
        return self.scenario.guests[0].workload.process_count == 1 and not self.name.startswith("sleep")


def _touch(pages: int, working_set: str) -> Operation:
    return Touch.from_builtins({"op": "touch", "pages": pages, "stride": "64B", "working_set": working_set})


#: A body with the number of repetitions that take some 20 ms.
_BODIES: tuple[tuple[str, list[Operation], int], ...] = (
    ("compute", [Compute(work=Draw.parse("100us"))], 250),
    ("step", [Compute(work=Draw.parse("0ns"))], 1_000_000),
    ("null", [Syscall()], 100_000),
    ("stat", [Syscall(kind="stat")], 20_000),
    ("open-close", [Syscall(kind="open_close")], 8_000),
    ("read-1", [Syscall.from_builtins({"op": "syscall", "kind": "read", "size": "1B"})], 50_000),
    ("read-4k", [Syscall.from_builtins({"op": "syscall", "kind": "read", "size": "4KiB"})], 40_000),
    ("read-16k", [Syscall.from_builtins({"op": "syscall", "kind": "read", "size": "16KiB"})], 10_000),
    ("read-64k", [Syscall.from_builtins({"op": "syscall", "kind": "read", "size": "64KiB"})], 4_000),
    ("write-1", [Syscall.from_builtins({"op": "syscall", "kind": "write", "size": "1B"})], 40_000),
    ("write-4k", [Syscall.from_builtins({"op": "syscall", "kind": "write", "size": "4KiB"})], 30_000),
    ("write-16k", [Syscall.from_builtins({"op": "syscall", "kind": "write", "size": "16KiB"})], 8_000),
    ("write-64k", [Syscall.from_builtins({"op": "syscall", "kind": "write", "size": "64KiB"})], 3_000),
    ("fsync", [WriteFsync.from_builtins({"op": "write_fsync", "size": "4KiB"})], 20_000),
    ("map", [MapUnmap(pages=1)], 8_000),
    ("fault-1", [PageFault(pages=1)], 10_000),
    ("fault-16", [PageFault(pages=16)], 1_500),
    ("fault-256", [PageFault(pages=256)], 120),
    ("fork", [ForkWait()], 250),
    ("exec", [ForkExec()], 100),
    ("pipe-1", [Send(channel="c"), Receive(channel="c")], 20_000),
    ("pipe-4k", [Send.from_builtins({"op": "send", "channel": "c", "size": "4KiB"}),
                 Receive.from_builtins({"op": "receive", "channel": "c", "size": "4KiB"})], 15_000),
    ("lock", [Lock(name="l"), Unlock(name="l")], 400_000),
    ("signal", [Signal()], 8_000),
    ("touch-l1", [_touch(4000, "16KiB")], 1_500),
    ("touch-l2", [_touch(4000, "192KiB")], 1_000),
    ("touch-l3", [_touch(4000, "4MiB")], 400),
    ("touch-memory", [_touch(40000, "256MiB")], 40),
)  # fmt: skip

_SECCOMP: tuple[tuple[str, int, bool], ...] = (
    ("seccomp-300", 300, False),
    ("seccomp-args-10", 10, True),
    ("seccomp-args-300", 300, True),
)


def micro_workloads(card: HostCard) -> list[Micro]:
    """All micro-workloads, with their rows for a host like ``card`` (its caches, its kernel's layers)."""
    made = [_loop(name, body, times, card) for name, body, times in _BODIES]
    for name, rules, arguments in _SECCOMP:
        isolation = Isolation(seccomp_rules=rules, seccomp_arguments=arguments)
        made.append(_loop(name, [Syscall()], 60_000, card, isolation))
    made.append(_futex_alone(card))
    made.append(_sleep(card))
    made.extend(_ping_pong(kind, "0", 4_000, card) for kind in ("pipe", "futex"))
    if card.topology.cpus > 1:
        made.append(_ping_pong("pipe", "0-1", 2_000, card))
    return made


def _micro(
    name: str, guest: Guest, repetitions: int, events: Sequence[Event], card: HostCard, cpus: str = "0"
) -> Micro:
    scenario = Scenario(name=PREFIX + name, guests=[guest], duration="10s", cpus=cpus)  # type: ignore[arg-type]
    totals = Costs(card, stack_for(guest)).totals(events)
    return Micro(name, scenario, repetitions, totals)


def _loop(name: str, body: list[Operation], times: int, card: HostCard, isolation: Isolation | None = None) -> Micro:
    workload = Workload(tasks=[Task(name="loop", program=[Repeat(body=body, count=times)])])
    guest = Guest(name="g", workload=workload, stack="container", isolation=isolation or Isolation())
    events = [event for operation in body for event in operation_events(operation, workload, card.topology)]
    return _micro(name, guest, times, events, card)


def _futex_alone(card: HostCard) -> Micro:
    """Posts that nobody waits for, each taken by the same task."""
    body: list[Operation] = [Send(channel="c"), Receive(channel="c")]
    tasks = [Task(name="loop", program=[Repeat(body=body, count=40_000)])]
    workload = Workload(tasks=tasks, channels={"c": "futex"})
    guest = Guest(name="g", workload=workload)
    events = [event for operation in body for event in operation_events(operation, workload, card.topology)]
    return _micro("futex-post", guest, 40_000, events, card)


def _sleep(card: HostCard) -> Micro:
    """Short sleeps: arming, blocking, and the switch back from idle."""
    sleep = Sleep(time=Draw.parse("20us"))
    workload = Workload(tasks=[Task(name="loop", program=[Repeat(body=[sleep], count=300)])])
    guest = Guest(name="g", workload=workload)
    events = [*operation_events(sleep, workload, card.topology), Event("context_switch")]
    return _micro("sleep", guest, 300, events, card)


def _ping_pong(kind: str, cpus: str, times: int, card: HostCard) -> Micro:
    """Two tasks that hand one byte to and fro: two switches a round, and up to two waits."""
    ends = cpus.split("-")
    first, second = Send(channel="ping"), Receive(channel="pong")
    third, fourth = Receive(channel="ping"), Send(channel="pong")
    workload = Workload.from_builtins(
        {
            "tasks": [
                {"name": "ping", "cpus": ends[0], "program": [_repeat([first, second], times)]},
                {"name": "pong", "cpus": ends[-1], "program": [_repeat([third, fourth], times)]},
            ],
            "channels": {"ping": kind, "pong": kind},
        }
    )
    guest = Guest(name="g", workload=workload)
    operations: list[Operation] = [first, second, third, fourth]
    events = [event for operation in operations for event in operation_events(operation, workload, card.topology)]
    wait = [Event("wakeup" if len(ends) == 1 else "wakeup_remote")]
    if kind == "futex":
        wait += [Event("futex_wait"), Event("futex_wake")]
    name = f"{kind}-ping-pong" + ("" if len(ends) == 1 else "-two-cpus")
    costs = Costs(card, stack_for(guest))
    return replace(
        _micro(name, guest, times, events, card, cpus),
        per_wait=costs.totals(wait),
        per_switch=costs.totals([Event("context_switch")]),
    )


def _repeat(body: list[Operation], times: int) -> dict[str, object]:
    return Repeat(body=body, count=times).to_builtins()
