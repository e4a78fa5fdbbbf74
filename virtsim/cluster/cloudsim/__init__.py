"""The rule book ``cloudsim-3.0.3``: the field's reference benchmark, exact to its last digit.

An independent implementation of the *model* (no code of CloudSim is in it): :mod:`setup` has its fixed machines,
:mod:`state` its CPU sharing, :mod:`consolidation`, :mod:`columns`, :mod:`detectors` and :mod:`selection` its
decisions, :mod:`ledger` its metrics, :mod:`quirks` the switches for what it does that a data centre does not, and
:mod:`benchmark` the clock. Sums are taken in the reference's order, because its ties depend on the last bit.

References
----------
R. N. Calheiros et al., "CloudSim: a toolkit for modeling and simulation of cloud computing environments and
evaluation of resource provisioning algorithms", Software: Practice and Experience 41(1), 2011.
A. Beloglazov, R. Buyya, Concurrency and Computation: Practice and Experience 24(13), 2012.
"""

from virtsim.cluster.cloudsim.benchmark import Benchmark, Outcome, policy_names, split_policy
from virtsim.cluster.cloudsim.quirks import QUIRK_NUMBERS, Quirks

__all__ = ["QUIRK_NUMBERS", "Benchmark", "Outcome", "Quirks", "policy_names", "split_policy"]
