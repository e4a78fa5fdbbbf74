"""Data centres: placement, consolidation, migration, energy and service levels over time.

May import images, machine, platform, scheduling, results, scenario, workload, engine and core. Two rule books
share one demand and one result:

* ``virtsim``, the default, is physically right: :mod:`simulation` has the events (arrivals, migrations over shared
  links, boots, failures), :mod:`plant` the arrays (CPU shares, power, and sums that are exact on every change),
  :mod:`fleet` the machines, :mod:`network` the links, :mod:`storage` what goes over them from the store,
  :mod:`migration` how a guest moves, :mod:`overheads` what its stack costs.
* ``cloudsim-3.0.3`` is the field's reference benchmark, exact to the digit: :mod:`cloudsim`.

Policies are in :mod:`policies`, each behind a small Protocol and registered by name; demand is in :mod:`traces`;
power curves in :mod:`power`. Start reading at :mod:`simulate`.
"""

from virtsim.cluster.cloudsim.quirks import Quirks
from virtsim.cluster.migration import Dirtying, DirtyPages, MigrationPlan, Strategy, plan_migration
from virtsim.cluster.policies.autoscale import HorizontalAutoscaler
from virtsim.cluster.run import CLUSTER_METRICS, ClusterRun, ServiceState
from virtsim.cluster.scenario import ClusterScenario, GuestGroup, HostGroup, Policy
from virtsim.cluster.simulate import load_demand, planetlab_scenario, run_reference, simulate_cluster
from virtsim.cluster.traces import Traces, read_gwa, read_planetlab, read_table

__all__ = [
    "CLUSTER_METRICS",
    "ClusterRun",
    "ClusterScenario",
    "DirtyPages",
    "Dirtying",
    "GuestGroup",
    "HorizontalAutoscaler",
    "HostGroup",
    "MigrationPlan",
    "Policy",
    "Quirks",
    "ServiceState",
    "Strategy",
    "Traces",
    "load_demand",
    "plan_migration",
    "planetlab_scenario",
    "read_gwa",
    "read_planetlab",
    "read_table",
    "run_reference",
    "simulate_cluster",
]
