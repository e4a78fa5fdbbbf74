"""Requests to a disk and to a remote machine, over stacks and queue depths up to saturation."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import virtsim as vs
from virtsim.core.spec import encode_json
from virtsim.machine.devices import PartTimes
from virtsim.platform.expand import price
from virtsim.platform.host import BARE_ONLY
from virtsim.platform.paths import io_parts
from virtsim.plots import save_figure
from virtsim.plots.style import PALETTE, new_panels, plain_numbers, style
from virtsim.scenario.driver_domain import DriverDomain
from virtsim.scenario.guest import VirtualMachine
from virtsim.workload.draw import Draw
from virtsim.workload.operations import Compute, DiskRead, PacketCall, PacketSend, Repeat

WORKLOADS = ("block", "network")
#: What a workload's requests are counted by, and the device that they use.
RINGS = {"block": "g/disk", "network": "g/nic-in"}
#: The ring that a request is put into first, whose back end is told.
KICKED = {"block": "g/disk", "network": "g/nic-out"}

#: When the two sides of a ring tell each other, and the layer's parameter for it.
TOLD = {"told where asked for": 1, "told always": 0}


class Point(NamedTuple):
    """One run.

    Requests a second, mean time of one (ns), the back end's CPUs, notifications of both sides and CPU time (ns) of
    everybody a request, shares of the bus and number of ways in use.
    """

    rate: float
    latency_ns: float
    backend: float
    told: float
    cpu_ns: float
    link: float
    ways: float


class Batch(NamedTuple):
    """Packets of which so many share their notifications.

    Packets a second; CPU time (ns) of everybody and of the sender for each, in the machine and in the expansion; kicks
    and interrupts for each batch.
    """

    rate: float
    spent_ns: float
    expanded_ns: float
    sender_ns: float
    sender_expanded_ns: float
    kicks: float
    interrupts: float


def run(context) -> None:
    """Sweep, check the laws, draw."""
    p = context.parameters
    exits = vs.load_host(p["exits"]).prices
    host = vs.load_host(p["host"]).with_prices({name: exits[name] for name in BARE_ONLY}, virtual="")
    wide = host.replace(topology=host.topology.replace(cpus=p["cpus"], cpus_per_cache=p["cpus"]))
    found, always = {}, {}
    for name, card in context.progress(list(p["stacks"].items()), "stacks"):
        for workload in WORKLOADS:
            found[workload, name] = [point(p, wide, card, workload, depth, context.seed) for depth in p["depths"]]
            if name in p["always"]:
                told = p["always"][name]
                always[workload, name] = [point(p, wide, told, workload, d, context.seed) for d in p["depths"]]
    # A native guest has no weight of its own.
    weighed = {name: card for name, card in p["stacks"].items() if card != "native"}
    beside = {name: besides(p, host, card, context.seed) for name, card in weighed.items()}
    starved = {
        f"{load}, {scheduler}, {weight}": domains(p, host, load, scheduler, weight, context.seed)
        for load in context.progress(list(p["loads"]), "loads of driver domains")
        for scheduler in p["domain_schedulers"]
        for weight in p["domain_weights"]
    }
    rings = {
        f"{name}, {how}": ringed(p, host, name, suppression, context.seed)
        for name in p["ringed"]
        for how, suppression in TOLD.items()
    }
    batches = {name: batched(p, host, name, context.seed) for name in p["ringed"]}
    keep = {
        "points": {" · ".join(key): points for key, points in found.items()},
        "told always": {" · ".join(key): points for key, points in always.items()},
        "beside hogs": beside,
        "driver domain beside computing guests": starved,
        "packets by size of ring": rings,
        "packets by batch": batches,
    }
    (context.folder / "results-in-full.json").write_bytes(encode_json(keep))
    record(context, wide, found, always, beside)
    record_domains(context, starved, rings)
    record_batches(context, batches)
    draw_sweep(context.folder, p, wide, found)
    draw_notifications(context.folder, p, found, always)
    draw_neighbours(context.folder, p, beside)
    draw_domains(context.folder, p, starved)
    draw_rings(context.folder, p, rings)
    draw_batches(context.folder, p, batches)


# -- runs ------------------------------------------------------------------------------------------


def operation_of(p, workload):
    """What each task repeats."""
    if workload == "block":
        return DiskRead(size=p["size"])
    return PacketCall(size=p["message"], answer=p["message"], remote=p["remote"])


def clients(operation, count, cpus):
    """``count`` tasks that make one request after the other, spread over CPUs where they stay."""
    each = {cpu: count // len(cpus) + (i < count % len(cpus)) for i, cpu in enumerate(cpus)}
    body = [Repeat(body=[operation])]
    tasks = [vs.Task(name=f"client-{i}", program=body, count=n, cpus=str(i)) for i, n in each.items() if n]
    return vs.Workload(tasks=tasks)


def point(p, host, card, workload, depth, seed) -> Point:
    """``depth`` clients on all CPUs but the first, on which a back end begins if there is one."""
    guest = vs.Guest("g", stack=card, workload=clients(operation_of(p, workload), depth, range(1, p["cpus"])))
    return measured(vs.simulate(vs.Scenario(guests=[guest], duration=p["duration"]), seed=seed, host=host), workload)


def measured(run, workload) -> Point:
    """The figures of a run."""
    seconds = run.duration_ns / 1e9
    counts = {record.entity: record.values for record in run.devices}
    ring, kicked = counts[RINGS[workload]], counts[KICKED[workload]]
    done = max(ring["io_completed"], 1)
    waits = [latency.histogram for latency in run.latencies if latency.kind == "io_latency"]
    servers = [task for task in run.tasks if not task.task.startswith(("client", "spin"))]
    device = counts["disk"] if workload == "block" else counts["nic-in"]
    return Point(
        rate=ring["io_completed"] / seconds,
        latency_ns=sum(h.mean_ns * h.count for h in waits) / max(sum(h.count for h in waits), 1),
        backend=sum(task.cpu_time_ns for task in servers) / run.duration_ns,
        told=(kicked["kicks"] + ring["interrupts"]) / done,
        cpu_ns=sum(task.cpu_time_ns for task in run.tasks) / done,
        link=device["device_utilisation"],
        ways=device.get("device_ways_busy", 0.0),
    )


def besides(p, host, card, seed):
    """Reads a second of a guest beside one that computes, both of each weight, on the host's own CPUs."""
    rates, cpus = [], host.topology.cpus
    for weight in p["weights"]:
        body = [Repeat(body=[Compute(work=Draw.parse("10ms"))])]
        spin = [vs.Task(name=f"spin-{cpu}", program=body, cpus=str(cpu)) for cpu in range(cpus)]
        guests = [
            vs.Guest(
                "g",
                stack=card,
                cpu_weight=weight,
                workload=clients(operation_of(p, "block"), p["readers"], range(cpus)),
            ),
            vs.Guest("hogs", stack="container", cpu_weight=weight, workload=vs.Workload(tasks=spin)),
        ]
        scenario = vs.Scenario(guests=guests, duration=p["beside_duration"])
        rates.append(measured(vs.simulate(scenario, seed=seed, host=host), "block").rate)
    return rates


def domains(p, host, load, scheduler, weight, seed):
    """Reads a second of Xen guests beside more and more that compute; each has a virtual CPU, of weight 100."""
    machine = VirtualMachine(scheduler=scheduler)
    readers, each = p["loads"][load]
    reading = vs.Workload(tasks=[vs.Task(name="client", program=[Repeat(body=[operation_of(p, "block")])], count=each)])
    spin = vs.Workload(tasks=[vs.Task(name="spin", program=[Repeat(body=[Compute(work=Draw.parse("10ms"))])])])
    domain = DriverDomain(cpu_weight=weight)
    rates = []
    for computing in p["computing"]:
        works = {f"g{i}": reading for i in range(readers)} | {f"hog{i}": spin for i in range(computing)}
        guests = [vs.Guest(n, stack="xen-pv", vcpus=1, machine=machine, workload=work) for n, work in works.items()]
        scenario = vs.Scenario(guests=guests, duration=p["domain_duration"], driver_domain=domain)
        run = vs.simulate(scenario, seed=seed, host=host)
        done = sum(run.value(f"g{i}/disk", "io_completed") for i in range(readers))
        rates.append(done / run.duration_ns * 1e9)
    return rates


def sending(p, host, name, seed, **parameters):
    """A run of a guest with a virtual CPU that sends packets, with some parameters of the layer that has the ring."""
    workload = vs.Workload(tasks=[vs.Task(name="client", program=[Repeat(body=[PacketSend(size=p["message"])])])])
    changed = {p["ringed"][name]: parameters}
    guest = vs.Guest("g", stack=p["stacks"][name], vcpus=1, workload=workload, stack_parameters=changed)
    return vs.simulate(vs.Scenario(guests=[guest], duration=p["ring_duration"]), seed=seed, host=host)


def batched(p, host, name, seed) -> list[Batch]:
    """What the machine makes of a batch, told always, and what its expansion says; for each size of a batch."""
    found = []
    for batch in p["batches"]:
        run = sending(p, host, name, seed, batch=batch, suppression=0)
        done = run.value("g/nic-out", "io_completed")
        stack = vs.load_stack(p["stacks"][name]).with_parameters({p["ringed"][name]: {"batch": batch}})
        expansion = stack.expand("packet_send", p["message"])
        found.append(
            Batch(
                rate=done / run.duration_ns * 1e9,
                spent_ns=sum(task.cpu_time_ns for task in run.tasks) / done,
                expanded_ns=price(expansion, host),
                sender_ns=run.value("g/client", "cpu_time") / done,
                sender_expanded_ns=price(expansion.parties[""], host) + host.price("runner_step"),
                kicks=run.value("g/nic-out", "kicks") * batch / done,
                interrupts=run.value("g/nic-out", "interrupts") * batch / done,
            )
        )
    return found


def ringed(p, host, name, suppression, seed):
    """Packets a second, and notifications for each, that a guest with a virtual CPU sends, by the size of its ring."""
    found = []
    for size in p["rings"]:
        run = sending(p, host, name, seed, ring=size, suppression=suppression)
        done, ring = run.value("g/nic-out", "io_completed"), "g/nic-out"
        told = run.value(ring, "kicks") + run.value(ring, "interrupts")
        found.append((done / run.duration_ns * 1e9, told / done))
    return found


# -- laws ------------------------------------------------------------------------------------------


def device_limit(host, workload, p):
    """Requests a second that the device itself can carry out."""
    if workload == "network":
        nic = host.devices.nic
        return nic.rate.known("rate") / 8 / nic.wire_bytes(p["message"])
    disk = host.devices.disk
    positioning_ns = sum(parameter.known("positioning") for parameter in disk.positioning)
    transfer_ns = p["size"] / disk.bandwidth.known("bandwidth") * 1e9
    return min(disk.ways.known("ways") * 1e9 / (positioning_ns + transfer_ns), 1e9 / transfer_ns)


def backend_limit(host, card, workload, p):
    """Requests a second that one thread can serve if it is never told and never sleeps; None without a back end."""
    events = ["file_io"] if workload == "block" else ["packet_send", "packet_receive"]
    size = p["size"] if workload == "block" else p["message"]
    parts = [PartTimes.of(io_parts(event, vs.load_stack(card), size), host) for event in events]
    busy_ns = sum(times.request for times in parts)
    return 1e9 / busy_ns if any(times.party for times in parts) else None


def record(context, host, found, always, beside) -> None:
    """What the claim rests on, and laws that hold whatever the prices are."""
    p = context.parameters
    for (workload, name), points in found.items():
        context.record(f"{workload}, {name}: saturated, 1/s", points[-1].rate)
        if p["stacks"][name] not in ("native", "container-host-network", "container-docker", "kvm-passthrough"):
            context.record(f"{workload}, {name}: back end's CPUs at saturation", points[-1].backend)
    everything = [*found.items(), *always.items()]
    little = [
        abs(point.rate * point.latency_ns / 1e9 / depth - 1)
        for _, points in everything
        for depth, point in zip(p["depths"], points, strict=True)
    ]
    context.record("Little's law, largest deviation", max(little))
    for workload in WORKLOADS:
        alone = [found[workload, name][0].latency_ns for name in p["stacks"]]
        for name, latency_ns in zip(p["stacks"], alone, strict=True):
            context.record(f"{workload}, {name}: one at a time, over native", latency_ns / alone[0])
    context.record("largest share of a bus in use", max(point.link for _, points in everything for point in points))
    context.record(
        "rate over what the device can do, largest",
        max(point.rate / device_limit(host, key[0], p) for key, points in everything for point in points),
    )
    limits = {key: backend_limit(host, p["stacks"][key[1]], key[0], p) for key in found}
    context.record(
        "rate over what one back end can do, largest",
        max(point.rate / limits[key] for key, points in everything if limits[key] for point in points),
    )
    context.record(
        "notifications a request, suppressed less always, largest",
        max(
            one.told - other.told
            for key, points in always.items()
            for one, other in zip(found[key], points, strict=True)
        ),
    )
    for key, points in always.items():
        label = f"{key[0]}, {key[1]}"
        context.record(f"{label}: notifications a request at saturation", found[key][-1].told)
        context.record(f"{label}: CPU time with suppression over without", found[key][-1].cpu_ns / points[-1].cpu_ns)
    for name, rates in beside.items():
        context.record(
            f"{name}: rate beside hogs, weights {p['weights'][-1]} over {p['weights'][0]}", rates[-1] / rates[0]
        )


def record_domains(context, starved, rings) -> None:
    """What computing guests and weights do to a driver domain, and small rings to packets."""
    p = context.parameters
    most = p["computing"][-1]
    for name, rates in starved.items():
        context.record(f"driver domain, {name}: reads beside {most} computing over none", rates[-1] / rates[0])
    usual, raised = p["domain_weights"][0], p["domain_weights"][-1]
    for load in p["loads"]:
        for scheduler in p["domain_schedulers"]:
            light, heavy = (starved[f"{load}, {scheduler}, {weight}"][-1] for weight in (usual, raised))
            context.record(f"driver domain, {load}, {scheduler}: reads beside {most}, raised weight", heavy / light)
    boosted, not_boosted = (starved[f"light, {scheduler}, {usual}"][-1] for scheduler in ("credit", "credit2"))
    context.record("driver domain, light: reads with boost over without", boosted / not_boosted)
    for name in p["ringed"]:
        asked, always = (rings[f"{name}, {how}"] for how in TOLD)
        context.record(f"{name}: packets, ring of {p['rings'][-1]} over ring of 1", asked[-1][0] / asked[0][0])
        context.record(f"{name}: notifications a packet, ring of {p['rings'][-1]}", asked[-1][1])
        context.record(f"{name}: packets, told where asked for over always", asked[-1][0] / always[-1][0])


def record_batches(context, batches) -> None:
    """What a driver saves that tells its back end once for several packets."""
    most = context.parameters["batches"][-1]
    for name, points in batches.items():
        context.record(f"{name}: packets, batch of {most} over one by one", points[-1].rate / points[0].rate)
        context.record(
            f"{name}: CPU time of a packet, batch of {most} over one by one", points[-1].spent_ns / points[0].spent_ns
        )
        gains = [later.spent_ns / earlier.spent_ns for earlier, later in itertools.pairwise(points)]
        context.record(f"{name}: CPU time of a packet, largest step up", max(gains))
        context.record(f"{name}: kicks for a batch, off one, largest", max(abs(point.kicks - 1) for point in points))
        context.record(f"{name}: interrupts for a batch, most", max(point.interrupts for point in points))
        off = [abs(point.sender_ns / point.sender_expanded_ns - 1) for point in points]
        context.record(f"{name}: CPU time of a packet's sender, off its expansion, largest", max(off))
    off = [abs(point.spent_ns / point.expanded_ns - 1) for points in batches.values() for point in points]
    context.record("CPU time of a packet in the machine, off its expansion, largest", max(off))


# -- figures ---------------------------------------------------------------------------------------


def colours(p):
    """A colour for each stack, the same in all figures."""
    return dict(zip(p["stacks"], PALETTE, strict=False))


def draw_sweep(folder, p, host, found) -> None:
    """Throughput and time of a request over the queue depth."""
    with style():
        axes = new_panels(2, 2, 10.0, 7.0, sharex=True)
        for column, workload in enumerate(WORKLOADS):
            above, below = axes[column], axes[2 + column]
            for name, colour in colours(p).items():
                points = found[workload, name]
                # Lines of stacks without a back end lie on each other; the bare machine's is wide, below all.
                look = {"color": colour, "marker": "o", "markersize": 4, "label": name}
                if name == "native":
                    look |= {"linewidth": 5, "alpha": 0.35}
                above.plot(p["depths"], [point.rate / 1e3 for point in points], **look)
                below.plot(p["depths"], [point.latency_ns / 1e3 for point in points], **look)
            limit = device_limit(host, workload, p) / 1e3
            if workload == "block":
                above.axhline(limit, color="black", linestyle=":", linewidth=1)
                above.annotate("the device's limit", (1, limit), (0, -11), textcoords="offset points", fontsize=8)
            above.set_title({"block": f"reads of {p['size']} B", "network": f"calls of {p['message']} B"}[workload])
            below.set_yscale("log")
            below.set_yticks([50, 100, 200, 500])
            below.minorticks_off()
            below.set_xscale("log", base=2)
            below.set_xticks(p["depths"])
            plain_numbers(below, "xy")
            below.set_xlabel("requests at a time")
            above.set_ylim(0)
        axes[0].set_ylabel("requests a second (thousands)")
        axes[2].set_ylabel("time of a request (µs)")
        handles, labels = axes[0].get_legend_handles_labels()
        axes[0].figure.legend(handles, labels, loc="outside lower center", ncols=3)
    save_figure(axes, folder / "saturation.png")


def draw_notifications(folder, p, found, always) -> None:
    """Notifications a request over the queue depth, told always and where asked for; CPU time below."""
    with style():
        axes = new_panels(2, 2, 10.0, 6.5, sharex=True)
        for column, workload in enumerate(WORKLOADS):
            above, below = axes[column], axes[2 + column]
            for name in p["always"]:
                colour = colours(p)[name]
                for points, line, how in ((found, "-", "where asked for"), (always, "--", "always")):
                    mine = points[workload, name]
                    look = {"color": colour, "linestyle": line, "marker": "o", "markersize": 4}
                    above.plot(p["depths"], [point.told for point in mine], label=f"{name}, told {how}", **look)
                    below.plot(p["depths"], [point.cpu_ns / 1e3 for point in mine], **look)
            above.set_title({"block": "disk", "network": "network"}[workload])
            above.set_ylim(0)
            below.set_ylim(0)
            below.set_xscale("log", base=2)
            below.set_xticks(p["depths"])
            plain_numbers(below, "x")
            below.set_xlabel("requests at a time")
        axes[0].set_ylabel("notifications a request")
        axes[2].set_ylabel("CPU time of all a request (µs)")
        handles, labels = axes[0].get_legend_handles_labels()
        axes[0].figure.legend(handles, labels, loc="outside lower center", ncols=2)
    save_figure(axes, folder / "notifications.png")


def draw_neighbours(folder, p, beside) -> None:
    """Throughput of a guest beside one that computes, by the weight of both."""
    with style():
        (ax,) = new_panels(1, 1, 8.0, 4.2)
        for name in beside:
            colour = colours(p)[name]
            rates = [rate / 1e3 for rate in beside[name]]
            ax.plot(p["weights"], rates, color=colour, marker="o", markersize=4, label=name)
        ax.set_xscale("log")
        ax.set_xticks(p["weights"])
        plain_numbers(ax)
        ax.set_ylim(0)
        ax.set_xlabel("weight of the guest and of the one that computes (driver domain: 100)")
        ax.set_ylabel("reads a second (thousands)")
        ax.set_title(f"{p['readers']} readers beside a computing guest, on two CPUs")
        ax.figure.legend(loc="outside right center")
    save_figure([ax], folder / "neighbours.png")


def draw_domains(folder, p, starved) -> None:
    """Reads a second over the number of computing guests, by load, scheduler and weight of the driver domain."""
    with style():
        panels = new_panels(len(p["loads"]), len(p["domain_schedulers"]), 10.0, 6.5, sharex=True)
        places = [(load, scheduler) for load in p["loads"] for scheduler in p["domain_schedulers"]]
        for ax, (load, scheduler) in zip(panels, places, strict=True):
            for weight, colour in zip(p["domain_weights"], PALETTE, strict=False):
                rates = [rate / 1e3 for rate in starved[f"{load}, {scheduler}, {weight}"]]
                ax.plot(p["computing"], rates, color=colour, marker="o", markersize=4, label=f"weight {weight}")
            guests, readers = p["loads"][load]
            ax.set_title(f"{scheduler}: guests that read: {guests}, readers in each: {readers}")
            ax.set_ylim(0)
        for ax in panels[-len(p["domain_schedulers"]) :]:
            ax.set_xlabel("computing guests, each of weight 100")
        for ax in panels[:: len(p["domain_schedulers"])]:
            ax.set_ylabel("reads a second (thousands)")
        panels[1].legend(title="driver domain")
    save_figure(panels, folder / "driver-domain.png")


def draw_rings(folder, p, rings) -> None:
    """Packets a second, and notifications for each, over the size of the ring."""
    with style():
        panels = new_panels(1, 2, 10.0, 4.2, sharex=True)
        for name, points in rings.items():
            stack, how = next((stack, name[len(stack) + 2 :]) for stack in p["ringed"] if name.startswith(stack))
            look = {"color": colours(p)[stack], "linestyle": "-" if TOLD[how] else "--", "marker": "o", "markersize": 4}
            panels[0].plot(p["rings"], [rate / 1e3 for rate, _ in points], label=name, **look)
            panels[1].plot(p["rings"], [told for _, told in points], **look)
        over_powers_of_two(panels, p["rings"], "requests that the ring holds", "notifications a packet")
        panels[0].figure.legend(loc="outside lower center", ncols=2)
    save_figure(panels, folder / "rings.png")


def over_powers_of_two(panels, ticks, over, second) -> None:
    """Name the axes of two panels: packets a second, and something else, over a number that is doubled."""
    for ax, label in zip(panels, ("packets a second (thousands)", second), strict=True):
        ax.set_xscale("log", base=2)
        ax.set_xticks(ticks)
        plain_numbers(ax, "x")
        ax.set_xlabel(over)
        ax.set_ylabel(label)
        ax.set_ylim(0)


def draw_batches(folder, p, batches) -> None:
    """Packets a second and CPU time of each over the batch that shares a notification."""
    with style():
        panels = new_panels(1, 2, 10.0, 4.2, sharex=True)
        for name, points in batches.items():
            look = {"color": colours(p)[name], "marker": "o", "markersize": 4}
            panels[0].plot(p["batches"], [point.rate / 1e3 for point in points], label=name, **look)
            panels[1].plot(p["batches"], [point.spent_ns / 1e3 for point in points], label=name, **look)
            expanded = [point.expanded_ns / 1e3 for point in points]
            panels[1].plot(p["batches"], expanded, color=look["color"], linestyle=":", label=f"{name}, expansion alone")
        over_powers_of_two(panels, p["batches"], "packets that share a notification", "CPU time of all a packet (µs)")
        handles, labels = panels[1].get_legend_handles_labels()
        panels[0].figure.legend(handles, labels, loc="outside lower center", ncols=2)
    save_figure(panels, folder / "batches.png")
