"""Demand over time: what guests asked for, from files or from a generator.

:mod:`traces` is the common form; :mod:`planetlab`, :mod:`gwa` and :mod:`tables` read files of others;
:mod:`synthetic` makes traces with the statistics of real days, from a seed.
"""

from virtsim.cluster.traces.gwa import read_gwa
from virtsim.cluster.traces.planetlab import planetlab_days, read_planetlab
from virtsim.cluster.traces.synthetic import SyntheticTraces, fit_synthetic
from virtsim.cluster.traces.tables import read_table
from virtsim.cluster.traces.traces import Traces

__all__ = [
    "SyntheticTraces",
    "Traces",
    "fit_synthetic",
    "planetlab_days",
    "read_gwa",
    "read_planetlab",
    "read_table",
]
