"""What ``import virtsim`` costs, against ``import simpy, numpy``; run by ``make bench``.

Every import is timed in a process of its own, the candidates in turn, so that whatever else the machine does
meets all of them; the medians are compared. Exit status 1 if the ratio is over the limit.
"""

import argparse
import statistics
import subprocess
import sys
import time

LIMIT = 1.5
CANDIDATES = {
    "nothing": "pass",
    "simpy, numpy": "import simpy, numpy",
    "virtsim": "import virtsim",
    "virtsim, all of the model": "import virtsim as vs; vs.Scenario, vs.simulate, vs.sweep, vs.RunSet, vs.workloads",
}


def import_seconds(code: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - started


def measure(rounds: int) -> dict[str, float]:
    """Median seconds of each candidate."""
    times: dict[str, list[float]] = {name: [] for name in CANDIDATES}
    for _ in range(rounds):
        for name, code in CANDIDATES.items():
            times[name].append(import_seconds(code))
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=21)
    medians = measure(parser.parse_args().rounds)
    start, reference = medians["nothing"], medians["simpy, numpy"]
    for name, seconds in medians.items():
        print(
            f"import {name:28} {seconds * 1e3:7.1f} ms, {(seconds - start) * 1e3:7.1f} ms over an empty Python, "
            f"{seconds / reference:5.2f} of simpy and numpy"
        )
    ratio = medians["virtsim"] / reference
    print(f"import virtsim costs {ratio:.2f} of import simpy, numpy (limit {LIMIT})")
    return int(ratio > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
