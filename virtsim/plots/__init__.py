"""The drawing room: timelines, comparisons, costs, sweeps, latency distributions. Each function returns Axes.

May import :mod:`virtsim.validation` and below; nothing imports it but the command line and those who draw.
Matplotlib is imported where something is drawn. Start reading at :mod:`virtsim.plots.timeline`; colours and
fonts are in :mod:`virtsim.plots.style`.
"""

from virtsim.plots.comparison import plot_comparison
from virtsim.plots.costs import plot_costs
from virtsim.plots.latency import plot_latency
from virtsim.plots.style import save_figure
from virtsim.plots.sweep import plot_sweep
from virtsim.plots.timeline import plot_timeline

__all__ = ["plot_comparison", "plot_costs", "plot_latency", "plot_sweep", "plot_timeline", "save_figure"]
