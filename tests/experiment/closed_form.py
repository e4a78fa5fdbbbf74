"""A small exact model with the machine's signature: weighted sharing of one CPU, in closed form.

It lets the tests of replications and sweeps run without the machine, and other processes import it by name.
"""

import os
import time

from virtsim.core.errors import ModelError
from virtsim.core.streams import SplitMix64, Streams
from virtsim.results.histogram import Histogram
from virtsim.results.run import GuestRecord, LatencyRecord, Run, TaskRecord
from virtsim.workload.draw import Draw


def simulate(scenario, *, seed=0, replication=0, timeline=False):
    """Every guest gets its weight's share; a request takes an exponential time stretched by that share."""
    if scenario.host == "broken":
        raise ModelError("the host is broken")
    streams = Streams(seed, replication)
    total = sum(guest.cpu_weight for guest in scenario.guests)
    guests, tasks, latencies = [], [], []
    for guest in scenario.guests:
        rng = SplitMix64(streams.seed64(f"guests.{guest.name}", "service"))
        share = guest.cpu_weight / total
        cost = 1.0 if guest.stack == "native" else 1.02
        histogram = Histogram()
        for _ in range(200):
            histogram.add(round(Draw("exponential", (1_000_000,)).sample(rng) * cost / share))
        cpu_time = round(scenario.duration * share) - rng.next() % 1000
        guests.append(GuestRecord(guest=guest.name, cpu_time_ns=cpu_time))
        tasks.append(TaskRecord(guest=guest.name, task="t", start_ns=0, cpu_time_ns=cpu_time))
        latencies.append(LatencyRecord(guest=guest.name, task="t", kind="request_latency", histogram=histogram))
    return Run(
        world="model",
        scenario=scenario,
        seed=seed,
        duration_ns=int(scenario.duration),
        tasks=tasks,
        guests=guests,
        latencies=latencies,
        manifest={"pid": os.getpid()},
    )


def dies_at_three(scenario, *, seed=0, replication=0, timeline=False):
    """Stands for a run that is broken off: the process is gone at replication 3."""
    if replication == 3 and not os.environ.get("VIRTSIM_TEST_SURVIVES"):
        raise KeyboardInterrupt
    return simulate(scenario, seed=seed, replication=replication)


def last_first(scenario, *, seed=0, replication=0, timeline=False):
    """Earlier replications end later."""
    time.sleep(0.2 / (1 + replication))
    return simulate(scenario, seed=seed, replication=replication)


def in_folder(scenario, *, seed=0, replication=0, timeline=False, folder=None):
    """Takes one argument more than needed."""
    return simulate(scenario, seed=seed, replication=replication)
