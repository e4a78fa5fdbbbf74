"""The real back end: a scenario on this kernel, in namespaces and cgroups, by a runner written in C.

May import :mod:`virtsim.results` and below, and nothing of the models. Start reading at
:mod:`virtsim.backends.observe`; the runner's side begins in ``runner/image.h`` and
``runner/supervisor.c``.
"""

from __future__ import annotations

from virtsim.backends.doctor import Capability, capability, doctor
from virtsim.backends.journal import clean
from virtsim.backends.noise import NoiseLimits
from virtsim.backends.observe import observe

__all__ = ["Capability", "NoiseLimits", "capability", "clean", "doctor", "observe"]
