"""Six scenarios in the model and on the kernel, or from its recorded observations."""

import os
from statistics import median

import virtsim as vs
from virtsim.backends import capability
from virtsim.core.spec import encode_json
from virtsim.experiment.observations import load_observations, save_observations
from virtsim.plots import plot_comparison, plot_timeline, save_figure
from virtsim.validation.predict import predict

#: Whose timelines are drawn, and which part of them.
DRAWN = ("cpu-shares", "quota", "periodic-beside-hog")
WINDOW = ("0ms", "320ms")
#: Behind each interval of the model.
REPLICATIONS = 10


def run(context):
    """Observe or replay each scenario, predict it, compare, draw."""
    scenarios = [vs.Scenario.load(path) for path in sorted((context.source / "scenarios").glob("*.toml"))]
    host, observed = observe_all(context, scenarios) if live() else replay_all(context, scenarios)
    rows, shown, model_runs = [], [], {}
    for scenario in scenarios:
        real = observed[scenario.name]
        model = predict(scenario, n=REPLICATIONS, seed=context.seed, host=host, timeline=scenario.name in DRAWN)
        model_runs[scenario.name] = model
        rows += vs.compare(model, [r for r in real if not r.disturbed] or real).rows
        if scenario.name in DRAWN:
            shown += [model[0], min((r for r in real if r.slices), key=disturbance)]
    vs.save_runs(context.folder / "model.jsonl.gz", [r for runs in model_runs.values() for r in runs])
    vs.save_runs(context.folder / "real.jsonl.gz", [r for runs in observed.values() for r in runs])
    plot_timeline(shown, window=WINDOW, path=context.folder / "timeline.png")
    save_figure(plot_comparison(rows), context.folder / "comparison.png")
    record(context, rows, model_runs, observed)


def live():
    """Whether this kernel is observed; VIRTSIM_REPLAY=1 says that it shall not be."""
    return not os.environ.get("VIRTSIM_REPLAY") and capability("container").present


def observe_all(context, scenarios):
    """The runs on this kernel, in turns: what disturbs the machine for a while disturbs every scenario a little."""
    card = context.folder / "host.toml"
    host = vs.load_host(card if card.is_file() else "this")
    rounds = int(context.parameters["repeats"]) * scenarios
    observed = {scenario.name: [] for scenario in scenarios}
    for scenario in context.progress(rounds, "scenarios"):
        timeline = scenario.name in DRAWN
        found = vs.observe(scenario, seed=context.seed, timeline=timeline, repeats_if_disturbed=1)
        observed[scenario.name].append(found)
    if os.environ.get("VIRTSIM_RECORD"):
        save_observations(context.source / "observations", [r for runs in observed.values() for r in runs], host)
    return host, observed


def replay_all(context, scenarios):
    """The recorded runs, with the card of the machine they were recorded on."""
    recorded = load_observations(context.source / "observations")
    return recorded.host, {scenario.name: recorded.of(scenario) for scenario in scenarios}


def disturbance(run):
    """How much of the CPU others had during a real run."""
    return run.manifest["noise"]["foreign_share"] + run.manifest["noise"]["steal_share"]


def record(context, rows, model, real):
    """The table, and the figures that the claim rests on."""
    (context.folder / "comparison.json").write_bytes(encode_json([row._asdict() for row in rows]))
    for metric in ("cpu_time", "completion_time"):
        errors = [abs(row.error) for row in rows if row.metric == metric and row.error is not None]
        context.record(f"median_error_{metric}", median(errors))
    failed = [row for row in rows if row.verdict == "FAILED"]
    context.record("failed_share", len(failed) / len(rows))
    for world, runs in (("model", model), ("real", real)):
        shares = runs["cpu-shares"]
        context.record(f"shares_ratio_{world}", ratio(shares, "heavy", "light", "cpu_time"))
        context.record(
            f"quota_share_{world}", median(r.value("capped", "cpu_time") / r.duration_ns for r in runs["quota"])
        )
        calls = runs["system-calls"]
        context.record(f"seccomp_ratio_{world}", ratio(calls, "inside/calls", "outside/calls", "cpu_time"))


def ratio(runs, one, other, metric):
    """Median over the runs of one entity's metric over the other's."""
    return median(run.value(one, metric) / run.value(other, metric) for run in runs)
