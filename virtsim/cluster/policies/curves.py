"""Power of hosts at their loads: curves of eleven points, with straight lines between them."""

from __future__ import annotations

import numpy as np

from virtsim.cluster.policies.tables import Floats, Integers


def watts_at(watts: Floats, load: Floats) -> Floats:
    """Power of hosts with these curves at these loads (0 to 1), W."""
    return watts_on(watts.ravel(), np.arange(0, watts.size, watts.shape[1]), load)


def watts_on(points: Floats, row: Integers, load: Floats) -> Floats:
    """The same on curves that begin at ``row`` of the flat array ``points``."""
    tenths = np.maximum(load, 0.0)
    np.minimum(tenths, 1.0, out=tenths)
    tenths *= 10
    low = np.minimum(tenths.astype(np.int64), 9)
    at = low + row
    power: Floats = points.take(at)
    power += (points.take(at + 1) - power) * (tenths - low)
    return power


def watts_of(curve: list[float], load: float) -> float:
    """The same of one host, to the bit."""
    tenths = min(max(load, 0.0), 1.0) * 10
    low = min(int(tenths), 9)
    return curve[low] + (curve[low + 1] - curve[low]) * (tenths - low)
