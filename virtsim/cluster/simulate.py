"""Run a cluster scenario by either rule book."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from virtsim import __version__
from virtsim.cluster.cloudsim.benchmark import Benchmark
from virtsim.cluster.network import Topology
from virtsim.cluster.policies.consolidation import CONSOLIDATIONS, Consolidation, DynamicConsolidation
from virtsim.cluster.policies.overload import DETECTORS, OverloadDetector, load_detector
from virtsim.cluster.policies.placement import Placement, load_placement
from virtsim.cluster.policies.selection import load_selection
from virtsim.cluster.run import ClusterRun
from virtsim.cluster.scenario import ClusterScenario, Policy, reference_hosts
from virtsim.cluster.traces import SyntheticTraces, Traces, planetlab_days, read_gwa, read_planetlab, read_table
from virtsim.cluster.traces.synthetic import load_synthetic
from virtsim.core.errors import SpecError
from virtsim.core.spec import Duration, from_builtins
from virtsim.core.units import NS_PER_S

if TYPE_CHECKING:
    from virtsim.cluster.simulation import Simulation

Progress = Callable[[Iterable[float]], Iterable[float]]


def load_demand(scenario: ClusterScenario, seed: int = 1) -> Traces:
    """The traces that a scenario names: read from its file, or generated."""
    demand = scenario.demand
    if not demand.file:
        generator: SyntheticTraces = load_synthetic(demand.generator)
        guests = sum(group.rows for group in scenario.guests)
        if not guests:
            raise SpecError("guests", "a generator needs to know how many guests there are; give groups of guests")
        return generator.generate(guests, demand.samples, seed)
    if demand.format == "planetlab":
        if not demand.day:
            raise SpecError("demand.day", f"say which of {demand.file}: {', '.join(planetlab_days(demand.file))}")
        return read_planetlab(demand.file, demand.day)
    return read_gwa(demand.file) if demand.format == "gwa" else read_table(demand.file, demand.columns)


def simulate_cluster(
    scenario: ClusterScenario,
    traces: Traces | None = None,
    *,
    placement: Placement | None = None,
    consolidation: Consolidation | None = None,
    topology: Topology | None = None,
    seed: int = 1,
    progress: Progress | None = None,
) -> ClusterRun:
    """Run a scenario once.

    Parameters
    ----------
    scenario : ClusterScenario
        What to run.
    traces : Traces, optional
        Demand; by default what the scenario names.
    placement, consolidation : optional
        A policy of your own instead of the scenario's (rules ``virtsim`` only).
    topology : Topology, optional
        A network of your own (rules ``virtsim`` only).
    seed : int
        Root seed: equal scenarios, traces and seeds give equal runs.
    progress : callable, optional
        Wraps the list of decisions (reference rules).

    Raises
    ------
    SpecError
        If the scenario cannot be run: the message names the host, guest or trace.
    ModelError
        If a policy's answer is not possible; no run goes on in a wrong state.
    """
    scenario = checked(scenario)
    _check_arguments(traces, placement, consolidation, topology, seed)
    demand = traces if traces is not None else load_demand(scenario, seed)
    if scenario.rules == "cloudsim-3.0.3":
        if placement is not None or consolidation is not None or topology is not None:
            raise SpecError(
                "rules", "the rules cloudsim-3.0.3 have their own policies and network; use rules='virtsim'"
            )
        return _run_reference(scenario, demand, seed, progress)
    from virtsim.cluster.simulation import Simulation

    mover = consolidation if consolidation is not None else consolidation_of(scenario)
    placer = placement if placement is not None else load_placement(scenario.policy.placement, path="policy.placement")
    simulation = Simulation(scenario, demand, placer, mover, seed, topology)
    simulation.run()
    return ClusterRun(
        rules=scenario.rules,
        policy=_policy_name(scenario, placement, consolidation),
        traces=demand.name,
        hosts=len(simulation.hosts.names),
        guests=len(simulation.guests.names),
        seed=seed,
        duration_ns=simulation.duration_ns,
        totals=_totals(simulation),
        series=simulation.series,
        services={service.name: service.history for service in simulation.services.all},
        manifest=_manifest(scenario),
    )


def checked(scenario: ClusterScenario) -> ClusterScenario:
    """The scenario as the strict reader has it: what was built in Python keeps the same rules as a file.

    Raises
    ------
    SpecError
        Names the field whose value is out of range or of another type.
    """
    if not isinstance(scenario, ClusterScenario):
        raise SpecError("scenario", f"must be a ClusterScenario, not {_shown(scenario)}")
    return from_builtins(scenario.to_builtins(), ClusterScenario)


def _check_arguments(traces: object, placement: object, consolidation: object, topology: object, seed: object) -> None:
    """Refuse what is no demand, policy, network or seed, before anything happens."""
    if traces is not None and not isinstance(traces, Traces):
        raise SpecError("traces", f"must be Traces(...), not {_shown(traces)}")
    if topology is not None and not isinstance(topology, Topology):
        raise SpecError("topology", f"must be a Topology(...), not {_shown(topology)}")
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise SpecError("seed", f"must be a whole number of at least 0, not {_shown(seed)}")
    for name, policy, method in (("placement", placement, "place"), ("consolidation", consolidation, "decide")):
        if policy is None:
            continue
        if isinstance(policy, str):
            raise SpecError(name, f"must be a policy of your own; a shipped one is named by policy.{name} = {policy!r}")
        if isinstance(policy, type):
            raise SpecError(name, f"is the class {policy.__name__}; make one of it: {name}={policy.__name__}()")
        if not callable(getattr(policy, method, None)):
            raise SpecError(name, f"{_shown(policy)} has no method {method!r}; see the Protocol of the policy")


def _shown(value: object) -> str:
    return f"{type(value).__name__} {value!r:.40}".replace("\n", " ")


def run_reference(traces: Traces, policy: str = "lr-mmt", seed: int = 1, **options: Any) -> ClusterRun:
    """The reference benchmark in one line: ``run_reference(read_planetlab(file, day), "thr-mmt")``.

    ``options`` are fields of :class:`ClusterScenario`, such as ``quirks`` and ``reference_hosts``.
    """
    scenario = ClusterScenario(rules="cloudsim-3.0.3", policy_name=policy, **options)
    return simulate_cluster(scenario, traces, seed=seed)


def consolidation_of(scenario: ClusterScenario) -> Consolidation:
    """The consolidation policy that a scenario names, put together."""
    policy = scenario.policy
    if policy.consolidation == "dynamic":
        return DynamicConsolidation(
            load_placement(policy.placement, path="policy.placement"),
            _detector(policy),
            load_selection(policy.selection),
            policy.underload,
        )
    return CONSOLIDATIONS.get(policy.consolidation, "policy.consolidation")()


def _detector(policy: Policy) -> OverloadDetector:
    """The overload detector with its parameter, whose errors name the field."""
    DETECTORS.get(policy.overload, "policy.overload")
    try:
        return load_detector(policy.overload, policy.overload_parameter)
    except SpecError as problem:
        raise SpecError(
            "policy.overload_parameter", f"{problem.path} of {policy.overload!r} {problem.reason}"
        ) from None


def planetlab_scenario(policy: str = "lr-mmt", hosts: int = 800, **options: Any) -> ClusterScenario:
    """The PlanetLab set-up of the reference, to be run by the default rules.

    Parameters
    ----------
    policy : str
        ``npa`` (all hosts stay on, nobody moves), ``dvfs`` (idle hosts sleep, nobody moves), or detector and selection
        as in ``lr-mmt``, perhaps with a parameter.
    hosts : int
        Number of hosts.
    options
        Other fields of :class:`ClusterScenario`.
    """
    from virtsim.cluster.cloudsim.benchmark import split_policy

    detector, selection, parameter = split_policy(policy)
    if detector in ("npa", "dvfs"):
        chosen = Policy(placement="first-fit", consolidation="none", idle_hosts="on" if detector == "npa" else "asleep")
    else:
        chosen = Policy(overload=detector, overload_parameter=parameter, selection=selection)
    return ClusterScenario(
        name=f"planetlab {policy}", hosts=reference_hosts(hosts), policy=chosen, policy_name=policy, **options
    )


def _run_reference(scenario: ClusterScenario, traces: Traces, seed: int, progress: Progress | None) -> ClusterRun:
    if traces.step_ns != 300 * NS_PER_S:
        raise SpecError("traces", "the reference rules need a sample every 300 s")
    benchmark = Benchmark(traces.use, scenario.policy_name, scenario.reference_hosts, scenario.quirks, seed)
    outcome = benchmark.run(progress)
    active = outcome.series["active_hosts"]
    return ClusterRun(
        rules=scenario.rules,
        policy=scenario.policy_name,
        traces=traces.name,
        hosts=scenario.reference_hosts,
        guests=len(traces.guests),
        seed=seed,
        duration_ns=int(Duration(86400 * NS_PER_S)),
        totals=outcome.totals | {"mean_active_hosts": float(np.mean(active)), "peak_active_hosts": max(active)},
        series=outcome.series,
        manifest=_manifest(scenario),
    )


def _policy_name(scenario: ClusterScenario, placement: Placement | None, consolidation: Consolidation | None) -> str:
    policy = scenario.policy
    if consolidation is not None:
        mover = type(consolidation).__name__
    elif policy.consolidation == "dynamic":
        parameter = "" if policy.overload_parameter is None else f"-{policy.overload_parameter:g}"
        mover = f"{policy.overload}-{policy.selection}{parameter}"
    else:
        mover = policy.consolidation
    return f"{mover}, {type(placement).__name__ if placement is not None else policy.placement}"


def _totals(simulation: Simulation) -> dict[str, int | float]:
    plant, counts, sums = simulation.plant, simulation.counts, simulation.sums
    asked = float(plant.work_asked.sum())
    stolen, migrating = float(plant.work_stolen.sum()), float(plant.work_migrating.sum())
    unmet = stolen + migrating + float(plant.work_paging.sum())
    active = float(plant.active_s.sum())
    energy = float(plant.energy_j.sum()) / 3.6e6
    slatah = float(plant.short_s.sum()) / active if active else 0.0
    pdm = migrating / asked if asked else 0.0
    lived = int(simulation.lived_ns.sum())
    finished = counts["migrations"] - counts["failed_migrations"] - len(simulation.moves.moving)
    seconds = simulation.duration_ns / NS_PER_S
    return {
        "energy_kwh": energy,
        "migrations": counts["migrations"],
        "slatah": slatah,
        "pdm": pdm,
        "slav": slatah * pdm,
        "esv": energy * slatah * pdm,
        "shutdowns": counts["shutdowns"],
        "state_changes": counts["state_changes"],
        "sla_overall": unmet / asked if asked else 0.0,
        "unmet_demand": unmet,
        "mean_migration_time_s": sums["migration_s"] / finished if finished else 0.0,
        "mean_active_hosts": float(plant.on_s.sum()) / seconds,
        "peak_active_hosts": max(simulation.series["active_hosts"], default=0.0),
        "steal_mi": stolen,
        "migrated_bytes": sums["migrated_bytes"],
        "migration_downtime_s": sums["migration_downtime_s"],
        "failed_migrations": counts["failed_migrations"],
        "boots": counts["boots"],
        "boot_energy_kwh": float(plant.transition_j.sum()) / 3.6e6,
        "availability": int(simulation.ran_ns.sum()) / lived if lived else 1.0,
        "unplaced": int((simulation.alive & ~simulation.ever_placed).sum()),
        "oom_kills": counts["oom_kills"],
        "balloon_byte_s": sums["balloon_byte_s"],
        "restarts": counts["restarts"],
        "images_pulled_bytes": sums["images_pulled_bytes"],
        "storage_bytes": simulation.storage.read_bytes,
        "storage_late_s": simulation.storage.late_s,
    } | simulation.services.totals(seconds)


def _manifest(scenario: ClusterScenario) -> dict[str, Any]:
    return {"virtsim": __version__, "scenario": scenario.to_builtins()}
