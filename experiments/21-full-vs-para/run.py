"""Twelve workloads on full and paravirtual stacks of three machines; and at which rates of events they cross."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import virtsim as vs
from virtsim.core.spec import encode_json
from virtsim.platform.costs import Costs
from virtsim.platform.draws import PriceDraws, likely
from virtsim.platform.operations import Event, TlbProfile, compute_events
from virtsim.plots import save_figure
from virtsim.plots.style import PALETTE, new_axes, new_panels, plain_numbers, style
from virtsim.validation.literature import paper_stack
from virtsim.validation.literature_cards import load_paper

#: Events whose rate is swept: a label and one unit each.
SWEPT = {
    "system calls": (Event("null"),),
    "page-table entries changed one by one": (Event("pte_map", 0.5), Event("pte_unmap", 0.5)),
    "page-table entries changed in bulk": (Event("pte_fill", 0.5), Event("pte_clear", 0.5)),
    "requests of 4 KiB to a disk": (Event("file_io", 1.0, 4096),),
}
#: How a monitor gets hold of one event, on the machine of 2019: stack, event.
EXITS = {
    "hypercall (Xen)": ("xen-pv", "vmcall"),
    "exit, handled in the kernel": ("kvm", "cpuid"),
    "trap of the switcher (PVM)": ("pvm", "cpuid"),
    "exit, handled by a process": ("kvm", "port_io"),
    "exit of a nested guest": ("kvm-nested", "cpuid"),
    "exit of a nested guest, by a process": ("kvm-nested", "port_io"),
}


class Technique(NamedTuple):
    """A stack of a machine."""

    name: str
    full: bool
    stack: object


class Machine(NamedTuple):
    """A machine, its native stack, and what is compared with it."""

    year: int
    host: object
    native: object
    techniques: list[Technique]


def run(context) -> None:
    """Slow-downs, crossovers, budgets, and a simulation beside."""
    p = context.parameters
    machines = [machine_of(entry) for entry in p["machines"]]
    draws = {m.year: PriceDraws(m.host, int(p["draws"]), context.seed, exact=("compute",)) for m in machines}
    slow = {m.year: slowdowns(m, draws[m.year], p["workloads"]) for m in context.progress(machines, "machines")}
    modern = machines[-1]
    profile = TlbProfile(p["program"]["misses_per_100k"])
    lines = {what: swept_costs(modern, draws[2019], unit, profile) for what, unit in SWEPT.items()}
    crossings = {what: crossovers(found) for what, found in lines.items()}
    budgets = exit_costs(modern, draws[2019])
    record(context, slow, crossings, budgets)
    context.record("simulation over expansion, largest deviation", simulated_deviation(p["simulated_faults"]))
    keep = {"slowdowns": slow, "crossovers": crossings, "exits": budgets}
    (context.folder / "results-in-full.json").write_bytes(encode_json(keep))
    draw_slowdowns(context.folder, machines, slow)
    draw_crossovers(context.folder, modern, lines, crossings, p["rates"])
    draw_budgets(context.folder, budgets)


def machine_of(entry):
    """A machine of experiment.toml with its stacks; those of a paper have the parameters that they had there."""
    paper = load_paper(entry["paper"]) if entry["paper"] else None

    def stack(name, technique):
        found = paper_stack(paper, name) if paper else vs.load_stack(name)
        return found.with_parameters({"kvm": {"nested_paging": 0}}) if "shadow" in technique and not paper else found

    techniques = [
        Technique(name, kind == "full", stack(card, name))
        for kind in ("full", "para")
        for name, card in entry[kind].items()
    ]
    return Machine(entry["year"], vs.load_host(entry["host"]), stack(entry["native"], ""), techniques)


def slowdowns(machine, draws, workloads):
    """CPU time of everybody over CPU time on the bare machine, by workload and technique."""
    found = {}
    for name, unit in workloads.items():
        events = [Event(e["event"], e.get("times", 1.0), e.get("size", 0)) for e in unit]
        native = draws.work(events, machine.native)
        found[name] = {t.name: likely(draws.work(events, t.stack) / native) for t in machine.techniques}
    return found


def swept_costs(machine, draws, unit, profile):
    """By technique: ns of a second of the program's computing, and of one event, for each draw of the prices."""
    computing = compute_events(1e9 / machine.host.price("compute"), profile)
    stacks = {"native": machine.native} | {t.name: t.stack for t in machine.techniques}
    return {name: (draws.work(computing, stack), draws.work(unit, stack)) for name, stack in stacks.items()}


def crossovers(lines):
    """Rates, 1/s, at which two techniques cost the same: the lines base + rate * event cross at a rate above 0."""
    found = {}
    names = [name for name in lines if name != "native"]
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            base, event = (lines[one][k] - lines[other][k] for k in (0, 1))
            with np.errstate(divide="ignore", invalid="ignore"):
                rate = np.where(base * event < 0, -base / event, np.nan)
            if not np.isnan(rate[0]):
                share = float(np.mean(~np.isnan(rate[1:])))
                found[f"{one} | {other}"] = {**likely(rate)._asdict(), "share_of_draws": share}
    return found


def exit_costs(machine, draws):
    """Cost of one event that a monitor gets hold of, ns."""
    return {
        name: likely(draws.cost(vs.load_stack(stack).expand(event).totals)) for name, (stack, event) in EXITS.items()
    }


def simulated_deviation(counts):
    """The same sweep by simulation of a machine with an EEVDF kernel: largest difference to the expansion, relative."""
    compute = vs.operations.Compute.from_builtins({"op": "compute", "work": "20ms"})
    factors = {
        "guests.program.stack": ["native", "kvm-shadow", "kvm", "xen-pv", "pvm"],
        "guests.program.workload": {str(count): faulting(compute, count) for count in counts},
    }
    guest = vs.Guest("program", workload=faulting(compute, counts[0]))
    scenario = vs.Scenario(host="epyc-guest-linux-6.18", guests=[guest], duration="10s", cpus="0")
    runs = vs.sweep(scenario, factors, n=1, seed=7, progress=False)
    host = vs.load_host(scenario.host)
    worst = 0.0
    for entry in runs.entries:
        stack = entry.factors["guests.program.stack"]
        workload = factors["guests.program.workload"][entry.factors["guests.program.workload"]]
        costs = Costs(host, vs.load_stack(stack))
        program = workload.tasks[0].program
        expected = sum(costs.operation_ns(o, workload) for o in program[0].body) * program[0].count
        worst = max(worst, abs(entry.run.value("program", "cpu_time") / expected - 1))
    return worst


def faulting(compute, count):
    """Ten turns of computing and page faults."""
    fault = vs.operations.PageFault.from_builtins({"op": "page_fault", "pages": count})
    turn = vs.operations.Repeat(body=[compute, fault], count=10)
    return vs.Workload(tasks=[vs.Task(name="program", program=[turn])])


def record(context, slow, crossings, budgets) -> None:
    """What the claim rests on."""
    for year, workload, technique in (
        (2003, "fork, exec, wait", "binary translation"),
        (2003, "fork, exec, wait", "Xen, 32 bit"),
        (2003, "system call", "Xen, 32 bit"),
        (2006, "system call", "hardware, shadow paging"),
        (2006, "fork with 512 pages more", "hardware, shadow paging"),
        (2006, "fork with 512 pages more", "binary translation"),
        (2019, "system call", "Xen, 64 bit"),
        (2019, "system call", "hardware, nested paging"),
        (2019, "page fault", "hardware, nested paging"),
        (2019, "page fault", "hardware, shadow paging"),
        (2019, "computing in much memory", "hardware, nested paging"),
    ):
        context.record(f"{year} {workload}, {technique}", slow[year][workload][technique].value)
    nested = "hardware, nested paging"
    for what, other in (
        ("system calls", "Xen, 64 bit"),
        ("page-table entries changed one by one", "hardware, shadow paging"),
    ):
        pair = next(key for key in crossings[what] if set(key.split(" | ")) == {nested, other})
        context.record(f"crossover of {what}, {other}, 1/s", crossings[what][pair]["value"])
    emulated = slow[2019]["4 KiB from disk"][nested].value
    context.record(
        "2019 4 KiB from disk, emulated over virtio",
        emulated / slow[2019]["4 KiB from disk"]["hardware and virtio"].value,
    )
    for name, cost in budgets.items():
        context.record(f"{name}: a second's 5 %", 0.05 * 1e9 / cost.value)


def draw_slowdowns(folder, machines, slow) -> None:
    """A panel for each machine, a row for each workload, a mark for each technique."""
    names = list(dict.fromkeys(t.name for m in machines for t in m.techniques))
    looks = {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(names)}
    full = {t.name: t.full for m in machines for t in m.techniques}
    with style():
        axes = new_panels(1, len(machines), 12.5, 5.2, sharey=True)
        for ax, machine in zip(axes, machines, strict=True):
            rows = slow[machine.year]
            for y, row in enumerate(rows.values()):
                for k, (name, found) in enumerate(row.items()):
                    at = y + 0.1 * (k - (len(row) - 1) / 2)
                    ax.plot([max(found.low, 0.5), found.high], [at, at], color=looks[name], linewidth=1.2)
                    ax.plot([found.value], [at], marker="o" if full[name] else "D", color=looks[name], markersize=5)
            ax.axvline(1.0, color="#404040", linewidth=0.8)
            ax.set_xscale("log")
            ax.set_xlim(0.7, 1500)
            plain_numbers(ax)
            ax.set_yticks(range(len(rows)), list(rows))
            ax.set_ylim(len(rows) - 0.5, -0.5)
            ax.set_xlabel("CPU time over the bare machine's")
            ax.set_title(f"{machine.year}: {machine.host.name}")
        legend(axes[0].figure, looks, full)
    save_figure(axes, folder / "slowdowns.png")


def legend(figure, looks, full) -> None:
    """Full virtualization has circles, paravirtualization diamonds."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour, marker="o" if full[name] else "D", label=name) for name, colour in looks.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, title="circles: full; diamonds: paravirtual")


def draw_crossovers(folder, machine, lines, crossings, rates) -> None:
    """CPU time over the rate of one event, for a program that computes for a second."""
    names = {t.name: t.full for t in machine.techniques if t.name != "emulation"}
    rate = np.geomspace(min(rates), max(rates), 200)
    with style():
        axes = new_panels(2, 2, 9.4, 7.0, sharex=True, sharey=True)
        for ax, (what, found) in zip(axes, lines.items(), strict=True):
            native = found["native"][0][0] + rate * found["native"][1][0]
            for i, (name, is_full) in enumerate(names.items()):
                base, event = found[name]
                times = (base[0] + rate * event[0]) / native
                ax.plot(rate, 100 * (times - 1), color=PALETTE[i], linestyle="-" if is_full else "--", label=name)
            ax.set_xscale("log")
            ax.set_yscale("log")
            ax.set_ylim(0.3, 3000)
            plain_numbers(ax, "xy")
            ax.axhspan(5, 15, color="#F0F0F0", zorder=0)
            ax.set_title(what)
            mark_crossings(ax, found, crossings[what])
        for ax in axes[2:]:
            ax.set_xlabel("events for each second of computing")
        for ax in axes[::2]:
            ax.set_ylabel("overhead (%)")
        handles, labels = axes[0].get_legend_handles_labels()
        title = f"{machine.host.name}; dashed: paravirtual; band: 5 to 15 %; dots: crossovers with nested paging"
        axes[0].figure.legend(handles, labels, loc="outside lower center", ncols=3, title=title)
    save_figure(axes, folder / "crossovers.png")


def mark_crossings(ax, found, crossings) -> None:
    """Where nested paging becomes the cheaper one, with the interval of that rate."""
    for pair, crossing in crossings.items():
        names = pair.split(" | ")
        if "hardware, nested paging" not in names or "emulation" in names:
            continue
        base, event = found["hardware, nested paging"]
        native = found["native"][0][0] + crossing["value"] * found["native"][1][0]
        height = 100 * ((base[0] + crossing["value"] * event[0]) / native - 1)
        ax.plot([crossing["low"], crossing["high"]], [height, height], color="black", linewidth=2.4, alpha=0.35)
        ax.plot([crossing["value"]], [height], marker="o", color="black", markersize=5, zorder=5)


def draw_budgets(folder, budgets) -> None:
    """How many events a second cost how much."""
    with style():
        ax = new_axes(6.4, 3.9)
        rate = np.geomspace(1e2, 1e7, 100)
        for i, (name, cost) in enumerate(budgets.items()):
            ax.plot(rate, rate * cost.value / 1e7, color=PALETTE[i], label=f"{name}: {cost.value / 1e3:.2g} µs")
            ax.fill_between(
                rate, rate * cost.low / 1e7, rate * cost.high / 1e7, color=PALETTE[i], alpha=0.15, linewidth=0
            )
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_ylim(0.1, 100)
        plain_numbers(ax, "xy")
        ax.axhspan(5, 15, color="#F0F0F0", zorder=0)
        ax.set_xlabel("events a second")
        ax.set_ylabel("share of a processor (%)")
        ax.set_title("How many exits a processor can bear (Xeon of 2019)")
        ax.legend(loc="lower right")
    save_figure(ax, folder / "exits.png")
