"""The language in which work is written: tasks, each a program of operations.

The model and the real back end both run programs in this language; neither has a private dialect.
May import :mod:`virtsim.core` only. Start reading at :mod:`virtsim.workload.operations`; the
random parts are in :mod:`virtsim.workload.draw`, ready-made workloads in
:mod:`virtsim.workload.builders`.
"""
