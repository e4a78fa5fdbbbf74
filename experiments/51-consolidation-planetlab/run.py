"""All policies on all days under both rule books; and the reference with its quirks off one by one.

What is expected comes from elsewhere: from CloudSim's own output and from an implementation without arrays, both beside
this file, and from what memory and the hosts' power curves allow at all.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

from virtsim.cluster import ClusterScenario, Quirks, planetlab_scenario, read_planetlab, simulate_cluster
from virtsim.cluster.cloudsim import QUIRK_NUMBERS
from virtsim.cluster.power import load_power
from virtsim.cluster.scenario import reference_guests, reference_hosts
from virtsim.cluster.traces import Traces
from virtsim.results.statistics import mean_interval, paired_difference

HERE = Path(__file__).parent
DATA = HERE.parent.parent / "data" / "planetlab.npz"
FIGURES = ("energy_kwh", "migrations", "slatah", "pdm", "slav", "esv", "shutdowns", "mean_active_hosts")
#: The largest day needs more hosts than the 800 of the published set-up; days are compared on the same centre.
HOSTS = 800
QUIRK_POLICY = "lrr-mmt"
HOURS = 24
_NAMES = json.loads((HERE / "names.json").read_text())
#: CloudSim's name, ours, and the digits after the point that CloudSim prints.
CLOUDSIM_FIGURES = _NAMES["cloudsim"]
#: The plain implementation's name, and ours.
PLAIN_FIGURES = _NAMES["plain-objects"]


def run(context) -> None:
    """Fill the tables, record, draw."""
    days, policies = context.parameters["days"], context.parameters["policies"]
    quirk_days = context.parameters["quirk_days"]
    table, effects = totals_of_all(context, days, policies, quirk_days)
    record(context, table, effects, [days.index(day) for day in quirk_days])
    record_cloudsim(context, table, days)
    record_plain(context, table, days, dict(zip(quirk_days, effects["as published"], strict=True)))
    needed = {day: hosts_for_memory(len(traces_of(day).guests)) for day in days}
    record_laws(context, table, effects, [needed[day] for day in days], [needed[day] for day in quirk_days])
    write_tables(context.folder, table, effects, len(days))
    draw(context.folder, table, effects, policies)


def totals_of_all(context, days, policies, quirk_days) -> tuple[dict, dict]:
    """Totals by rule book and policy, and by quirk that is off (none, each alone, and all); a list over days each."""
    off = {"as published": []} | {f"{number} {name}": [name] for name, number in QUIRK_NUMBERS.items()}
    off["all off"] = list(QUIRK_NUMBERS)
    table = {(rules, policy): [] for policy in policies for rules in ("cloudsim-3.0.3", "virtsim")}
    effects = {name: [] for name in off}
    cases, rows = [], []
    for day in days:
        common = {"day": day, "seed": context.seed}
        cases += [common | {"policy": policy, "rules": rules, "quirks_off": []} for rules, policy in table]
        rows += table.values()
        if day in quirk_days:
            reference = common | {"policy": QUIRK_POLICY, "rules": "cloudsim-3.0.3"}
            cases += [reference | {"quirks_off": quirks} for quirks in off.values()]
            rows += effects.values()
    for row, totals in zip(rows, context.cases(totals_of, cases, inputs=[DATA]), strict=True):
        row.append(totals)
    return table, effects


def totals_of(day: str, policy: str, rules: str, quirks_off: list[str], seed: int) -> dict[str, float]:
    """One policy on one day of the PlanetLab set-up by one rule book; the reference perhaps without some quirks."""
    if rules == "virtsim":
        scenario = planetlab_scenario(policy, HOSTS)
    else:
        quirks = Quirks().without(*quirks_off)
        scenario = ClusterScenario(rules=rules, policy_name=policy, reference_hosts=HOSTS, quirks=quirks)
    return simulate_cluster(scenario, traces_of(day), seed=seed).totals


@lru_cache(maxsize=1)
def traces_of(day: str) -> Traces:
    """A day's traces; cases are made day by day."""
    return read_planetlab(DATA, day)


def mean(rows, figure) -> float:
    """Mean over the days."""
    return sum(row[figure] for row in rows) / len(rows)


def record(context, table, effects, quirk_rows) -> None:
    """The findings."""
    for (rules, policy), rows in table.items():
        context.record(f"{rules} {policy} energy_kwh", mean(rows, "energy_kwh"))
        context.record(f"{rules} {policy} migrations", mean(rows, "migrations"))
    for name, rows in effects.items():
        context.record(f"quirks {name} energy_kwh", mean(rows, "energy_kwh"))
        context.record(f"quirks {name} migrations", mean(rows, "migrations"))
    ours, theirs = table["virtsim", "lr-mmt"], table["cloudsim-3.0.3", "lr-mmt"]
    context.record("energy_ratio", mean(ours, "energy_kwh") / mean(theirs, "energy_kwh"))
    context.record("migration_ratio", mean(theirs, "migrations") / max(mean(ours, "migrations"), 1.0))
    same_days = [ours[k] for k in quirk_rows]
    off = mean(effects["all off"], "energy_kwh")
    context.record("all quirks off: energy over ours", off / mean(same_days, "energy_kwh"))


def record_cloudsim(context, table, days) -> None:
    """How many of the figures that CloudSim printed are not ours, to its last digit; random selection by its spread."""
    compared, different, random = 0, 0, []
    printed = json.loads((HERE / "cloudsim-3.0.3.json").read_text())
    for day, row in ((known, row) for known in days for row in printed.get(known, [])):
        policy = row["policy"] + (f"-{row['sel']}" if row["sel"] else "")
        if ("cloudsim-3.0.3", policy) not in table:
            continue
        totals = table["cloudsim-3.0.3", policy][days.index(day)]
        if policy.endswith("-rs"):
            random.append((row, totals))
            continue
        for theirs, ours, digits in CLOUDSIM_FIGURES:
            if row[theirs] is not None:
                compared += 1
                different += round(totals[ours], digits) != round(row[theirs], digits)
    context.record("CloudSim: figures compared", compared)
    context.record("CloudSim: figures that differ", different)
    if random:
        for theirs, ours in (("energy_kWh", "energy_kwh"), ("migrations", "migrations")):
            known = mean_interval([float(row[theirs]) for row, _ in random])
            n = len(random)
            # A new value of the same distribution differs from the mean of n by t deviations times sqrt(1 + 1 / n).
            deviation = (sum((row[theirs] - known.mean) ** 2 for row, _ in random) / (n - 1)) ** 0.5
            distance = abs(random[0][1][ours] - known.mean) / (deviation * (1 + 1 / n) ** 0.5)
            context.record(f"CloudSim: random selection, t of {ours}", distance)


def record_plain(context, table, days, robust) -> None:
    """The largest difference from the implementation without arrays, which has all quirks, on every day."""
    plain = json.loads((HERE / "plain-objects.json").read_text())
    compared, largest = 0, 0.0
    for key, row in plain.items():
        day, policy = key.split()
        if day in days and ("cloudsim-3.0.3", policy) in table:
            compared += len(PLAIN_FIGURES)
            largest = max(largest, difference(table["cloudsim-3.0.3", policy][days.index(day)], row))
    context.record("plain objects: figures compared", compared)
    context.record("plain objects: largest relative difference", largest)
    # By quirk Q6 the robust regression is the other one.
    differences = [difference(totals, plain[f"{day} lr-mmt"]) for day, totals in robust.items()]
    context.record("plain objects: largest relative difference, robust regression", max(differences))


def difference(totals, row) -> float:
    """The largest relative difference of any figure."""
    return max(
        abs(totals[ours] - row[theirs]) / max(abs(row[theirs]), 1e-300) if totals[ours] != row[theirs] else 0.0
        for theirs, ours in PLAIN_FIGURES
    )


def hosts_for_memory(guests) -> float:
    """Hosts that so many guests fill with their memory."""
    return sum(group.count * group.memory for group in reference_guests(guests)) / reference_hosts(HOSTS)[0].memory


def record_laws(context, table, effects, needed, needed_for_quirks) -> None:
    """What must be so: hosts that memory needs, power between idle and full, and quirks that only count otherwise."""
    cards = [(group.count, load_power(group.power).watts) for group in reference_hosts(HOSTS)]
    idle_kwh = min(watts[0] for _, watts in cards) * HOURS / 1000
    ours = [rows for (rules, _), rows in table.items() if rules == "virtsim"]
    for name, runs, bounds in (("ours", ours, needed), ("all quirks off", [effects["all off"]], needed_for_quirks)):
        pairs = [pair for rows in runs for pair in zip(rows, bounds, strict=True)]
        hosts = min(row["mean_active_hosts"] / bound for row, bound in pairs)
        context.record(f"{name}: least hosts on over what memory needs", hosts)
        energy = min(row["energy_kwh"] / (bound * idle_kwh) for row, bound in pairs)
        context.record(f"{name}: least energy over that of these hosts when idle", energy)
    everything_on = [row["energy_kwh"] for row in table["virtsim", "npa"]]
    for end, point in (("idle", 0), ("full", -1)):
        kwh = sum(count * watts[point] for count, watts in cards) * HOURS / 1000
        extreme = min(everything_on) if end == "idle" else max(everything_on)
        context.record(f"ours: all hosts on over all hosts {end}", extreme / kwh)
    published = effects["as published"]
    for quirk, figure in (("Q3 free_energy", "migrations"), ("Q8 receivers_violate", "migrations")):
        changed = sum(a[figure] != b[figure] for a, b in zip(published, effects[quirk], strict=True))
        context.record(f"{quirk}: days on which {figure} change", changed)
    others = [rows for name, rows in effects.items() if name != "as published"]
    context.record("quirks without effect", sum(same(rows, published) for rows in others))


def same(rows, others) -> bool:
    """Whether all figures are equal on all days."""
    return all(a[figure] == b[figure] for a, b in zip(rows, others, strict=True) for figure in FIGURES)


def write_tables(folder, table, effects, days) -> None:
    """The tables as Markdown, means with 95 % confidence intervals over days (Student's t)."""
    lines = [f"Means over {days} days with 95 % confidence intervals.", ""]
    head = "| rules | policy | " + " | ".join(FIGURES) + " |"
    lines += [head, "|" + "---|" * (len(FIGURES) + 2)]
    for (rules, policy), rows in sorted(table.items()):
        lines.append(f"| {rules} | {policy} | " + " | ".join(interval(rows, figure) for figure in FIGURES) + " |")
    lines += ["", f"The reference's {QUIRK_POLICY} with quirks off.", ""]
    lines += ["| off | " + " | ".join(FIGURES) + " |", "|" + "---|" * (len(FIGURES) + 1)]
    for name, rows in effects.items():
        lines.append(f"| {name} | " + " | ".join(interval(rows, figure) for figure in FIGURES) + " |")
    lines += ["", "What turning a quirk off changes, by day (paired).", ""]
    lines += ["| off | " + " | ".join(FIGURES) + " |", "|" + "---|" * (len(FIGURES) + 1)]
    for name, rows in effects.items():
        if name != "as published":
            changes = [change(rows, effects["as published"], figure) for figure in FIGURES]
            lines.append(
                f"| {name} | " + " | ".join(f"{m:+.4g} ± {h:.2g}" if h else f"{m:+.4g}" for m, h in changes) + " |"
            )
    (folder / "tables.md").write_text("\n".join(lines) + "\n")


def interval(rows, figure) -> str:
    """``mean ± half-width``; a single day has no interval."""
    width = half(rows, figure)
    return f"{mean(rows, figure):.4g} ± {width:.2g}" if len(rows) > 1 else f"{mean(rows, figure):.4g}"


def change(rows, published, figure) -> tuple[float, float]:
    """Mean and half-width of the differences by day; a single day has no interval."""
    values = [float(row[figure]) for row in rows]
    base = [float(row[figure]) for row in published]
    if len(values) < 2:
        return values[0] - base[0], 0.0
    found = paired_difference(values, base).interval
    return found.mean, found.half_width


def draw(folder, table, effects, policies) -> None:
    """Energy and migrations by policy under both rule books, and what each quirk does to them."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    panels = (("energy_kwh", "energy (kWh a day)"), ("migrations", "migrations a day"))
    figure, axes = plt.subplots(1, 2, figsize=(9, 4.5), layout="constrained", sharey=True)
    for ax, (key, label) in zip(axes, panels, strict=True):
        for i, rules in enumerate(("cloudsim-3.0.3", "virtsim")):
            places = [k + 0.4 * i for k in range(len(policies))]
            rows = [table[rules, policy] for policy in policies]
            ax.barh(places, [mean(row, key) for row in rows], 0.38, xerr=[half(row, key) for row in rows], label=rules)
        ax.set(xlabel=label, yticks=[k + 0.2 for k in range(len(policies))], yticklabels=policies)
    axes[0].invert_yaxis()
    axes[1].set_xscale("symlog", linthresh=10)
    axes[1].set_xlim(left=0)
    handles, rule_books = axes[0].get_legend_handles_labels()
    title = "mean and 95 % interval over days"
    figure.legend(handles, rule_books, title=title, loc="outside upper center", ncols=2)
    figure.savefig(folder / "policies.png", dpi=150)
    plt.close(figure)
    figure, axes = plt.subplots(1, 2, figsize=(9, 4.5), layout="constrained", sharey=True)
    names = [name for name in effects if name != "as published"]
    published = effects["as published"]
    for ax, (key, label) in zip(axes, panels, strict=True):
        changes = [change(effects[name], published, key) for name in names]
        ax.barh(names, [m for m, _ in changes], xerr=[h for _, h in changes])
        ax.axvline(0, color="k", lw=0.8)
        ax.locator_params(axis="x", nbins=5)
        ax.set(xlabel=f"change of {label}", title=f"as published: {mean(published, key):,.0f}")
    axes[0].invert_yaxis()
    figure.suptitle(f"{QUIRK_POLICY} with a quirk turned off; 95 % intervals over days")
    figure.savefig(folder / "quirks.png", dpi=150)
    plt.close(figure)


def half(rows, key) -> float:
    """Half-width of the 95 % interval over days."""
    values = [float(row[key]) for row in rows]
    if len(values) < 2:
        return 0.0
    return mean_interval(values).half_width
