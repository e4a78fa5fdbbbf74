"""CPU-, memory-, network- and disk-bound work on hypervisors of both types, on three machines."""

from __future__ import annotations

from typing import NamedTuple

import virtsim as vs
from virtsim.core.spec import encode_json
from virtsim.platform.draws import PriceDraws, likely
from virtsim.platform.mixes import load_mix
from virtsim.platform.operations import Event
from virtsim.platform.stack import Layer, Stack, StackCard
from virtsim.plots import plot_costs, save_figure
from virtsim.plots.costs import draw_roles
from virtsim.plots.style import PALETTE, new_panels, plain_numbers, style
from virtsim.validation.literature import paper_stack
from virtsim.validation.literature_cards import load_paper

PACKET = Event("packet_send", 1.0, 1448)
PACKET_BITS = 12_000
NATIVE = "bare machine"
#: What a hosted monitor sends to its host; a bare-metal one on the same machine models as much elsewhere.
SHARED = ("kernel_slowdown", "device_in_host")


class Machine(NamedTuple):
    """A machine with its stacks by name, the native one first, and the types of the others."""

    year: int
    host: object
    link_mbit: float
    stacks: dict
    types: dict


def run(context) -> None:
    """Costs by workload, rates of packets, and what a packet's cost consists of."""
    p = context.parameters
    machines = [machine_of(entry) for entry in p["machines"]]
    slow, rates = {}, {}
    for machine in context.progress(machines, "machines"):
        draws = PriceDraws(machine.host, int(p["draws"]), context.seed, exact=("compute",))
        slow[machine.year] = slowdowns(machine, draws, p["workloads"])
        rates[machine.year] = packet_rates(machine, draws)
    keep = {"slowdowns": slow, "rates_mbit": rates}
    (context.folder / "results-in-full.json").write_bytes(encode_json(keep))
    record(context, slow, rates)
    draw_slowdowns(context.folder, machines, slow)
    draw_rates(context.folder, machines, rates)
    draw_packets(context.folder, machines)


def machine_of(entry) -> Machine:
    """A machine of experiment.toml."""
    paper = load_paper(entry["paper"]) if entry["paper"] else None
    stacks = {NATIVE: stack_of(entry["native"], paper)}
    for kind in ("type2", "type1"):
        for name, card in entry[kind].items():
            stacks[name] = stack_of(card, paper)
    hosted = stacks.get("translation, hosted")
    if hosted is not None:
        stacks["translation on a kernel of its own"] = like(stacks["translation on a kernel of its own"], hosted)
    types = {name: kind for kind in ("type1", "type2") for name in entry[kind]}
    return Machine(entry["year"], vs.load_host(entry["host"]), entry["link_mbit"], stacks, types)


def stack_of(name, paper) -> Stack:
    """As the paper had it, or a card, or the one that has none: emulated devices on a bare-metal hypervisor."""
    if paper and name in paper.stacks:
        return paper_stack(paper, name)
    if name:
        return vs.load_stack(name)
    kinds = ("hardware", "hvm", "emulated-device", "linux")
    return Stack(StackCard(name="xen-hvm-emulated", description="As named.", layers=[Layer(kind=k) for k in kinds]))


def like(stack, hosted) -> Stack:
    """The bare-metal stack with the translator, the device and the guest of the hosted one."""
    settings = {layer.kind: s.parameters for layer, s in zip(hosted.card.layers[2:], hosted.settings[2:], strict=True)}
    return stack.with_parameters(
        {
            "binary-translation": {name: settings["binary-translation"][name] for name in SHARED},
            "emulated-device": dict(settings["emulated-device"]),
            "guest linux": dict(settings["linux"]),
        }
    )


def slowdowns(machine, draws, workloads):
    """CPU time of everybody over the bare machine's, by workload and stack."""
    found = {}
    for name, mix in workloads.items():
        events = load_mix(f"units-of-work/{mix}").events
        costs = {s: draws.work(events, stack) for s, stack in machine.stacks.items()}
        found[name] = {s: likely(cost / costs[NATIVE]) for s, cost in costs.items() if s != NATIVE}
    return found


def packet_rates(machine, draws):
    """What one processor could send in full packets, each second one acknowledged, Mbit/s, if no link ended it."""
    events = load_mix("packets/send_1500").events
    costs = {s: draws.work(events, stack) for s, stack in machine.stacks.items()}
    return {s: likely(PACKET_BITS / cost * 1e3) for s, cost in costs.items()}


def record(context, slow, rates) -> None:
    """What the claim rests on: pairs that differ in what is below the monitor."""
    pairs = {
        2001: ("translation, hosted", "translation on a kernel of its own"),
        2003: ("translation, hosted", "translation on a kernel of its own"),
        2019: ("KVM, back end in the kernel", "Xen HVM, driver domain"),
    }
    for year, (hosted, bare) in pairs.items():
        for workload in ("computing", "memory (TLB misses)", "network, 11 full packets", "disk, 4 KiB"):
            ratio = slow[year][workload][hosted].value / slow[year][workload][bare].value
            context.record(f"{year} {workload}: hosted over bare metal", ratio)
    context.record("2001 hosted translation sends, Mbit/s", rates[2001]["translation, hosted"].value)
    context.record("2001 bare machine sends, Mbit/s", rates[2001][NATIVE].value)
    computing = [found.value for year in slow for found in slow[year]["computing"].values()]
    context.record("largest slow-down of computing", max(computing))


def draw_slowdowns(folder, machines, slow) -> None:
    """A panel for each machine, a row for each workload; circles are hosted."""
    with style():
        axes = new_panels(1, len(machines), 12.5, 4.6, sharey=True)
        for ax, machine in zip(axes, machines, strict=True):
            rows = slow[machine.year]
            names = list(next(iter(rows.values())))
            for k, name in enumerate(names):
                hosted = machine.types[name] == "type2"
                look = {"color": PALETTE[k], "marker": "o" if hosted else "D"}
                for y, row in enumerate(rows.values()):
                    at = y + 0.14 * (k - (len(names) - 1) / 2)
                    ax.plot([row[name].low, row[name].high], [at, at], color=PALETTE[k], linewidth=1.2)
                    ax.plot(
                        [row[name].value], [at], markersize=5, linestyle="none", label=name if y == 0 else None, **look
                    )
            ax.axvline(1.0, color="#404040", linewidth=0.8)
            ax.set_xscale("log")
            ax.set_xlim(0.8, 60)
            plain_numbers(ax)
            ax.set_yticks(range(len(rows)), list(rows))
            ax.set_ylim(len(rows) - 0.5, -0.5)
            ax.set_xlabel("CPU time over the bare machine's")
            ax.set_title(f"{machine.year}: {machine.host.name}")
            ax.legend(loc="upper right")
        axes[0].figure.suptitle("circles: hosted, or inside Linux (type 2); diamonds: bare metal (type 1)", fontsize=9)
    save_figure(axes, folder / "slowdowns.png")


def draw_rates(folder, machines, rates) -> None:
    """Mbit/s that one processor can send, beside the link of the time."""
    with style():
        axes = new_panels(len(machines), 1, 7.6, 5.6)
        for ax, machine in zip(axes, machines, strict=True):
            found = rates[machine.year]
            for y, (name, rate) in enumerate(found.items()):
                colour = PALETTE[6] if name == NATIVE else PALETTE[0] if machine.types[name] == "type2" else PALETTE[1]
                ax.barh(y, rate.value, color=colour, height=0.7)
                ax.plot([rate.low, rate.high], [y + 0.3, y + 0.3], color="#303030", linewidth=1.2)
                ax.annotate(f" {rate.value:,.0f}", (rate.value, y), va="center", fontsize=7.5)
            ax.axvline(machine.link_mbit, color="#D55E00", linestyle="--")
            ax.annotate("link ", (machine.link_mbit, -0.45), ha="right", va="center", fontsize=7.5, color="#D55E00")
            ax.set_yticks(range(len(found)), list(found))
            ax.set_ylim(len(found) - 0.4, -0.7)
            ax.grid(axis="y", visible=False)
            ax.set_title(f"{machine.year}: {machine.host.name}")
        axes[-1].set_xlabel("what one processor can send in full packets (Mbit/s); blue: type 2, yellow: type 1")
    save_figure(axes, folder / "packets-a-second.png")


def draw_packets(folder, machines) -> None:
    """Who spends a packet's time, and on what."""
    with style():
        axes = new_panels(len(machines), 1, 9.0, 6.4)
        every = {}
        for ax, machine in zip(axes, machines, strict=True):
            shown = {
                name: stack.explain(PACKET.event, machine.host, PACKET.size) for name, stack in machine.stacks.items()
            }
            plot_costs(shown, ax=ax)
            ax.set_title(f"one packet of 1,448 bytes sent, {machine.year}")
            every |= {f"{machine.year} {name}": e for name, e in shown.items()}
        draw_roles(axes[0], every)
    save_figure(axes, folder / "a-packet.png")
