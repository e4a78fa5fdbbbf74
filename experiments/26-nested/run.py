"""Depths 1 to 3: exits, single events and whole programs, on a machine of 2010 and one of 2019."""

from __future__ import annotations

import virtsim as vs
from virtsim.core.spec import encode_json
from virtsim.platform.draws import PriceDraws, likely
from virtsim.platform.mixes import load_mix
from virtsim.platform.stack import Stack, StackCard
from virtsim.plots import plot_costs, save_figure
from virtsim.plots.costs import draw_roles
from virtsim.plots.style import PALETTE, new_panels, plain_numbers, style
from virtsim.validation.literature import paper_stack, unit_ns
from virtsim.validation.literature_cards import load_paper

NAMES = {
    "null": "system call",
    "page_fault": "page fault, served",
    "cpuid": "CPUID",
    "port_io": "port I/O",
    "timer_tick": "timer tick, handled",
    "packet_send": "packet sent",
}
PROGRAMS = {
    "computing": "arithmetic",
    "large memory": "large_memory",
    "kernel build (compiling)": "compile",
    "OLTP transactions": "transaction",
    "packets in bulk": "bulk_send",
}
SIZES = {"packet_send": 1448}
BEFORE = "hardware, control blocks not shadowed (2010)"


def run(context) -> None:
    """Expand on every depth of every stack, record, draw."""
    p = context.parameters
    modern, old = vs.load_host("xeon-8269cy-linux-4.19"), vs.load_host("xeon-2900-linux-2.6")
    stacks = {name: [as_published(vs.load_stack(card)) for card in cards] for name, cards in p["stacks"].items()}
    hosts = dict.fromkeys(stacks, modern) | {BEFORE: old}
    stacks[BEFORE] = turtles(3)
    draws = {host.name: PriceDraws(host, int(p["draws"]), context.seed, exact=("compute",)) for host in (modern, old)}
    costs, exits, programs = {}, {}, {}
    for name, depths in context.progress(list(stacks.items()), "stacks"):
        drawn = draws[hosts[name].name]
        costs[name] = {e: [cost(stack, e, drawn) for stack in depths] for e in p["events"]}
        exits[name] = {e: [exit_count(stack, e) for stack in depths] for e in p["events"]}
        programs[name] = {w: [overhead(stack, mix, drawn) for stack in depths] for w, mix in PROGRAMS.items()}
    keep = {"costs_ns": costs, "exits": exits, "programs": programs, "published_ns": published()}
    (context.folder / "results-in-full.json").write_bytes(encode_json(keep))
    record(context, costs, exits, programs, old)
    draw_costs(context.folder, costs, exits, p["events"])
    draw_programs(context.folder, programs)
    draw_anatomy(context.folder, modern)


def as_published(stack):
    """With what the paper of the machine of 2019 says about monitors that hand an exit to their process."""
    given = load_paper("pvm-2023").stacks["pvm-nested"].parameters
    kinds = {layer.kind for layer in stack.card.layers}
    changes = {"kvm": given["L0 kvm"], "pvm": given["L1 pvm"]}
    return stack.with_parameters({kind: changed for kind, changed in changes.items() if kind in kinds})


def turtles(deepest):
    """The nested stacks of the Turtles paper; deeper ones have its guest's monitor once more in between."""
    paper = load_paper("turtles-2010")
    single, double = paper_stack(paper, "guest"), paper_stack(paper, "nested")
    layers = list(double.card.layers)
    monitor = next(i for i, layer in enumerate(layers) if layer.name == "L1 kvm")
    between = layers[monitor - 1 : monitor + 1]
    found = [single, double]
    for depth in range(3, deepest + 1):
        more = [layer for _ in range(depth - 2) for layer in between]
        card = StackCard(
            name=f"nested-{depth}",
            description="Turtles, deeper.",
            layers=[*layers[: monitor - 1], *more, *layers[monitor - 1 :]],
        )
        found.append(Stack(card).with_parameters({"kvm": {"vmcs_shadowing": 0}}))
    return found[:deepest]


def cost(stack, event, draws):
    """Cost of one event, ns, with its interval."""
    return likely(draws.cost(stack.expand(event, SIZES.get(event, 0)).totals))


def exit_count(stack, event):
    """Exits of the processor in one event: those that the lowest monitor sees."""
    return stack.expand(event, SIZES.get(event, 0)).totals.get("vm_exit", 0.0)


def overhead(stack, mix, draws):
    """CPU time of a program's unit of work over the bare machine's."""
    events = load_mix(f"units-of-work/{mix}").events
    native = draws.work(events, vs.load_stack("native"))
    return likely(draws.work(events, stack) / native)


def published():
    """Published single and nested values of the same events, ns: by stack and event, a value for each depth."""
    found = {}
    wanted = {
        "turtles-2010": (("guest", "nested"), BEFORE),
        "pvm-2023": (("ept-nopti", "ept-nested"), "hardware"),
    }
    for paper_name, (names, label) in wanted.items():
        paper = load_paper(paper_name)
        host = vs.load_host(paper.host)
        for row in paper.rows:
            event = row.fixed.removeprefix("instructions/")
            if event not in NAMES or row.scaled:
                continue
            values = [row.published.get(name) or row.published.get(name.removesuffix("-nopti")) for name in names]
            found.setdefault(label, {})[event] = [None if v is None else unit_ns(row, v, host) for v in values]
    paper = load_paper("pvm-2023")
    for row in paper.rows:
        event = row.fixed.removeprefix("instructions/")
        if event in NAMES and "pvm-nested" in row.published:
            pair = [unit_ns(row, row.published[name], vs.load_host(paper.host)) for name in ("pvm", "pvm-nested")]
            found.setdefault("switcher (PVM) on top", {})[event] = pair
    return found


def record(context, costs, exits, programs, old) -> None:
    """What the claim rests on."""
    cycles = old.frequency / 1e9
    for depth in (1, 2, 3):
        context.record(f"CPUID, 2010, depth {depth}, cycles", costs[BEFORE]["cpuid"][depth - 1].value * cycles)
        context.record(f"exits of a CPUID, 2010, depth {depth}", exits[BEFORE]["cpuid"][depth - 1])
        context.record(f"exits of a CPUID, 2019, depth {depth}", exits["hardware"]["cpuid"][depth - 1])
        context.record(
            f"kernel build, hardware, depth {depth}", programs["hardware"]["kernel build (compiling)"][depth - 1].value
        )
        context.record(
            f"packets in bulk, hardware, depth {depth}", programs["hardware"]["packets in bulk"][depth - 1].value
        )
    for name in ("switcher (PVM) on top", "Xen PV on top", "container on top"):
        fault = costs[name]["page_fault"]
        context.record(f"page fault, {name}, depth 3 over 1", fault[2].value / fault[0].value)
    fault = costs["shadow paging on top"]["page_fault"]
    context.record("page fault, shadow paging on top, depth 2 over 1", fault[1].value / fault[0].value)
    both = [
        costs[name][event][depth].value / value
        for name, events in published().items()
        for event, values in events.items()
        for depth, value in enumerate(values)
        if value
    ]
    context.record("published values beside", len(both))
    context.record("share of published values within 30 %", sum(1 / 1.3 <= ratio <= 1.3 for ratio in both) / len(both))


def draw_costs(folder, costs, exits, events) -> None:
    """A panel for each event: cost over depth, published values beside, exits written at the points."""
    beside = published()
    with style():
        axes = new_panels(2, 3, 11.0, 6.8, sharex=True, sharey=True)
        for ax, event in zip(axes, events, strict=True):
            for k, (name, found) in enumerate(costs.items()):
                places = [depth + 0.05 * (k - 2.5) for depth in (1, 2, 3)]
                values = [c.value / 1e3 for c in found[event]]
                ax.plot(places, values, color=PALETTE[k], marker="o", label=name)
                for x, c, count in zip(places, found[event], exits[name][event], strict=True):
                    ax.plot([x, x], [max(c.low, 1) / 1e3, c.high / 1e3], color=PALETTE[k], linewidth=1)
                    if name in ("hardware", BEFORE) and count:
                        shift = (7, -9) if name == "hardware" else (7, 3)
                        ax.annotate(
                            f"{count:.0f}",
                            (x, c.value / 1e3),
                            shift,
                            textcoords="offset points",
                            fontsize=7,
                            color=PALETTE[k],
                        )
                for x, value in zip(places, beside.get(name, {}).get(event, ()), strict=False):
                    if value:
                        ax.plot([x], [value / 1e3], marker="x", color="black", markersize=6, zorder=5)
            ax.set_yscale("log")
            ax.set_ylim(0.01, 2000)
            plain_numbers(ax, "y")
            ax.set_title(NAMES[event])
            ax.set_xticks([1, 2, 3])
        for ax in axes[3:]:
            ax.set_xlabel("depth")
        for ax in axes[::3]:
            ax.set_ylabel("cost (µs)")
        legend(axes[0])
    save_figure(axes, folder / "events.png")


def legend(ax) -> None:
    """Stacks; crosses are published; numbers are exits."""
    from matplotlib.lines import Line2D

    handles, labels = ax.get_legend_handles_labels()
    handles.append(Line2D([], [], linestyle="none", marker="x", color="black"))
    labels.append("published")
    title = "numbers: exits of the processor in one event"
    ax.figure.legend(handles, labels, loc="outside lower center", ncols=4, title=title)


def draw_programs(folder, programs) -> None:
    """Overhead of whole programs over depth."""
    with style():
        axes = new_panels(1, len(PROGRAMS), 12.5, 3.9, sharex=True, sharey=True)
        for ax, workload in zip(axes, PROGRAMS, strict=True):
            for k, (name, found) in enumerate(programs.items()):
                places = [depth + 0.07 * (k - 2.5) for depth in (1, 2, 3)]
                values = [100 * max(c.value - 1, 1e-4) for c in found[workload]]
                ax.plot(places, values, color=PALETTE[k], marker="o", label=name)
                for x, c in zip(places, found[workload], strict=True):
                    ends = [100 * max(c.low - 1, 1e-4), 100 * max(c.high - 1, 1e-4)]
                    ax.plot([x, x], ends, color=PALETTE[k], linewidth=1)
            ax.axhspan(5, 15, color="#F0F0F0", zorder=0)
            ax.set_yscale("log")
            ax.set_ylim(0.01, 5000)
            plain_numbers(ax, "y")
            ax.set_xticks([1, 2, 3])
            ax.set_title(workload)
            ax.set_xlabel("depth")
        axes[0].set_ylabel("overhead (%)")
        handles, labels = axes[0].get_legend_handles_labels()
        axes[0].figure.legend(handles, labels, loc="outside lower center", ncols=3, title="band: 5 to 15 %")
    save_figure(axes, folder / "programs.png")


def draw_anatomy(folder, host) -> None:
    """Who spends the time of one port access, by depth."""
    with style():
        axes = new_panels(1, 1, 9.0, 3.4)
        shown = {}
        for name, cards in {"hardware": "kvm", "switcher": "pvm"}.items():
            for depth in (1, 2, 3):
                stack = as_published(vs.load_stack("-on-".join([cards, *["kvm"] * (depth - 1)])))
                shown[f"{name}, depth {depth}"] = stack.explain("port_io", host)
        plot_costs(shown, ax=axes[0])
        axes[0].set_title("one port access: who spends it (Xeon of 2019)")
        draw_roles(axes[0], shown)
    save_figure(axes, folder / "a-port-access.png")
