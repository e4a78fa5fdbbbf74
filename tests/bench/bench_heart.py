"""Speed of the scheduler's heart, interpreted and compiled, beside the same model as SimPy processes.

``make bench`` runs it. All three work through the same workload, in turn, in processes of their own, timed in CPU
time; ratios are formed within each round. An event is a context switch or a wake-up, which can be counted from
outside and come as often in all three. Writes ``bench_heart.json`` and ``bench_heart.png`` beside itself.
"""

from __future__ import annotations

import gc
import json
import math
import os
import pickle
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ROUNDS = 7
MS = 1_000_000
FORMS = ("compiled", "interpreted", "simpy")
#: Tasks, CPUs, and simulated time by form, ms: long enough to be timed, and the compiled form goes on for longer.
SIZES = {(50, 4): (20_000, 1_000, 1_000), (1000, 64): (1_500, 100, 100)}
GROWTH = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
#: What must come out: events a second, against SimPy.
TARGETS = {"interpreted": 1.5, "compiled": 30.0}

SWITCH_NS, IDLE_EXIT_NS, TICK_PHASE_NS = 1500, 9000, 1_234_567


def workload(tasks: int) -> list[tuple[str, int, int]]:
    """Of five tasks two compute for ever, one is periodic, two run and sleep: (kind, CPU time, period or sleep)."""
    kinds = ("hog", "hog", "periodic", "sleeper", "sleeper")
    times = {"hog": (10 * MS, 0), "periodic": (200_000, 20 * MS), "sleeper": (300_000, 4 * MS)}
    return [(kind, times[kind][0] + 500 * i, times[kind][1] + 7000 * i) for i, kind in zip(range(tasks), kinds * tasks)]


# -- the two models -----------------------------------------------------------------------------------------


class HeartModel:
    """The workload on the heart."""

    def __init__(self, tasks: int, cpus: int) -> None:
        from virtsim.scheduling.heart import Heart
        from virtsim.scheduling.program import Code
        from virtsim.scheduling.settings import SchedulingCosts
        from virtsim.scheduling.task import Task
        from virtsim.scheduling.weight import NICE_0_LOAD

        costs = SchedulingCosts(switch_ns=SWITCH_NS, idle_exit_ns=IDLE_EXIT_NS)
        heart = self.heart = Heart(cpus, costs=costs, tick_phase_ns=TICK_PHASE_NS)
        for number, (kind, run_ns, other_ns) in enumerate(workload(tasks)):
            program = _program(kind, run_ns, other_ns, Code)
            cpu_set, slice_ns = heart.root.cpus, heart.kernel.base_slice_ns
            heart.start(Task(f"t{number}", heart.root, NICE_0_LOAD, program, cpu_set, slice_ns), 0, 0)

    def advance(self, to_ns: int) -> None:
        self.heart.advance(to_ns)

    def events(self) -> int:
        wakes = sum(task.voluntary for task in self.heart.tasks)
        return sum(cpu.switches for cpu in self.heart.cpus) + wakes

    def used_ns(self) -> list[int]:
        return [task.cpu_time_ns for task in self.heart.tasks]


def _program(kind, run_ns, other_ns, code):
    from virtsim.scheduling.program import Program

    program = Program()
    counter, due = program.slot(), program.slot()
    program.emit(code.PERIODIC_BEGIN, 0, due)
    program.emit(code.LOOP_BEGIN, 0, counter)
    top = len(program)
    if kind == "periodic":
        program.emit(code.PERIODIC_WAIT, other_ns, due)
        program.emit(code.RECORD_SINCE, 0, due)
    program.emit(code.CPU, run_ns)
    if kind == "periodic":
        program.emit(code.RECORD_SINCE, 1, due)
    elif kind == "sleeper":
        program.emit(code.SLEEP, other_ns)
    program.emit(code.LOOP_END, top, counter)
    return program


class SimpyModel:
    """The workload on SimPy processes."""

    def __init__(self, tasks: int, cpus: int) -> None:
        import simpy

        from tests.bench.simpy_scheduler import Machine

        self.env = simpy.Environment()
        self.machine = Machine(self.env, cpus, SWITCH_NS, IDLE_EXIT_NS, TICK_PHASE_NS)
        for number, (kind, run_ns, other_ns) in enumerate(workload(tasks)):
            sleep_ns, period_ns = (other_ns, 0) if kind == "sleeper" else (0, other_ns if kind == "periodic" else 0)
            self.machine.add(f"t{number}", 1024, [(run_ns, sleep_ns, period_ns)])

    def advance(self, to_ns: int) -> None:
        self.env.run(until=to_ns)
        for cpu in self.machine.cpus:
            cpu.account()

    def events(self) -> int:
        wakes = sum(task.voluntary for task in self.machine.tasks)
        return sum(cpu.switches for cpu in self.machine.cpus) + wakes

    def used_ns(self) -> list[int]:
        return [task.cpu_time_ns for task in self.machine.tasks]


# -- measuring, in a process for each form ----------------------------------------------------------------------


def serve() -> None:
    """Work through orders (form, tasks, CPUs, simulated ns) from the standard input."""
    while True:
        try:
            form, tasks, cpus, span_ns = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        answer = memory(tasks, cpus, span_ns) if form == "memory" else measure(form, tasks, cpus, span_ns)
        pickle.dump(answer, sys.stdout.buffer)
        sys.stdout.buffer.flush()


def measure(form: str, tasks: int, cpus: int, span_ns: int) -> dict:
    """Events, CPU time and shares of a stretch of simulated time, after a tenth of it to warm up."""
    from virtsim.core.variant import WHY_INTERPRETED

    assert form != "compiled" or not WHY_INTERPRETED, WHY_INTERPRETED
    model = (SimpyModel if form == "simpy" else HeartModel)(tasks, cpus)
    warm_ns = span_ns // 10 + TICK_PHASE_NS
    model.advance(warm_ns)
    before = model.events()
    gc.collect()
    started = time.process_time()
    model.advance(warm_ns + span_ns)
    seconds = time.process_time() - started
    return {"events": model.events() - before, "seconds": seconds, "used_ns": model.used_ns(), "span_ns": span_ns}


def memory(tasks: int, cpus: int, events: int) -> list[tuple[int, int]]:
    """Resident memory, KiB, of a process that works through ``events`` events, in ten parts."""
    model = HeartModel(tasks, cpus)
    points, now_ns = [], 0
    for part in range(11):
        while model.events() < events * part // 10:
            now_ns += 100 * MS
            model.advance(now_ns)
        points.append((model.events(), _resident_kib()))
    return points


def _resident_kib() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


class Worker:
    """A process that measures one form."""

    def __init__(self, form: str) -> None:
        self.form = form
        environment = os.environ | {"VIRTSIM_INTERPRETED": "0" if form == "compiled" else "1"}
        self.process = subprocess.Popen(
            [sys.executable, __file__, "serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=environment | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"},
        )

    def order(self, *order):
        pickle.dump(order, self.process.stdin)
        self.process.stdin.flush()
        return pickle.load(self.process.stdout)

    def close(self) -> None:
        self.process.communicate(timeout=60)


# -- the tables ---------------------------------------------------------------------------------------------


def speeds(workers: dict[str, Worker]) -> list[dict]:
    """Events a second by size and form, and ratios to SimPy in the same round."""
    rows = []
    for (tasks, cpus), spans_ms in SIZES.items():
        rates: dict[str, list[float]] = {form: [] for form in FORMS}
        shares: dict[str, list[float]] = {}
        density = {}
        for turn in range(ROUNDS):
            for form in FORMS[turn % 3 :] + FORMS[: turn % 3]:
                found = workers[form].order(form, tasks, cpus, spans_ms[FORMS.index(form)] * MS)
                rates[form].append(found["events"] / found["seconds"])
                density[form] = found["events"] * 1e9 / found["span_ns"]
                shares[form] = [used / sum(found["used_ns"]) for used in found["used_ns"]]
        for form in FORMS:
            ratios = [rate / simpy for rate, simpy in zip(rates[form], rates["simpy"])]
            rows.append(
                {
                    "tasks": tasks,
                    "cpus": cpus,
                    "form": form,
                    "events_per_s": round(statistics.median(rates[form])),
                    "ratio_to_simpy": round(statistics.median(ratios), 2),
                    "ratio_range": [round(min(ratios), 2), round(max(ratios), 2)],
                    "events_per_simulated_s": round(density[form]),
                    "largest_share_difference": round(max(map(_distance, shares[form], shares["simpy"])), 5),
                }
            )
    return rows


def _distance(a: float, b: float) -> float:
    return abs(a - b)


def growth(workers: dict[str, Worker]) -> list[dict]:
    """Cost of an event against the number of tasks on four CPUs."""
    rows = []
    for tasks in GROWTH:
        row: dict = {"tasks": tasks}
        for form, span_ms in (("compiled", 4000), ("interpreted", 300), ("simpy", 300)):
            costs = []
            for _ in range(3):
                found = workers[form].order(form, tasks, 4, span_ms * MS)
                costs.append(found["seconds"] / found["events"] * 1e9)
            row[f"{form}_ns"] = round(min(costs), 1)
        rows.append(row)
    return rows


def plot(rows: list[dict], path: Path) -> None:
    """Cost of an event against the number of tasks, and the straight line over its logarithm that fits best."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    tasks = [row["tasks"] for row in rows]
    for form, marker in zip(FORMS, "os^"):
        costs = [row[f"{form}_ns"] for row in rows]
        axes.plot(tasks, costs, marker=marker, label={"simpy": "SimPy processes"}.get(form, f"heart, {form}"))
        slope, offset = statistics.linear_regression([math.log2(n) for n in tasks], costs)
        axes.plot(tasks, [offset + slope * math.log2(n) for n in tasks], color="0.6", linewidth=0.8, linestyle="--")
    axes.set(xscale="log", yscale="log", xlabel="tasks on 4 CPUs", ylabel="CPU time per event, ns")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)


def machine() -> dict:
    """What was measured on, without its name."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    models = {line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")}
    return {
        "cpu": ", ".join(sorted(models)) or platform.machine(),
        "cpus": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 1),
        "kernel": ".".join(platform.release().split(".")[:2]),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "compiler": platform.python_compiler(),
    }


def main() -> None:
    from virtsim.core.variant import WHY_INTERPRETED

    if WHY_INTERPRETED:
        sys.exit(f"the heart is not compiled ({WHY_INTERPRETED}); reinstall virtsim where there is a C compiler")
    workers = {form: Worker(form) for form in FORMS}
    result = {"machine": machine(), "speed": speeds(workers), "growth": growth(workers)}
    for worker in workers.values():
        worker.close()
    lone = Worker("compiled")
    result["memory"] = [{"events": n, "resident_kib": kib} for n, kib in lone.order("memory", 1000, 64, 10_000_000)]
    lone.close()
    report(result)
    (HERE / "bench_heart.json").write_text(json.dumps(result, indent=1) + "\n")
    plot(result["growth"], HERE / "bench_heart.png")


def report(result: dict) -> None:
    print(", ".join(f"{key}: {value}" for key, value in result["machine"].items()))
    print(
        f"\n{'tasks':>6} {'CPUs':>5} {'form':12} {'events/s':>11} {'x SimPy':>8} {'range':>14}  events per simulated s"
    )
    for row in result["speed"]:
        low, high = row["ratio_range"]
        print(
            f"{row['tasks']:6} {row['cpus']:5} {row['form']:12} {row['events_per_s']:11,} {row['ratio_to_simpy']:8.2f} "
            f"{low:6.2f}-{high:<7.2f}  {row['events_per_simulated_s']:,} {_verdict(row)}"
        )
    print("\nns per event on 4 CPUs\n" + " ".join(f"{name:>14}" for name in result["growth"][0]))
    for row in result["growth"]:
        print(" ".join(f"{value:14,}" for value in row.values()))
    print("\nresident memory, 1000 tasks on 64 CPUs")
    for row in result["memory"]:
        print(f"{row['events']:12,} events {row['resident_kib']:9,} KiB")


def _verdict(row: dict) -> str:
    target = TARGETS.get(row["form"])
    if target is None:
        return ""
    return f"(target {target}: {'met' if row['ratio_to_simpy'] >= target else 'MISSED'})"


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["serve"] else main()
