"""What scheduling twice costs: spinlocks whose holder is away, wake-ups of who is not there, and halts that poll."""

from __future__ import annotations

from statistics import median

import virtsim as vs
from virtsim.core.spec import encode_json, from_builtins
from virtsim.core.units import parse_duration
from virtsim.platform.host import BARE_ONLY
from virtsim.plots import save_figure
from virtsim.plots.style import PALETTE, new_panels, plain_numbers, style
from virtsim.scenario.scenario import Scenario

#: What is compared under spinlocks: stack, scheduler, and what happens about who spins.
SPINNERS = {
    "KVM, nothing done": ("kvm", "fair", "plain"),
    "KVM, pause-loop exits": ("kvm", "fair", "ple"),
    "KVM, paravirtual locks": ("kvm", "fair", "pv"),
    "co-scheduled, nothing done": ("kvm", "gang", "plain"),
    "Xen credit, paravirtual locks": ("xen-pv", "credit", "pv"),
    "Xen credit2, paravirtual locks": ("xen-pv", "credit2", "pv"),
}
#: What schedules a job's vCPU beside another guest's.
SCHEDULERS = {
    "container": ("container", None),
    "KVM (EEVDF)": ("kvm", "fair"),
    "Xen credit": ("xen-pv", "credit"),
    "Xen credit2": ("xen-pv", "credit2"),
    "Xen BVT": ("xen-pv", "bvt"),
    "co-scheduled": ("xen-pv", "gang"),
}


def run(context) -> None:
    """Simulate the three parts, record what the claim rests on, draw."""
    exits = vs.load_host(context.parameters["exits"]).prices
    card = vs.load_host(context.parameters["host"]).with_prices({name: exits[name] for name in BARE_ONLY}, virtual="")
    host = card.replace(topology=card.topology.replace(cpus=int(context.parameters["cpus"])))
    locks = spinlocks(context, host)
    wakes = wakeups(context, host)
    polls = polling(context, host)
    keep = {"rounds_per_cpu_ms": locks, "wakeup_latency_us": wakes, "polling": polls}
    (context.folder / "results-in-full.json").write_bytes(encode_json(keep))
    record(context, locks, wakes, polls)
    draw(context.folder, context.parameters, locks, wakes, polls)


def simulate(guests, duration, host, seed, cpus=None):
    """One run of guests given as plain tables."""
    table = {"name": "double", "duration": duration, "guests": guests} | ({"cpus": cpus} if cpus else {})
    return vs.simulate(from_builtins(table, Scenario), host=host, seed=seed)


def repeat(context, build, measure, host):
    """The median over replications of what is measured."""
    p = context.parameters
    seeds = [context.seed + i for i in range(int(p["replications"]))]
    return median(measure(simulate(build(), p["duration"], host, seed)) for seed in seeds)


# -- locks --------------------------------------------------------------------------------------------------------


def spinlocks(context, host):
    """Rounds of the first guest for each ms of CPU time that is its share, by setting and number of guests."""
    p = context.parameters
    vcpus = int(p["vcpus"])
    body = [
        {"op": "spin_lock", "name": "kernel"},
        {"op": "compute", "work": p["held"]},
        {"op": "spin_unlock", "name": "kernel"},
        {"op": "compute", "work": f"exponential({p['free']})"},
    ]
    task = {"name": "cpu", "count": vcpus, "program": [{"op": "repeat", "body": body}]}

    def build(setting, crowd):
        stack, scheduler, spinning = setting
        machine = {"scheduler": scheduler, "spinning": spinning}
        guest = {"stack": stack, "vcpus": vcpus, "machine": machine, "workload": {"tasks": [task]}}
        return [guest | {"name": f"guest{i}"} for i in range(crowd)]

    def rounds(run):
        done = sum(task.operations["spin_unlock"] for task in run.tasks)
        return done * 1e6 / (run.duration_ns * int(p["cpus"]))

    found = {}
    for name, setting in context.progress(list(SPINNERS.items()), "spinlocks"):
        found[name] = [
            repeat(context, lambda setting=setting, crowd=crowd: build(setting, crowd), rounds, host)
            for crowd in p["guests"]
        ]
    return found


# -- wake-ups -----------------------------------------------------------------------------------------------------


def wakeups(context, host):
    """Quantiles of a periodic job's wake-up latency beside a guest that computes, on one CPU."""
    p = context.parameters
    job = {"op": "periodic", "period": p["period"], "body": [{"op": "compute", "work": p["work"]}]}
    hog = {"op": "repeat", "body": [{"op": "compute", "work": "10ms"}]}

    def build(stack, scheduler):
        more = {} if scheduler is None else {"vcpus": 1, "machine": {"scheduler": scheduler}}
        return [
            {"name": name, "stack": stack, "workload": {"tasks": [{"name": name, "program": [operation]}]}} | more
            for name, operation in (("job", job), ("hog", hog))
        ]

    found = {}
    for name, (stack, scheduler) in context.progress(list(SCHEDULERS.items()), "wake-ups"):
        runs = [
            simulate(build(stack, scheduler), p["duration"], host, context.seed + i, "0")
            for i in range(int(p["replications"]))
        ]
        latencies = [latency for run in runs for latency in run.latencies]
        histograms = [seen.histogram for seen in latencies if seen.guest == "job" and seen.kind == "wakeup_latency"]
        found[name] = {
            f"p{q}": median(histogram.percentile_ns(q) for histogram in histograms) / 1e3 for q in (50, 90, 99)
        }
    return found


# -- polling ------------------------------------------------------------------------------------------------------


def polling(context, host):
    """Time of a round trip between two vCPUs and CPU time of the host in each, by the gap between messages."""
    p = context.parameters
    found = {}
    for poll in context.progress(list(p["polls"]), "polling"):
        rows = []
        for gap in p["gaps"]:
            runs = [
                simulate(pair(poll, gap), p["duration"], host, context.seed + i) for i in range(int(p["replications"]))
            ]
            rows.append({"gap": gap} | {key: median(trip(run)[key] for run in runs) for key in ("latency_us", "cpu")})
        found[poll] = rows
    return found


def pair(poll, gap):
    """A task that asks every ``gap`` and one that answers, each on a vCPU of its own."""
    ask = [{"op": "send", "channel": "there"}, {"op": "receive", "channel": "back"}, {"op": "sleep", "time": gap}]
    answer = [{"op": "receive", "channel": "there"}, {"op": "send", "channel": "back"}]
    tasks = [
        {"name": name, "cpus": str(cpu), "timer_slack": "1ns", "program": [{"op": "repeat", "body": body}]}
        for cpu, (name, body) in enumerate((("ask", ask), ("answer", answer)))
    ]
    return [{"name": "pair", "stack": "kvm", "vcpus": 2, "machine": {"halt_poll": poll}, "workload": {"tasks": tasks}}]


def trip(run):
    """Time of a round over the sleep that is in it, us, and CPUs that the guest keeps busy."""
    rounds = next(task for task in run.tasks if task.task == "ask").operations["sleep"]
    seconds = run.duration_ns / 1e9
    used = sum(v.busy_time_ns + v.overhead_time_ns for v in run.guests[0].vcpus)
    return {"latency_us": seconds * 1e6 / rounds, "cpu": used / run.duration_ns}


# -- what the claim rests on --------------------------------------------------------------------------------------


def record(context, locks, wakes, polls) -> None:
    """Ratios."""
    crowds = context.parameters["guests"]
    alone = locks["KVM, nothing done"][0]
    for name, values in locks.items():
        context.record(f"work at {crowds[1]} guests over alone, {name}", values[1] / alone)
    for name, found in wakes.items():
        context.record(f"wake-up p99, us, {name}", found["p99"])
    context.record("wake-up p50, KVM over container", wakes["KVM (EEVDF)"]["p50"] / wakes["container"]["p50"])
    longest, shortest = polls[context.parameters["polls"][-1]], polls[context.parameters["polls"][0]]
    saved = shortest[0]["latency_us"] - longest[0]["latency_us"]
    context.record("round trips saved by polling, us, shortest gap", saved)
    context.record("CPUs burnt by polling, shortest gap", longest[0]["cpu"] - shortest[0]["cpu"])
    context.record("CPUs burnt by polling, longest gap", longest[-1]["cpu"] - shortest[-1]["cpu"])


def draw(folder, parameters, locks, wakes, polls) -> None:
    """Three panels, one for each part."""
    with style():
        axes = new_panels(1, 3, 13.0, 4.2)
        draw_locks(axes[0], parameters["guests"], locks)
        draw_wakes(axes[1], wakes)
        draw_polls(axes[2], polls)
    save_figure(axes, folder / "double-scheduling.png")


def draw_locks(ax, crowds, locks) -> None:
    alone = locks["KVM, nothing done"][0]
    for colour, (name, values) in zip(PALETTE, locks.items(), strict=False):
        ax.plot(crowds, [100 * value / alone for value in values], color=colour, marker="o", label=name)
    ax.set_ylim(0, 130)
    ax.set_xticks(crowds)
    ax.set_xlabel("guests of 4 vCPUs on 4 CPUs")
    ax.set_ylabel("work of all guests, % of one alone")
    ax.set_title("A kernel lock")
    ax.legend(fontsize=7, loc="center right")


def draw_wakes(ax, wakes) -> None:
    for place, found in enumerate(wakes.values()):
        ax.plot([found["p50"], found["p99"]], [place, place], color=PALETTE[0], linewidth=2)
        for quantile, marker in (("p50", "o"), ("p90", "|"), ("p99", ">")):
            label = quantile if place == 0 else None
            ax.plot([found[quantile]], [place], color=PALETTE[1], marker=marker, linestyle="none", label=label)
    ax.set_yticks(range(len(wakes)), list(wakes))
    ax.invert_yaxis()
    ax.set_xscale("log")
    plain_numbers(ax, "x")
    ax.set_xlabel("wake-up latency (µs)")
    ax.set_title("A job beside a guest that computes")
    ax.legend(fontsize=7)


def draw_polls(ax, polls) -> None:
    for colour, (poll, rows) in zip(PALETTE, polls.items(), strict=False):
        gaps = [parse_duration(row["gap"]) / 1e3 for row in rows]
        waits = [row["latency_us"] - gap for row, gap in zip(rows, gaps, strict=True)]
        ax.plot(gaps, waits, color=colour, marker="o", label=f"polls up to {poll}" if poll != "0ns" else "never polls")
        if poll not in (next(iter(polls)), list(polls)[-1]):
            continue
        for gap, wait, row in zip(gaps, waits, rows, strict=True):
            ax.annotate(f"{row['cpu']:.2f}", (gap, wait), (3, 4), textcoords="offset points", fontsize=6, color=colour)
    ax.set_xscale("log")
    plain_numbers(ax, "x")
    ax.set_ylim(0)
    ax.set_xlabel("gap between messages (µs)")
    ax.set_ylabel("round trip and waking up (µs)")
    ax.set_title("Halt polling (numbers: CPUs used)")
    ax.legend(fontsize=7)
