"""Model against kernel: scenarios run in both worlds, compared, and judged.

May import :mod:`virtsim.calibration`, :mod:`virtsim.experiment` and below. Start reading at
:mod:`virtsim.validation.validate`; what a verdict means is in :mod:`virtsim.validation.verdict`, how the
model says how sure it is in :mod:`virtsim.validation.predict`. Published tables are compared in
:mod:`virtsim.validation.literature`.
"""

from virtsim.validation.compare import Comparison, compare
from virtsim.validation.validate import ValidationReport, compare_with_model, validate

__all__ = ["Comparison", "ValidationReport", "compare", "compare_with_model", "validate"]
