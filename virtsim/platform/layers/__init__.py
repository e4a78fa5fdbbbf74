"""The kinds of layers: one technique a module, with its formula, parameters, sources and limits of validity.

Start reading at :mod:`virtsim.platform.layers.base`, then :mod:`virtsim.platform.layers.linux`.
"""

from virtsim.platform.layers import (
    api_translation,
    binary_translation,
    container,
    devices,
    emulator,
    hardware,
    hardware_assisted,
    hosts,
    linux,
    switcher,
    unikernel,
    user_kernels,
    xen,
)
from virtsim.platform.layers.base import LAYER_KINDS, LayerKind, Settings, Step

__all__ = [
    "LAYER_KINDS",
    "LayerKind",
    "Settings",
    "Step",
    "api_translation",
    "binary_translation",
    "container",
    "devices",
    "emulator",
    "hardware",
    "hardware_assisted",
    "hosts",
    "linux",
    "switcher",
    "unikernel",
    "user_kernels",
    "xen",
]
