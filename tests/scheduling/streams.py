"""Everything a heart does on a workload, as plain data, for comparing its two forms.

Run as a program it is the interpreted form: it answers workloads that come in with what happened.
"""

from __future__ import annotations

import pickle
import sys
from dataclasses import dataclass

from tests.scheduling.conftest import MS, add
from tests.scheduling.test_laws import Plan, build
from tests.scheduling.test_policies import MADE
from virtsim.scheduling.bandwidth import Bandwidth
from virtsim.scheduling.devices import BackEnd, Port, Ring, Station
from virtsim.scheduling.layout import Layout
from virtsim.scheduling.program import Code, Program, Sampler
from virtsim.scheduling.settings import Frequencies, Kernel, SchedulingCosts
from virtsim.scheduling.task import Task
from virtsim.scheduling.weight import group_load, nice_load
from virtsim.workload.draw import Draw

COSTS = SchedulingCosts(
    switch_ns=1500,
    wake_ns=400,
    wake_remote_ns=700,
    idle_exit_ns=9000,
    preempt_remote_ns=2000,
    migration_ns=5000,
    migration_cache_ns=11_000,
    migration_node_ns=23_000,
    smt_speed=0.62,
    balance_ns=700,
    tick_ns=900,
    timer_latency_ns=(1, 500, 900, 40_000),
    timer_idle_ns=(333, 1200),
    cold=((10_000, 100, 900), (1_000_000, 2_000, 7_000), (30_000_000, 9_000, 30_000)),
    stolen_share=0.01,
)
DRAWS = (
    "exponential(1ms)",
    "uniform(1ms, 3ms)",
    "lognormal(1ms, 0.5)",
    "pareto(1ms, 2.5)",
    "hyperexponential(1ms, 2)",
    "empirical(1ms, 2ms, 7ms)",
)


@dataclass(frozen=True)
class Case:
    """A workload: plans as in the laws, and pairs of tasks that do what plans do not."""

    cpus: int
    plans: list[Plan]
    pairs: list[tuple[str, int, int]]
    quota: bool
    costs: bool
    weight: int
    span_ns: int
    #: Two of three tasks have it; none if empty.
    policy: str = ""
    kernel: Kernel | None = None
    layout: Layout | None = None
    frequencies: Frequencies | None = None


def happenings(case: Case) -> list[object]:
    """Event streams and records of a case."""
    costs = COSTS if case.costs else None
    heart = build(case.cpus, case.plans, case.quota, costs, case.kernel, case.layout, case.frequencies)
    seen: list[object] = []
    heart.on_switch = lambda time, cpu, old, new: seen.append((time, cpu, old and old.name, new and new.name))
    heart.on_wakeup = lambda time, cpu, task: seen.append((time, cpu, task.name))
    heart.on_throttle = lambda since, until, cpu, group: seen.append((since, until, cpu, group.name))
    heart.on_task_throttle = lambda since, until, task: seen.append((since, until, task.name))
    limited = Bandwidth(case.weight * MS // 50 + MS, 25 * MS, MS, 5 * MS, 2 * MS)
    heart.add_group("limited", heart.groups[-1], group_load(case.weight), heart.root.cpus, limited)
    for number, (kind, run_ns, group) in enumerate(case.pairs):
        for name, program in enumerate(ALL_PAIRS[kind](heart, run_ns)):
            nice = run_ns % 40 - 20
            task = add(heart, f"{kind}{number}.{name}", program, group=heart.groups[group], load=nice_load(nice))
            task.batch, task.idle_policy = run_ns % 5 == 0, run_ns % 7 == 0
            if run_ns % 3 == 0:
                task.slice_ns, task.custom_slice = 100_000 + run_ns % (9 * MS), True
    if case.policy:
        make, data = MADE[case.policy]
        policy = heart.add_policy(make())
        for number, task in enumerate(heart.tasks):
            if number % 3:
                task.policy, task.policy_data = policy, data(number)
    for part in range(1, 5):
        heart.advance(case.span_ns * part // 4)
    seen += [_task(task, heart.now_ns) for task in heart.tasks]
    seen += [(group.name, group.cpu_time_ns, group.load, group.load_average) for group in heart.groups]
    seen += [_bandwidth(group.bandwidth) for group in heart.groups if group.bandwidth is not None]
    seen += [(cpu.idle_ns, cpu.stolen_ns, cpu.switches) for cpu in heart.cpus]
    seen += [_port(port) for port in heart.ports]
    if heart.governor is not None:
        seen += [(domain.wanted_hz, domain.changes, domain.residency_ns) for domain in heart.governor.domains]
        seen += [task.utilisation and (task.utilisation.busy, task.utilisation.estimate) for task in heart.tasks]
    seen += [(heart.now_ns, heart.next_event_ns(), len(heart.events) < 5000)]
    return seen


def _task(task, now_ns):
    counted = (task.cpu_time_ns, task.children_ns, task.run_delay_ns, task.voluntary, task.involuntary, task.migrations)
    fair = (task.vruntime, task.deadline, task.vprot, task.vlag, task.weight, task.slice_ns, task.delayed)
    histograms = [(k, h.count, h.sum_ns, h.min_ns, h.max_ns, h.buckets) for k, h in task.histograms.items()]
    state = (task.state, task.cpu, task.pc, task.burst_ns, task.times_ns(now_ns))
    return task.name, state, counted, fair, task.operations, histograms


def _bandwidth(bandwidth):
    counted = (bandwidth.periods, bandwidth.throttled_periods, bandwidth.bursts)
    return counted, bandwidth.throttled_time_ns, bandwidth.burst_time_ns, bandwidth.runtime_ns, len(bandwidth.throttled)


def _port(port):
    ring, station = port.ring, port.station
    told = (ring.kicks, ring.saved_kicks, ring.interrupts, ring.saved_interrupts, ring.unclaimed_ns)
    device = (station.served, station.bytes, station.busy, station.way_busy_ns, station.bus_busy_ns)
    return ring.submitted, ring.completed, ring.taken, told, ring.times.sum_ns, device


def _loop(*instructions: tuple[Code, int, int]) -> Program:
    program = Program()
    counter = program.slot()
    program.emit(Code.LOOP_BEGIN, 0, counter)
    top = len(program)
    for instruction in instructions:
        program.emit(*instruction)
    program.emit(Code.LOOP_END, top, counter)
    return program


def _lock(heart, run_ns):
    lock = heart.add_lock()
    return [
        _loop((Code.LOCK, lock, 100), (Code.CPU, ns, 0), (Code.UNLOCK, lock, 100), (Code.CPU, 70_000, 0))
        for ns in (run_ns, run_ns // 2)
    ]


def _pipe(heart, run_ns):
    space, data = heart.add_semaphore(4, wake_at=2), heart.add_semaphore()
    post = Code.POST_SYNC if run_ns % 2 else Code.POST
    writer = _loop((Code.WAIT, space, 0), (Code.CPU, run_ns // 9 + 1, 0), (post, data, 50), (Code.COUNT, 3, 1))
    reader = _loop((Code.WAIT, data, 30), (Code.CPU, run_ns // 5 + 1, 0), (Code.POST_SYNC, space, 50))
    return [writer, reader]


def _drawn(heart, run_ns):
    programs = []
    for offset in (0, 1):
        program = _loop((Code.CPU_DRAWN, 0, 0), (Code.COUNT, 3, 2), (Code.SLEEP_DRAWN, 1, 0))
        draw = Draw.parse(DRAWS[(run_ns + offset) % len(DRAWS)])
        program.samplers = [Sampler(draw, run_ns, 1.25), Sampler(Draw.parse("exponential(2ms)"), run_ns + 1)]
        programs.append(program)
    return programs


def _fork(heart, run_ns):
    child = Program()
    child.emit(Code.CPU, run_ns)
    child.emit(Code.EXIT)
    parent = _loop((Code.CPU, 9_000, 0), (Code.FORK_WAIT, 0, 0))
    parent.children.append(child)
    return [parent]


def _hog(heart, run_ns):
    return [_loop((Code.CPU, 10**14, 0))]


def _ring(heart, run_ns):
    """A reader that waits and a writer that does not, at a disk behind a back end or at one of the driver's own."""
    station = Station("disk", run_ns % 3 + 1)
    backend = BackEnd(run_ns // 50) if run_ns % 2 else None
    if backend is not None:
        worker = Task("worker", heart.groups[-1], nice_load(0), Program(), heart.root.cpus, heart.kernel.base_slice_ns)
        heart.add_back_end(backend, worker, 0)
    batches = (run_ns % 4 + 1, run_ns % 8 > 3, run_ns % 6 // 2 + 1)
    ring = Ring("ring", run_ns % 5 + 2, backend, run_ns % 4 > 0, run_ns % 3 == 0, 2, *batches)
    ring.interrupt_ns, ring.device_ns, ring.signal_ns, ring.completion_ns = 3_000, 1_100, 900, 700
    programs = []
    for awaited in (True, False):
        samplers = [Sampler(Draw.parse("exponential(90us)"), run_ns + awaited)] if run_ns % 7 else []
        port = heart.add_port(Port(ring, station, run_ns // 9, 512, samplers, awaited, run_ns // 30))
        ask = ((Code.CPU, run_ns // 5, 0), (Code.SUBMIT, port, 0))
        # The third of the loop's instructions, after LOOP_BEGIN: over the kick's time and the kick.
        tell = ((Code.JUMP_UNLESS_KICK, 6, port), (Code.CPU, 2_000, 0), (Code.KICK, port, 0)) if backend else ()
        programs.append(_loop(*ask, *tell, (Code.AWAIT if awaited else Code.COUNT, port if awaited else 3, 1)))
    return programs


#: What a kernel of its own may have, too.
PAIRS = {"lock": _lock, "pipe": _pipe, "drawn": _drawn, "fork": _fork, "hog": _hog}
ALL_PAIRS = PAIRS | {"ring": _ring}


def main() -> None:
    """Answer pickled cases on the standard input until it ends."""
    from virtsim.core.variant import WHY_INTERPRETED

    pickle.dump(WHY_INTERPRETED, sys.stdout.buffer)
    sys.stdout.buffer.flush()
    while True:
        try:
            case = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(happenings(case), sys.stdout.buffer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
