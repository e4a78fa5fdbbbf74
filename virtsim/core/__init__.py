"""The ground floor: units, errors, parameters with provenance, random streams, registries, strict specs.

May import nothing of virtsim. Start reading at :mod:`virtsim.core.units`.
"""
