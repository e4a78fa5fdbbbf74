"""How fast clusters are: against plain objects, as a whole process, and as they grow.

Run it as ``python tests/bench/bench_cluster.py [ratio] [process] [growth] [--sizes HOSTS ...] [--plot FILE]
[--json FILE]``; it is not collected by pytest. ``bench_cluster.json`` and ``bench_cluster.png`` beside it are a
recorded run. Times are CPU seconds, so that a busy machine matters little.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import plain_consolidation

from virtsim.cluster import ClusterScenario, GuestGroup, HostGroup, Policy, read_planetlab, run_reference
from virtsim.cluster.simulate import simulate_cluster
from virtsim.cluster.traces import Traces
from virtsim.core.spec import Size

DATA = Path(__file__).parent.parent.parent / "data" / "planetlab.npz"
DAY = "20110303"


def ratio() -> None:
    """One run of the plain implementation between two of the array one, same day, same policy, same answer."""
    traces = read_planetlab(DATA, DAY)
    matrix = np.rint(traces.use * 100).astype(int).tolist()
    times = []
    for _ in range(2):
        start = time.process_time()
        ours = run_reference(traces, "lr-mmt").totals
        times.append(time.process_time() - start)
    start = time.process_time()
    plain = plain_consolidation.run(matrix, "lr-mmt")
    plain_s = time.process_time() - start
    start = time.process_time()
    run_reference(traces, "lr-mmt")
    times.append(time.process_time() - start)
    assert plain["migrations"] == ours["migrations"]
    middle = sorted(times)[1]
    print(f"plain objects {plain_s:.1f} s, arrays {middle:.2f} s CPU: {plain_s / middle:.0f} times faster")


def process() -> None:
    """The command as users call it: CPU of the whole process, start of Python included, and its largest memory."""
    command = [sys.executable, "-m", "virtsim", "cluster", "run", "--traces", str(DATA), "--day", DAY]
    command += ["--policy", "lr-mmt", "--rules", "cloudsim-3.0.3"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"whole process: {cpu:.2f} s CPU, {after.ru_maxrss / 1024:.0f} MiB (targets: 2 s, 300 MiB)")


def growth(sizes: list[int], plot: str, record: str) -> None:
    """A day by the default rules, five guests a host, of PlanetLab traces drawn with replacement.

    With ``--json`` the days go into the file one by one, beside those of other sizes that are there; the plot shows all
    that the file has then. So sizes can be run in several processes, which also tells their memory apart. Digests tell
    whether the days are still the same.
    """
    base = read_planetlab(DATA, DAY)
    rows: list[dict[str, float | str]] = []
    for hosts in sizes:
        traces = base.resample(5 * hosts, np.random.Generator(np.random.PCG64(1)))
        start = time.process_time()
        result = simulate_cluster(large(hosts, traces), traces)
        cpu = time.process_time() - start
        rows.append(
            {
                "hosts": hosts,
                "guests": 5 * hosts,
                "cpu_s": round(cpu, 1),
                "migrations": result.value("migrations"),
                "mean_active_hosts": round(result.value("mean_active_hosts"), 1),
                "peak_mib": round(peak_mib()),
                "digest": result.digest,
            }
        )
        if record:
            rows = merge(rows, Path(record))
        print(
            f"{hosts} hosts, {5 * hosts} guests: {cpu:.1f} s CPU, {result.value('migrations')} migrations, "
            f"{result.value('mean_active_hosts'):.0f} hosts on, {peak_mib():.0f} MiB, digest {result.digest}",
            flush=True,
        )
    if plot and len(rows) > 1:
        draw(rows, plot)


def merge(rows: list[dict[str, float | str]], record: Path) -> list[dict[str, float | str]]:
    """Write days to a record, in place of those of the same size; what it has then."""
    there = json.loads(record.read_text())["days"] if record.is_file() else []
    days = {row["hosts"]: row for row in [*there, *rows]}
    merged = [days[hosts] for hosts in sorted(days)]
    record.write_text(json.dumps({"machine": machine(), "days": merged}, indent=1) + "\n")
    return merged


def machine() -> str:
    """What kind of machine this is: processor and number of CPUs."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown CPU")
    guest = " guest" if any(line.startswith("flags") and " hypervisor" in line for line in lines) else ""
    return f"{os.cpu_count()} CPUs, {model}{guest}, Python {sys.version_info[0]}.{sys.version_info[1]}"


def large(hosts: int, traces: Traces) -> ClusterScenario:
    """Servers of 12 cores and 64 GiB with five guests of four cores and 4 GiB each."""
    return ClusterScenario(
        hosts=[
            HostGroup(
                name="h",
                count=hosts,
                cores=12,
                core_mips=3070,
                memory=Size(64 << 30),
                network=Size(1_250_000_000),
                power="ibm-x3550-x5675",
            )
        ],
        guests=[GuestGroup(name="g", count=len(traces.guests), cores=4, core_mips=3070, memory=Size(4 << 30))],
        policy=Policy(overload="lr"),
    )


def peak_mib() -> float:
    """Largest memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def draw(rows: list[dict[str, float | str]], plot: str) -> None:
    """Cost of a day and of a migration against size, with the exponents of power laws."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    sizes = np.array([row["hosts"] for row in rows], dtype=float)
    times = np.array([row["cpu_s"] for row in rows])
    moves = np.array([row["migrations"] for row in rows], dtype=float)
    figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    for ax, values, label, unit in (
        (axes[0], times, "CPU time", "CPU time of one day (s)"),
        (axes[1], moves, "migrations", "migrations in one day"),
    ):
        exponent, factor = np.polyfit(np.log(sizes), np.log(values), 1)
        print(f"{label} grows as hosts ** {exponent:.2f}")
        ax.loglog(sizes, values, "o", label="measured")
        ax.loglog(sizes, np.exp(factor) * sizes**exponent, "k--", lw=1, label=f"hosts^{exponent:.2f}")
        ax.set(xlabel="hosts (five guests each)", ylabel=unit)
        ax.legend()
    figure.savefig(plot, dpi=150)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", default=["process", "ratio", "growth"])
    parser.add_argument("--sizes", type=int, nargs="*", default=[500, 1000, 2000, 5000, 10_000, 20_000])
    parser.add_argument("--plot", default="")
    parser.add_argument("--json", default="")
    chosen = parser.parse_args()
    for name in chosen.what:
        if name == "growth":
            growth(chosen.sizes, chosen.plot, chosen.json)
        else:
            {"process": process, "ratio": ratio}[name]()
