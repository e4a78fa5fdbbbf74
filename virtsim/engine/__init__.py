"""The event kernel: SimPy with integer nanoseconds, and resources that many share.

May import :mod:`virtsim.core` only. Start reading at :mod:`virtsim.engine.environment`; the shared
resources are :mod:`virtsim.engine.stations` (first come first served, priorities),
:mod:`virtsim.engine.sharing` (processor sharing) and :mod:`virtsim.engine.links` (max-min fair links);
what they can be asked afterwards is in :mod:`virtsim.engine.probes`.
"""
