"""The ground floor: units, errors, parameters with provenance, random streams, registries, strict specs.

May import nothing of virtsim. Start reading at :mod:`virtsim.core.units`.
"""

import virtsim.core.variant  # noqa: F401 (decides how the modules below and the scheduler's are found)
