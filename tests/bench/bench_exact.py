"""Which solver proves more two-dimensional placements in ten seconds: HiGHS or OR-Tools CP-SAT?

    python tests/bench/bench_exact.py [SECONDS] [INSTANCES]

It is not collected by pytest. The solvers get the instances that the quick bounds and heuristics leave open, without
the column bound, so that only they differ. Every attempt is a process of its own that the kernel ends after so many
seconds of CPU time, all threads together: what else the machine does makes the bench longer, not the result
different. Results are written beside this file.
"""

from __future__ import annotations

import json
import multiprocessing
import platform
import resource
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import ortools
import scipy
import scipy.optimize
from ortools.sat.python import cp_model  # noqa: F401 - loaded before the processes are made, so that none pays for it

from virtsim.cluster.policies import exact
from virtsim.cluster.policies.bounds import lower_bound
from virtsim.cluster.policies.tables import Guests, Hosts

OUT = Path(__file__).with_suffix(".json")
CLASSES = {
    "uniform 10-40 %": lambda random, n: random.uniform(10, 40, (n, 2)),
    "small 2-25 %": lambda random, n: random.uniform(2, 25, (n, 2)),
    "four memory sizes": lambda random, n: np.stack(
        [random.uniform(1, 40, n), random.choice([15.0, 21.2, 42.5, 42.5], n)], axis=1
    ),
}
SIZES = (20, 30, 40, 60)
SOLVERS = ("highs", "cp-sat")


def open_instances(make, n: int, wanted: int) -> list[tuple[int, Guests, Hosts]]:
    """Seeds and instances on which the heuristics do not reach the quick bound."""
    found: list[tuple[int, Guests, Hosts]] = []
    for seed in range(400):
        random = np.random.Generator(np.random.PCG64(seed))
        guests = Guests([f"g{i}" for i in range(n)], np.round(make(random, n), 2))
        hosts = Hosts([f"h{i}" for i in range(n)], np.tile([100.0, 100.0], (n, 1)))
        if exact.ExactPlacement()._heuristic(guests, hosts).hosts > lower_bound(guests, hosts):
            found.append((seed, guests, hosts))
        if len(found) == wanted:
            break
    return found


def attempt(answer: Connection, solver: str, seconds: float, guests: Guests, hosts: Hosts) -> None:
    """In a process of its own: tell what is proven, if the CPU time lasts."""
    whole = int(np.ceil(seconds))
    resource.setrlimit(resource.RLIMIT_CPU, (whole, whole))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    packing = exact.ExactPlacement(100 * seconds, solver).pack(guests, hosts)
    answer.send((packing.hosts, packing.bound, time.process_time()))


def proof(solver: str, seconds: float, guests: Guests, hosts: Hosts) -> dict[str, float] | None:
    """Hosts, bound and CPU seconds of a proof; None if there was none in time."""
    here, there = multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context("fork")
    process = context.Process(target=attempt, args=(there, solver, seconds, guests, hosts))
    process.start()
    there.close()
    try:
        opened, bound, used = here.recv()
    except EOFError:
        return None
    finally:
        process.join()
    return {"hosts": opened, "cpu_s": round(used, 2)} if opened == bound and used <= seconds else None


def main(seconds: float, wanted: int) -> None:
    """Count proofs by class, size and solver."""
    exact.column_bound = lambda *_: 0  # type: ignore[assignment]
    rows = []
    total = dict.fromkeys(SOLVERS, 0)
    for name, make in CLASSES.items():
        for n in SIZES:
            for seed, guests, hosts in open_instances(make, n, wanted):
                proofs = {solver: proof(solver, seconds, guests, hosts) for solver in SOLVERS}
                both = [one["hosts"] for one in proofs.values() if one]
                assert len(set(both)) <= 1, f"the solvers disagree on {name}, {n} guests, seed {seed}: {proofs}"
                for solver in SOLVERS:
                    total[solver] += proofs[solver] is not None
                rows.append({"class": name, "guests": n, "seed": seed, **proofs})
                print(rows[-1], total, flush=True)
                write(seconds, rows, total)


def write(seconds: float, rows: list[dict], total: dict[str, int]) -> None:
    """All so far."""
    versions = f"Python {platform.python_version()}, SciPy {scipy.__version__}, OR-Tools {ortools.__version__}"
    data = {
        "machine": f"{platform.machine()}, {versions}",
        "limit": f"{seconds:g} s of CPU time an instance, all threads together",
        "instances": len(rows),
        "proven": total,
        "rows": rows,
    }
    OUT.write_text(json.dumps(data, indent=1) + "\n")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main(float(arguments[0]) if arguments else 10.0, int(arguments[1]) if len(arguments) > 1 else 3)
