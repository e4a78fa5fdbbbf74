"""How fast clusters are: against plain objects, as a whole process, and as they grow.

Run it as ``python tests/bench/bench_cluster.py [ratio] [process] [growth] [--most HOSTS] [--plot FILE] [--json FILE]``;
it is not collected by pytest. ``bench_cluster.json`` and ``bench_cluster.png`` beside it are a recorded run. Times are
CPU seconds, so that a busy machine matters little.
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
    command = [sys.executable, "-m", "virtsim.cli.cluster", "run", "--traces", str(DATA), "--day", DAY]
    command += ["--policy", "lr-mmt", "--rules", "cloudsim-3.0.3"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"whole process: {cpu:.2f} s CPU, {after.ru_maxrss / 1024:.0f} MiB (targets: 2 s, 300 MiB)")


def growth(most: int, plot: str, record: str) -> None:
    """A day by the default rules, five guests a host, of PlanetLab traces drawn with replacement."""
    base = read_planetlab(DATA, DAY)
    sizes = [n for n in (500, 1000, 2000, 5000, 10_000, 20_000) if n <= most]
    points, rows = [], []
    for hosts in sizes:
        traces = base.resample(5 * hosts, np.random.Generator(np.random.PCG64(1)))
        start = time.process_time()
        result = simulate_cluster(large(hosts, traces), traces)
        cpu = time.process_time() - start
        points.append((hosts, cpu))
        rows.append(
            {
                "hosts": hosts,
                "guests": 5 * hosts,
                "cpu_s": round(cpu, 1),
                "migrations": result.value("migrations"),
                "mean_active_hosts": round(result.value("mean_active_hosts"), 1),
                "peak_mib": round(peak_mib()),
            }
        )
        if record:
            Path(record).write_text(json.dumps({"machine": machine(), "days": rows}, indent=1) + "\n")
        print(
            f"{hosts} hosts, {5 * hosts} guests: {cpu:.1f} s CPU, {result.value('migrations')} migrations, "
            f"{result.value('mean_active_hosts'):.0f} hosts on, {peak_mib():.0f} MiB",
            flush=True,
        )
    if plot and len(points) > 1:
        draw(points, plot)


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


def draw(points: list[tuple[int, float]], plot: str) -> None:
    """Cost against size, both logarithmic, with the exponent of a power law."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    sizes, times = np.array(points).T
    exponent, factor = np.polyfit(np.log(sizes), np.log(times), 1)
    print(f"cost grows as hosts ** {exponent:.2f}")
    figure, ax = plt.subplots(figsize=(5, 4), layout="constrained")
    ax.loglog(sizes, times, "o-", label="measured")
    ax.loglog(sizes, np.exp(factor) * sizes**exponent, "k--", lw=1, label=f"hosts^{exponent:.2f}")
    ax.set(xlabel="hosts (five guests each)", ylabel="CPU time of one day (s)")
    ax.legend()
    figure.savefig(plot, dpi=150)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", default=["process", "ratio", "growth"])
    parser.add_argument("--most", type=int, default=20_000)
    parser.add_argument("--plot", default="")
    parser.add_argument("--json", default="")
    chosen = parser.parse_args()
    for name in chosen.what:
        if name == "growth":
            growth(chosen.most, chosen.plot, chosen.json)
        else:
            {"process": process, "ratio": ratio}[name]()
