"""Which solver proves more two-dimensional placements in ten seconds: HiGHS or OR-Tools CP-SAT?

Run it as ``python tests/bench/bench_exact.py [SECONDS] [INSTANCES]``; it is not collected by pytest. The solvers get
the instances that the quick bounds and heuristics leave open, without the column bound, so that only they differ.
"""

from __future__ import annotations

import sys

import numpy as np

from virtsim.cluster.policies import exact
from virtsim.cluster.policies.bounds import lower_bound
from virtsim.cluster.policies.tables import Guests, Hosts

CLASSES = {
    "uniform 10-40 %": lambda random, n: random.uniform(10, 40, (n, 2)),
    "small 2-25 %": lambda random, n: random.uniform(2, 25, (n, 2)),
    "four memory sizes": lambda random, n: np.stack(
        [random.uniform(1, 40, n), random.choice([15.0, 21.2, 42.5, 42.5], n)], axis=1
    ),
}
SIZES = (20, 30, 40, 60)


def open_instances(make, n: int, wanted: int) -> list[tuple[Guests, Hosts]]:
    """Instances on which the heuristics do not reach the quick bound."""
    found: list[tuple[Guests, Hosts]] = []
    for seed in range(400):
        random = np.random.Generator(np.random.PCG64(seed))
        guests = Guests([f"g{i}" for i in range(n)], np.round(make(random, n), 2))
        hosts = Hosts([f"h{i}" for i in range(n)], np.tile([100.0, 100.0], (n, 1)))
        if exact.ExactPlacement()._heuristic(guests, hosts).hosts > lower_bound(guests, hosts):
            found.append((guests, hosts))
        if len(found) == wanted:
            break
    return found


def main(seconds: float, wanted: int) -> None:
    """Count proofs by class, size and solver."""
    exact.column_bound = lambda *_: 0  # type: ignore[assignment]
    total = {"highs": 0, "cp-sat": 0}
    for name, make in CLASSES.items():
        for n in SIZES:
            instances = open_instances(make, n, wanted)
            proofs = {}
            for solver in total:
                packings = [exact.ExactPlacement(seconds, solver).pack(*instance) for instance in instances]
                proofs[solver] = sum(packing.proven for packing in packings)
                total[solver] += proofs[solver]
            print(f"{name}, {n} guests: {len(instances)} open, proven by {proofs}", flush=True)
    print(f"together: {total}")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main(float(arguments[0]) if arguments else 10.0, int(arguments[1]) if len(arguments) > 1 else 3)
