"""Workloads by stacks, against the textbook's bands; and containers on this kernel, observed or from a record."""

from __future__ import annotations

import os
from statistics import median
from typing import NamedTuple

import virtsim as vs
from virtsim.backends import capability
from virtsim.core.spec import encode_json
from virtsim.experiment.observations import load_observations, save_observations
from virtsim.platform.mixes import load_mix
from virtsim.platform.overhead import overheads
from virtsim.plots import save_figure
from virtsim.plots.style import PALETTE, WORLD, new_axes, style
from virtsim.validation.predict import predict

#: The textbook's bands, %.
BANDS = {"container": (1.0, 5.0), "vm": (5.0, 15.0)}
#: Rules of Docker's filter that the observed container gets; its verdict depends on the call's number only.
FILTER = vs.Isolation(seccomp_rules=434)


def run(context) -> None:
    """The matrix of the model, the observed containers with the model beside, and both as figures."""
    p = context.parameters
    chosen = p.get("only", p["loops"])
    scenarios = {name: scenario_of(name, p["loops"][name]) for name in chosen}
    host, observed = observe_all(context, scenarios) if live() else replay_all(context, scenarios)
    matrix = matrix_of(p, host, context.seed)
    measured = {name: ratios(runs) for name, runs in observed.items()}
    modelled = {}
    for name, scenario in context.progress(list(scenarios.items()), "predictions"):
        modelled[name] = ratios(predict(scenario, n=int(p["replications"]), seed=context.seed, host=host))
    vs.save_runs(context.folder / "real.jsonl.gz", [r for runs in observed.values() for r in runs])
    keep = {"model": matrix, "measured": measured, "modelled": modelled}
    (context.folder / "results-in-full.json").write_bytes(encode_json(keep))
    record(context, matrix, measured, modelled)
    draw_matrix(context.folder, matrix, p["stacks"])
    draw_measured(context.folder, measured, modelled)


# -- the model -------------------------------------------------------------------------------------


class Cell(NamedTuple):
    """Overhead over native, %, its interval, and which part of the difference rests on assumed prices."""

    value: float
    low: float
    high: float
    assumed: float


def matrix_of(p, here, seed):
    """Overheads by workload and stack; some stacks on the machine that is observed."""
    found = {}
    for workload, how in p["workloads"].items():
        batch, cells = how.get("batch", 1), {}
        events = load_mix(f"units-of-work/{how['mix']}").events
        for host in (here, vs.load_host(p["host"])):
            names = [name for name, s in p["stacks"].items() if bool(s.get("here")) == (host is here)]
            stacks = [batched(p["stacks"][name]["card"], batch) for name in names]
            base, n = batched("native", batch), int(p["draws"])
            for name, row in zip(names, overheads(events, stacks, host, base=base, n=n, seed=seed), strict=True):
                cells[name] = Cell(*(100 * end for end in row.over), row.assumed)
        found[workload] = {name: cells[name] for name in p["stacks"]}
    return found


def batched(card, batch):
    """The stack, ``batch`` requests of which share a doorbell and an interrupt."""
    stack = vs.load_stack(card)
    devices = {kind: {"batch": batch} for kind in ("virtio", "split-driver") if has(stack, kind)}
    # The device's batch raises one interrupt for so many already; without one it is the kernel's driver that does.
    return stack.with_parameters(devices or {"linux": {"interrupts_per_packet": 1 / batch}}) if batch > 1 else stack


def has(stack, kind):
    """Whether a layer of the stack is of this kind."""
    return any(layer.kind == kind for layer in stack.card.layers)


def verdict(overhead, band):
    """``below``, ``within`` or ``above`` if the whole interval is, else ``undecided``."""
    low, high = BANDS[band]
    if overhead.high < low:
        return "below"
    if overhead.low > high:
        return "above"
    return "within" if low <= overhead.low and overhead.high <= high else "undecided"


# -- this kernel -----------------------------------------------------------------------------------


def scenario_of(name, loop):
    """The same loop on bare Linux, in a container, in one with a filter, and on bare Linux again, all on one CPU.

    They take turns of a few milliseconds, so that what disturbs the machine disturbs all of them alike; each has a
    group of its own, so that the scheduler treats them alike.
    """
    work = workload_of(loop)
    bare = {guest: {"stack": "native", "group": f"around-{guest}"} for guest in ("native", "again")}
    kinds = {"native": bare["native"], "plain": {}, "filtered": {"isolation": FILTER}, "again": bare["again"]}
    return vs.Scenario(
        name="".join(c if c.isalnum() else "-" for c in name),
        guests=[vs.Guest(guest, workload=work, **how) for guest, how in kinds.items()],
        groups=[vs.Group(f"around-{guest}") for guest in bare],
        duration="10s",
        cpus="0",
    )


def workload_of(loop):
    """``count`` turns of a loop; two processes pass a byte to and fro where it is a pipe."""
    if loop.get("pipe"):
        return vs.workloads.ping_pong(loop["count"])
    program = [{"op": "repeat", "count": loop["count"], "body": loop["body"]}]
    return vs.Workload.from_builtins({"tasks": [{"name": "loop", "program": program}]})


def live():
    """Whether this kernel is observed; VIRTSIM_REPLAY=1 says that it shall not be."""
    return not os.environ.get("VIRTSIM_REPLAY") and capability("container").present


def observe_all(context, scenarios):
    """The runs on this kernel, in turns, with the card that was calibrated on it."""
    host = vs.load_host("this")
    rounds = int(context.parameters["repeats"]) * list(scenarios)
    observed = {name: [] for name in scenarios}
    for name in context.progress(rounds, "observations"):
        observed[name].append(vs.observe(scenarios[name], seed=context.seed, repeats_if_disturbed=1))
    if os.environ.get("VIRTSIM_RECORD"):
        save_observations(context.source / "observations", [r for runs in observed.values() for r in runs], host)
    return host, observed


def replay_all(context, scenarios):
    """The recorded runs, with the card of the machine they were recorded on."""
    recorded = load_observations(context.source / "observations")
    return recorded.host, {name: recorded.of(scenario) for name, scenario in scenarios.items()}


def ratios(runs):
    """Overhead over bare Linux, %, one for each run: CPU time of the same work before, and after, in the same run.

    ``again`` is the second bare run over the first: what nothing but noise does.
    """
    found = {guest: [] for guest in ("plain", "filtered", "again")}
    for run in runs:
        first, last = spent(run, "native"), spent(run, "again")
        for guest in ("plain", "filtered"):
            found[guest].append(100 * (2 * spent(run, guest) / (first + last) - 1))
        found["again"].append(100 * (last / first - 1))
    return {guest: sorted(values) for guest, values in found.items()}


def spent(run, guest):
    """CPU time of all tasks of a guest, ns."""
    return sum(task.cpu_time_ns for task in run.tasks if task.guest == guest)


# -- results ---------------------------------------------------------------------------------------


def record(context, matrix, measured, modelled) -> None:
    """What the claim rests on."""
    stacks = context.parameters["stacks"]
    for band, (low, high) in BANDS.items():
        verdicts = [
            verdict(overhead, stacks[name]["kind"])
            for row in matrix.values()
            for name, overhead in row.items()
            if stacks[name]["kind"] == band and not stacks[name].get("here")
        ]
        for which in ("below", "within", "above", "undecided"):
            context.record(f"share of {band} cells, {which}", verdicts.count(which) / len(verdicts))
        held = [
            sum(low <= row[name].value <= high for row in matrix.values()) / len(matrix)
            for name in stacks
            if stacks[name]["kind"] == band and not stacks[name].get("here")
        ]
        context.record(f"most workloads of one {band} stack within the band, share", max(held))
    for workload, stack in (
        ("arithmetic", "KVM"),
        ("arithmetic", "Docker (bridge, NAT)"),
        ("large memory", "KVM"),
        ("compiling", "KVM"),
        ("key-value gets", "KVM"),
        ("empty system calls", "container, seccomp"),
        ("bulk send", "Docker (bridge, NAT)"),
    ):
        context.record(f"{workload} on {stack}, %", matrix[workload][stack].value)
    one, many = matrix["bulk send"]["KVM"].value, matrix["bulk send, batches of 32"]["KVM"].value
    context.record("bulk send on KVM, one by one over batches", one / many)
    plain = [abs(median(m["plain"])) for m in measured.values()]
    context.record("measured container without filter, median of |overhead|, %", median(plain))
    context.record("measured container without filter, largest |overhead|, %", max(plain))
    context.record("measured empty system calls with a filter, %", median(measured["empty system calls"]["filtered"]))
    context.record("measured arithmetic with a filter, %", median(measured["arithmetic"]["filtered"]))
    apart = [
        abs(median(measured[name][guest]) - median(modelled[name][guest]))
        for name in measured
        for guest in measured[name]
    ]
    context.record("model to measurement, median difference, percentage points", median(apart))


def draw_matrix(folder, matrix, stacks) -> None:
    """Overheads as numbers on a logarithmic scale of colours; a frame where the textbook's band holds."""
    from matplotlib.colors import LogNorm
    from matplotlib.patches import Rectangle

    names = list(stacks)
    values = [[max(row[name].value, 0.1) for name in names] for row in matrix.values()]
    with style():
        ax = new_axes(11.5, 6.6)
        ax.grid(visible=False)
        ax.imshow(values, cmap="YlOrBr", norm=LogNorm(0.3, 3000), aspect="auto")
        for y, row in enumerate(matrix.values()):
            for x, name in enumerate(names):
                found = row[name]
                colour = "white" if found.value > 250 else "black"
                text = percent(found.value) + ("*" if found.assumed > 0.5 and found.value > 0.05 else "")
                ax.annotate(text, (x, y - 0.12), ha="center", va="center", fontsize=8, color=colour)
                ends = f"{percent(found.low)} – {percent(found.high)}"
                ax.annotate(ends, (x, y + 0.27), ha="center", va="center", fontsize=5.5, color=colour)
                low, high = BANDS[stacks[name]["kind"]]
                if low <= found.value <= high:
                    ax.add_patch(
                        Rectangle((x - 0.47, y - 0.47), 0.94, 0.94, fill=False, edgecolor=PALETTE[0], linewidth=1.8)
                    )
        containers = sum(s["kind"] == "container" for s in stacks.values())
        ax.axvline(containers - 0.5, color="white", linewidth=4)
        ax.set_xticks(range(len(names)), names, rotation=35, ha="right", rotation_mode="anchor")
        ax.set_yticks(range(len(matrix)), list(matrix))
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        ax.set_title(
            "CPU time over native, %; below each: 5 to 95 % of draws; *: rests mostly on assumed prices\n"
            "framed: within the textbook's band, 1 to 5 % for containers (left), 5 to 15 % for virtual machines"
        )
    save_figure(ax, folder / "matrix.png")


def percent(value):
    """Two digits, plainly."""
    if abs(value) < 0.05:
        return "0"
    return f"{value:.1f}" if abs(value) < 9.5 else f"{value:,.0f}"


def draw_measured(folder, measured, modelled) -> None:
    """Each run's overhead on this kernel, and the model's interval beside it."""
    with style():
        ax = new_axes(7.8, 0.9 + 0.42 * len(measured))
        for y, name in enumerate(measured):
            noise = measured[name]["again"]
            ax.plot(noise, [y - 0.34] * len(noise), marker="|", color="#909090", linestyle="none", markersize=6)
            for at, guest, marker in ((y - 0.1, "plain", "o"), (y + 0.22, "filtered", "D")):
                real, model = measured[name][guest], modelled[name][guest]
                ends = {"color": WORLD["model"], "alpha": 0.6, "solid_capstyle": "butt"}
                ax.plot([model[0], model[-1]], [at + 0.1] * 2, linewidth=3, **ends)
                ax.plot([median(model)], [at + 0.1], marker="|", color=WORLD["model"], markersize=8, markeredgewidth=2)
                ax.plot(
                    real, [at - 0.04] * len(real), marker=marker, color=WORLD["real"], linestyle="none", markersize=4
                )
        ax.axvspan(1, 5, color="#F0F0F0", zorder=0)
        ax.axvline(0, color="#404040", linewidth=0.8)
        ax.set_xscale("symlog", linthresh=5, linscale=1.5)
        ax.set_xticks([-5, 0, 5, 10, 20, 50, 100], ["-5", "0", "5", "10", "20", "50", "100"])
        ax.set_yticks(range(len(measured)), list(measured))
        ax.set_ylim(len(measured) - 0.5, -0.5)
        ax.set_xlabel("CPU time in the container over bare Linux (%); band: 1 to 5 %")
        legend(ax)
    save_figure(ax, folder / "measured.png")


def legend(ax) -> None:
    """Worlds by colour, containers by marker."""
    from matplotlib.lines import Line2D

    points = {"color": WORLD["real"], "linestyle": "none"}
    handles = [
        Line2D([], [], marker="o", label="kernel: container", **points),
        Line2D([], [], marker="D", label="kernel: container, seccomp", **points),
        Line2D([], [], color=WORLD["model"], linewidth=3, alpha=0.6, label="model"),
        Line2D([], [], marker="|", color="#909090", linestyle="none", label="bare Linux again"),
    ]
    ax.figure.legend(handles=handles, loc="outside lower center", ncols=4)
