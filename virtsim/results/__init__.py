"""What a run gives, in either world: one type, the same columns.

May import :mod:`virtsim.scenario` and below. Start reading at :mod:`virtsim.results.run`; the columns
and their units are in :mod:`virtsim.results.schema`.
"""
