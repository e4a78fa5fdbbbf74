"""Prices from measurements: micro-workloads run on this kernel, fitted on the expansion's design matrix.

May import :mod:`virtsim.backends`, :mod:`virtsim.machine` and below. Start reading at
:mod:`virtsim.calibration.calibrate`; what is measured is in :mod:`virtsim.calibration.plan`, how prices
are found in :mod:`virtsim.calibration.fit`, the delays in :mod:`virtsim.calibration.timing`.
"""

from virtsim.calibration.calibrate import Calibration, calibrate

__all__ = ["Calibration", "calibrate"]
