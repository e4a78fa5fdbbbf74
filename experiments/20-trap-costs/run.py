"""Nine events on the stacks of six machines, 2001 to 2026: what each costs, and who spends it on what."""

from __future__ import annotations

from typing import NamedTuple

import virtsim as vs
from virtsim.core.errors import SpecError
from virtsim.core.spec import encode_json
from virtsim.platform.expand import price_interval
from virtsim.plots import plot_costs, save_figure
from virtsim.plots.costs import draw_roles
from virtsim.plots.style import PALETTE, new_panels, style
from virtsim.validation.literature import paper_stack, unit_ns
from virtsim.validation.literature_cards import load_paper

NAMES = {
    "null": "system call",
    "page_fault": "page fault, served",
    "cpuid": "CPUID",
    "port_io": "port I/O",
    "cr_write": "write to CR0 or CR8",
    "tlb_flush": "INVLPG",
    "ipi_send": "inter-processor interrupt",
    "timer_program": "timer set",
    "vmcall": "hypercall",
}
#: Published rows that measure exactly one of the events.
MIXES = {f"instructions/{event}": event for event in NAMES} | {
    "instructions/mode_switch": "null",
    "lmbench/null_call": "null",
    "lmbench/page_fault": "page_fault",
}


class Point(NamedTuple):
    """One event by one technique on one machine."""

    year: int
    host: str
    technique: str
    event: str
    ns: float
    low_ns: float
    high_ns: float
    cycles: float
    known: float
    published_ns: float | None


def run(context) -> None:
    """Explain every event on every stack, record, draw."""
    events = context.parameters["events"]
    points, shown = [], {}
    for machine in context.progress(context.parameters["machines"], "machines"):
        host = vs.load_host(machine["host"])
        for technique, stack in stacks_of(machine, context.parameters["cards"]).items():
            for event in events:
                explanation = explained(event, stack, host)
                if explanation is not None:
                    shown.setdefault(str(machine["year"]), {}).setdefault(event, {})[technique] = explanation
                    published = published_ns(machine, technique, event, host)
                    points.append(point(machine, technique, event, explanation, published))
    (context.folder / "costs.json").write_bytes(encode_json([p._asdict() for p in points]))
    (context.folder / "explained.txt").write_text(in_words(shown))
    record(context, {(p.year, p.technique, p.event): p for p in points})
    draw_decades(context.folder, points, events)
    for year in context.parameters["anatomies"]:
        draw_anatomy(context.folder, year, shown[year])


def stacks_of(machine, cards):
    """The machine's stacks by technique, with the parameters that they had there."""
    paper = load_paper(machine["paper"]) if machine["paper"] else None
    return {
        technique: paper_stack(paper, name) if name else vs.load_stack(cards[technique])
        for technique, name in machine["stacks"].items()
    }


def explained(event, stack, host):
    """The event taken apart, or None where the stack has no such thing (a hypercall without a hypervisor)."""
    try:
        return stack.explain(event, host)
    except SpecError:
        return None


def point(machine, technique, event, explanation, published):
    """Its cost, and which part of that rests on prices that somebody measured."""
    host = explanation.host
    cost = price_interval(explanation.expansion, host)
    known = sum(row.cost_ns for row in explanation.spent() if host.prices[row.primitive].status != "assumed")
    share = known / cost.ns if cost.ns else 1.0
    cycles = cost.ns * host.frequency / 1e9
    return Point(machine["year"], host.name, technique, event, *cost, cycles, share, published)


def published_ns(machine, technique, event, host):
    """What the machine's paper says, where a row measures this event alone."""
    if not machine["paper"]:
        return None
    name = machine["stacks"][technique]
    for row in load_paper(machine["paper"]).rows:
        if MIXES.get(row.fixed) == event and not row.scaled and row.times == 1 and name in row.published:
            return unit_ns(row, row.published[name], host)
    return None


def in_words(shown):
    """The trees of all events, with the source of each price."""
    return "\n\n".join(str(e) for events in shown.values() for stacks in events.values() for e in stacks.values())


def record(context, points) -> None:
    """What the claim rests on."""
    native, shadow, translated = "native", "hardware, shadow paging", "binary translation, hosted"
    nested_paging, twice = "hardware, nested paging", "hardware in hardware"

    def ratio(year, event, one, other):
        return points[year, one, event].ns / points[year, other, event].ns

    context.record("2006 system call, translation over native", ratio(2006, "null", translated, native))
    context.record("2006 system call, hardware over native", ratio(2006, "null", shadow, native))
    context.record("2006 CR write, translation over native", ratio(2006, "cr_write", translated, native))
    context.record("2006 CR write, hardware over native", ratio(2006, "cr_write", shadow, native))
    context.record("2003 system call, Xen over native", ratio(2003, "null", "paravirtual (Xen)", native))
    context.record("2003 page fault, Xen over native", ratio(2003, "page_fault", "paravirtual (Xen)", native))
    context.record("2003 page fault, translation over Xen", ratio(2003, "page_fault", translated, "paravirtual (Xen)"))
    context.record("2003 system call, UML over native", ratio(2003, "null", "user-space kernel (UML)", native))
    context.record("2019 hypercall, ns", points[2019, nested_paging, "vmcall"].ns)
    context.record("2019 CPUID, nested over single", ratio(2019, "cpuid", twice, nested_paging))
    context.record(
        "2019 CPUID, switcher in hardware over single", ratio(2019, "cpuid", "switcher in hardware", nested_paging)
    )
    context.record("2010 CPUID, cycles", points[2010, nested_paging, "cpuid"].cycles)
    context.record("2010 CPUID nested, cycles", points[2010, twice, "cpuid"].cycles)
    exits = {2006: shadow, 2010: nested_paging, 2019: nested_paging}
    for year, technique in exits.items():
        context.record(f"{year} hypercall, cycles", points[year, technique, "vmcall"].cycles)
    fell = points[2006, shadow, "vmcall"].cycles / points[2019, nested_paging, "vmcall"].cycles
    context.record("hypercall in cycles, 2006 over 2019", fell)
    both = [p for p in points.values() if p.published_ns]
    context.record("published values beside", len(both))
    within = sum(abs(p.ns / p.published_ns - 1) <= 0.1 for p in both)
    context.record("share of published values within 10 %", within / len(both))


def draw_decades(folder, points, events) -> None:
    """Cycles over the years, a panel for each event and a line for each technique."""
    techniques = list(dict.fromkeys(p.technique for p in points))
    looks = {technique: (PALETTE[i % len(PALETTE)], "osD"[i // len(PALETTE)]) for i, technique in enumerate(techniques)}
    with style():
        axes = new_panels(3, 3, 9.4, 8.2, sharex=True)
        for ax, event in zip(axes, events, strict=False):
            for technique in techniques:
                mine = [p for p in points if (p.technique, p.event) == (technique, event) and p.cycles]
                draw_line(ax, mine, looks[technique], techniques.index(technique))
            ax.set_title(NAMES[event])
            ax.set_yscale("log")
            ax.set_ylim(5, 3e5)
            ax.set_xlim(1999, 2028)
        for ax in axes[6:]:
            ax.set_xlabel("year of the machine")
        for ax in axes[::3]:
            ax.set_ylabel("cycles of the machine's clock")
        legend(axes[0].figure, looks)
    save_figure(axes, folder / "decades.png")


def draw_line(ax, points, look, shift) -> None:
    """One technique: filled where most of the cost was measured by somebody, hollow where it is assumed."""
    colour, marker = look
    places = [p.year + 0.15 * (shift - 4) for p in points]
    per_ns = [p.cycles / p.ns for p in points]
    ax.plot(places, [p.cycles for p in points], color=colour, linewidth=0.9, alpha=0.7)
    for x, p, scale in zip(places, points, per_ns, strict=True):
        ax.plot([x, x], [max(p.low_ns, 0.1) * scale, p.high_ns * scale], color=colour, linewidth=0.9)
        fill = colour if p.known >= 0.5 else "white"
        ax.plot([x], [p.cycles], marker=marker, color=colour, markerfacecolor=fill, markersize=4.5)
        if p.published_ns:
            ax.plot([x], [p.published_ns * scale], marker="x", color="black", markersize=5, zorder=5)


def legend(figure, looks) -> None:
    """Techniques, and what the markers mean."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=c, marker=marker, label=name) for name, (c, marker) in looks.items()]
    handles.append(Line2D([], [], linestyle="none", marker="x", color="black", label="published"))
    hollow = {"linestyle": "none", "marker": "o", "color": "black", "markerfacecolor": "white"}
    handles.append(Line2D([], [], **hollow, label="mostly assumed prices"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4)


def draw_anatomy(folder, year, events) -> None:
    """Who spends it: stacked bars by layer and primitive, a panel for each event."""
    rows = -(-len(events) // 2)
    bars = max(len(stacks) for stacks in events.values())
    every = {f"{event} {name}": e for event, stacks in events.items() for name, e in stacks.items()}
    with style():
        axes = new_panels(rows, 2, 12.5, rows * (0.75 + 0.27 * bars))
        for ax, (event, stacks) in zip(axes, events.items(), strict=False):
            plot_costs(stacks, limit_ns=limit(stacks), ax=ax)
            ax.set_title(NAMES[event])
        for ax in axes[len(events) :]:
            ax.set_visible(False)
        host = next(iter(every.values())).host
        axes[0].figure.suptitle(f"{year}: {host.name}", fontweight="bold")
        draw_roles(axes[0], every)
    save_figure(axes, folder / f"anatomy-{year}.png")


def limit(stacks):
    """Where a panel ends: past all but the outliers, which are cut off."""
    costs = sorted(price_interval(e.expansion, e.host).ns for e in stacks.values())
    keep = costs[-1]
    for smaller, larger in zip(costs[len(costs) // 2 :], costs[len(costs) // 2 + 1 :], strict=False):
        if larger > 15 * smaller:
            keep = 2 * smaller
            break
    return keep * 1.05
