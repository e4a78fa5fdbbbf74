"""A scenario: a host's name, guests with their limits and workloads, a duration. Data only.

``simulate`` runs it in the model, ``observe`` runs the very same one on this kernel. May import
:mod:`virtsim.workload` and :mod:`virtsim.core`. Start reading at :mod:`virtsim.scenario.scenario`.
"""
