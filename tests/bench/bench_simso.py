"""Speed of the scheduler's heart beside SimSo, on SimSo's own kind of workload: periodic tasks under EDF and RM.

    python tests/bench/bench_simso.py             # makes an environment for SimSo in out/simso, once

SimSo 0.8.5 needs SimPy 2.3.1, which cannot be installed beside the SimPy that virtsim needs: it runs in a process
with modules of its own. Both work through the same task sets, in turn, timed in CPU time, simulation only; ratios are
formed within each round. Both must end the same jobs, and miss the same deadlines.

References
----------
M. Cheramy, P.-E. Hladik, A.-M. Deplanche, "SimSo: A Simulation Tool to Evaluate Real-Time Multiprocessor Scheduling
Algorithms", WATERS 2014.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
#: Where SimSo and its SimPy are put.
MODULES = ROOT / "out" / "simso"
MS = 1_000_000
TARGET = 20.0
#: Tasks, utilisation in percent, simulated ms.
SETS = ((5, 90, 4_000), (20, 90, 4_000), (20, 98, 4_000), (50, 95, 4_000), (10, 115, 2_000))
POLICIES = {"edf": "simso.schedulers.EDF_mono", "rate-monotonic": "simso.schedulers.RM_mono"}
Tasks = list[tuple[int, int]]


def task_set(count: int, percent: int) -> Tasks:
    """(run time, period) of each task, ns: periods of 5 to 100 ms, and equal parts of the CPU."""
    periods = [(5 + 37 * number % 96) * MS for number in range(count)]
    return [(period * percent // (100 * count) // 1000 * 1000, period) for period in periods]


# -- the two simulators: each answers (CPU seconds, jobs ended, deadlines missed) of each task ---------------------


def with_heart(policy: str, tasks: Tasks, span_ns: int) -> tuple[float, list[tuple[int, int]]]:
    """On the heart, with exact timers and no costs."""
    import virtsim.scheduling.policies  # noqa: F401 (registers them)
    from virtsim.scheduling.heart import Heart
    from virtsim.scheduling.policies.periodic import Job
    from virtsim.scheduling.policy import POLICIES as MADE
    from virtsim.scheduling.program import Code, Program
    from virtsim.scheduling.task import Task

    heart = Heart(1)
    chosen = heart.add_policy(MADE.get(policy)())
    for number, (run_ns, period_ns) in enumerate(tasks):
        program = Program()
        counter, due = program.slot(), program.slot()
        program.emit(Code.PERIODIC_BEGIN, 1, due)
        program.emit(Code.LOOP_BEGIN, 0, counter)
        top = program.emit(Code.CPU, run_ns)
        program.emit(Code.PERIODIC_WAIT, period_ns, due)
        program.emit(Code.LOOP_END, top, counter)
        task = Task(f"t{number}", heart.root, 1 << 20, program, heart.root.cpus, MS, slack_ns=0)
        task.policy, task.policy_data = chosen, Job(period_ns)
        heart.start(task, 0, 0)
    started = time.process_time()
    heart.advance(span_ns)
    seconds = time.process_time() - started
    return seconds, [(task.policy_data.done, task.policy_data.missed) for task in heart.tasks]


def with_simso(policy: str, tasks: Tasks, span_ns: int) -> tuple[float, list[tuple[int, int]]]:
    """On SimSo, one of its cycles a nanosecond."""
    from simso.configuration import Configuration
    from simso.core import Model

    class Timed(Model):
        def simulate(self, until):
            started = time.process_time()
            super().simulate(until=until)
            self.seconds = time.process_time() - started

    configuration = Configuration()
    configuration.cycles_per_ms = MS
    configuration.duration = span_ns
    for number, (run_ns, period_ns) in enumerate(tasks):
        configuration.add_task(
            name=f"t{number}",
            identifier=number,
            abort_on_miss=False,
            period=period_ns / MS,
            wcet=run_ns / MS,
            deadline=period_ns / MS,
        )
    configuration.add_processor(name="CPU", identifier=1)
    configuration.scheduler_info.clas = POLICIES[policy]
    configuration.check_all()
    model = Timed(configuration)
    model.run_model()
    ended = []
    for task in model.task_list:
        jobs = [job for job in model.results.tasks[task].jobs if job.end_date is not None]
        late = [job for job in jobs if job.end_date > job.activation_date + task.period * MS]
        ended.append((len(jobs), len(late)))
    return model.seconds, ended


FORMS = {"compiled": with_heart, "interpreted": with_heart, "simso": with_simso}


# -- measuring, in a process for each form --------------------------------------------------------------------------


def serve() -> None:
    """Work through orders (form, policy, tasks, simulated ns) from the standard input."""
    while True:
        try:
            form, policy, tasks, span_ns = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        if form != "simso":
            from virtsim.core.variant import WHY_INTERPRETED

            assert bool(WHY_INTERPRETED) == (form == "interpreted"), WHY_INTERPRETED
        pickle.dump(FORMS[form](policy, tasks, span_ns), sys.stdout.buffer)
        sys.stdout.buffer.flush()


class Worker:
    """A process that measures one form."""

    def __init__(self, form: str) -> None:
        path = [str(MODULES)] if form == "simso" else [str(ROOT)]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(path),
            "VIRTSIM_INTERPRETED": "01"[form != "compiled"],
        }
        self.form = form
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )

    def __call__(self, *order: object) -> tuple[float, list[tuple[int, int]]]:
        pickle.dump((self.form, *order), self.process.stdin)
        self.process.stdin.flush()
        return pickle.load(self.process.stdout)


def install() -> None:
    """Put SimSo and the SimPy it needs into a folder of their own."""
    if (MODULES / "simso").exists():
        return
    wanted = ["simso==0.8.5", "SimPy==2.3.1"]
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(MODULES), *wanted]
    if subprocess.run(command, check=False).returncode:
        sys.exit("SimSo could not be installed; it is compared where a package index can be reached")


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve()
        return
    install()
    workers = {form: Worker(form) for form in FORMS}
    rows = []
    for policy in POLICIES:
        for count, percent, span_ms in SETS:
            row = compare(workers, policy, task_set(count, percent), span_ms * MS, arguments.rounds)
            rows.append({"policy": policy, "tasks": count, "utilisation": percent / 100, **row})
            print(line(rows[-1]), flush=True)
    worst = min(row["compiled"] for row in rows)
    print(f"smallest ratio compiled : SimSo {worst:.0f}, wanted {TARGET:.0f}: {'ok' if worst >= TARGET else 'MISSED'}")
    record = {"machine": f"{platform.machine()}, Python {platform.python_version()}", "rows": rows}
    (HERE / "bench_simso.json").write_text(json.dumps(record, indent=1) + "\n")


def compare(workers: dict[str, Worker], policy: str, tasks: Tasks, span_ns: int, rounds: int) -> dict:
    """Medians over the rounds of the ratios of each form to SimSo; the heart's spans are longer, to be timed."""
    longer = {"compiled": 50, "interpreted": 2, "simso": 1}
    results = {form: worker(policy, tasks, span_ns)[1] for form, worker in workers.items()}
    assert results["compiled"] == results["interpreted"] == results["simso"], results
    ratios: dict[str, list[float]] = {"compiled": [], "interpreted": []}
    rates = []
    for _ in range(rounds):
        rate = {}
        for form, worker in workers.items():
            seconds, ended = worker(policy, tasks, span_ns * longer[form])
            rate[form] = sum(jobs for jobs, _ in ended) / seconds
        rates.append(rate)
        for form in ratios:
            ratios[form].append(rate[form] / rate["simso"])
    return {
        "jobs": sum(jobs for jobs, _ in results["simso"]),
        "missed": sum(missed for _, missed in results["simso"]),
        "jobs_a_second": {form: round(statistics.median(rate[form] for rate in rates)) for form in workers},
        **{form: round(statistics.median(values), 2) for form, values in ratios.items()},
    }


def line(row: dict) -> str:
    """A row, for people."""
    return (
        f"{row['policy']:15} {row['tasks']:3} tasks, U = {row['utilisation']:.2f}: {row['jobs']} jobs,"
        f" {row['missed']} missed by both; jobs/s compiled {row['jobs_a_second']['compiled']:,},"
        f" SimSo {row['jobs_a_second']['simso']:,}; ratio compiled {row['compiled']:.1f},"
        f" interpreted {row['interpreted']:.2f}"
    )


if __name__ == "__main__":
    main()
