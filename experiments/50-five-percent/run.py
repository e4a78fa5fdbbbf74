"""N servers with one workload each, 5 % used: left alone, and consolidated on as few as the policy dares."""

from __future__ import annotations

import math

import numpy as np

from virtsim.cluster import ClusterScenario, GuestGroup, HostGroup, Policy, Traces, simulate_cluster
from virtsim.cluster.overheads import stack_overhead
from virtsim.cluster.traces.synthetic import load_synthetic
from virtsim.core.spec import Size

TARGET = 0.05
CORES, CORE_MIPS = 12, 3070.0
MEMORY, SERVICE_MEMORY = 64 << 30, 4 << 30
STACKS = ("kvm", "container", "xen-pv")


def run(context) -> None:
    """Run both, record what it took, draw."""
    n, samples = context.parameters["servers"], context.parameters["samples"]
    traces = five_percent(n, samples, context.seed)
    before = simulate_cluster(scenario(n, "native", moves=False), traces, seed=context.seed)
    after = {
        stack: simulate_cluster(scenario(n, stack, moves=True), traces, seed=context.seed)
        for stack in context.progress(STACKS, "stacks")
    }
    before.save(context.folder / "before.json")
    for stack, result in after.items():
        result.save(context.folder / f"{stack}.json")
    kvm = after["kvm"]
    bound = bounds(traces, "kvm")
    half = len(kvm.series["active_hosts"]) // 2
    settled = float(np.mean(kvm.series["active_hosts"][half:]))
    settled_bound = float(np.mean(bound[1:][half:]))
    context.record("mean_use", float(traces.use.mean()))
    context.record("servers", n)
    context.record("hosts_settled", settled)
    context.record("hosts_bound", settled_bound)
    context.record("hosts_over_bound", settled / settled_bound)
    context.record("servers_per_host", n / settled)
    context.record("energy_before_kwh", before.value("energy_kwh"))
    context.record("energy_after_kwh", kvm.value("energy_kwh"))
    context.record("energy_saved_share", 1 - kvm.value("energy_kwh") / before.value("energy_kwh"))
    context.record("slatah", kvm.value("slatah"))
    context.record("work_lost_share", kvm.value("sla_overall"))
    context.record("migrations_per_guest", kvm.value("migrations") / n)
    for stack in STACKS:
        context.record(f"energy_{stack}_kwh", after[stack].value("energy_kwh"))
    draw(context, before, after, bound)


def five_percent(n: int, samples: int, seed: int) -> Traces:
    """Demand with the shape of PlanetLab's days, scaled to 5 % of a server in the mean."""
    traces = load_synthetic().generate(n, samples, seed)
    return Traces(
        "5 % used", traces.guests, np.minimum(traces.use * (TARGET / float(traces.use.mean())), 1.0), traces.step_ns
    )


def scenario(n: int, stack: str, moves: bool) -> ClusterScenario:
    """As many hosts as workloads; a new workload is given a whole host, as its server was."""
    policy = Policy(overload="thr", overload_parameter=0.8) if moves else Policy(consolidation="none", idle_hosts="on")
    return ClusterScenario(
        name=f"{n} servers, {stack}",
        hosts=[
            HostGroup(
                name="server",
                count=n,
                cores=CORES,
                core_mips=CORE_MIPS,
                memory=Size(MEMORY),
                network=Size(1_250_000_000),
                power="ibm-x3550-x5675",
            )
        ],
        guests=[
            GuestGroup(
                name="service", count=n, cores=CORES, core_mips=CORE_MIPS, memory=Size(SERVICE_MEMORY), stack=stack
            )
        ],
        policy=policy,
    )


def bounds(traces: Traces, stack: str) -> list[int]:
    """Fewest hosts that could carry the demand of each sample: by CPU and by memory, whole hosts."""
    overhead = stack_overhead(stack)
    by_memory = math.ceil(len(traces.guests) * (SERVICE_MEMORY + overhead.memory_bytes) / MEMORY)
    return [max(by_memory, math.ceil(total)) for total in (traces.use.sum(axis=0) * overhead.cpu).tolist()]


def draw(context, before, after, bound) -> None:
    """Hosts and power over time."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (hosts, power) = plt.subplots(2, 1, figsize=(7, 6), sharex=True, layout="constrained")
    for label, result in {"one each": before, **after}.items():
        hours = np.array(result.series["time_s"]) / 3600
        hosts.plot(hours, result.series["active_hosts"], label=label)
        power.plot(hours, np.array(result.series["watts"]) / 1e3, label=label)
    hosts.plot(np.arange(len(bound)) / 12, bound, "k--", lw=1, label="lower bound")
    hosts.set(ylabel="hosts that are on", yscale="log")
    power.set(xlabel="time (h)", ylabel="power (kW)", ylim=(0, None))
    hosts.legend(ncols=3, fontsize="small")
    figure.savefig(context.folder / "hosts-and-power.png", dpi=150)
    plt.close(figure)
