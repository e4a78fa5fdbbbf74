"""Data centres: placement, consolidation, migration, energy and service levels over time.

May import images, machine, platform, scheduling, results, scenario, workload, engine and core. Start reading at
:mod:`simulate`: it takes a :mod:`scenario`, which is data, runs it by one of two rule books, and gives a :mod:`run`.

* ``virtsim``, the default, is physically right: :mod:`simulation` has the clock and the guests that come and go.

  - What there is: :mod:`fleet` has the machines, :mod:`network` the links, :mod:`power` the curves, :mod:`overheads`
    what a guest's stack costs.
  - What it does: :mod:`plant` has the arrays (CPU shares, power, and sums that are exact on every change).
  - What happens, each a :mod:`part` of the simulation: :mod:`moves` (migrations, which wait for their :mod:`turns` and
    go as :mod:`migration` says), :mod:`power_states` (hosts wake and go to sleep), :mod:`host_failures`, :mod:`scaling`
    (replicas of services), :mod:`images` and :mod:`storage` (what hosts and guests read from the store).
  - What policies see of it: :mod:`view`.

* ``cloudsim-3.0.3`` is the field's reference benchmark, exact to the digit: :mod:`cloudsim`.

Policies are in :mod:`policies`, each behind a small Protocol and registered by name; demand is in :mod:`traces`.
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
