"""Designs, replications, sweeps: many runs, on many processes, resumable, with one seeding rule.

May import :mod:`virtsim.machine` and below. Start reading at :mod:`virtsim.experiment.replicate`; how a
scenario is changed by path is in :mod:`virtsim.experiment.change`, the folders of ``experiments/`` are in
:mod:`virtsim.experiment.folder`.
"""
