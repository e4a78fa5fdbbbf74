"""The kinds of layers: one technique a module, with its formula, parameters, sources and limits of validity.

Start reading at :mod:`virtsim.platform.layers.base`, then :mod:`virtsim.platform.layers.linux`.
"""

from virtsim.platform.layers import container, hardware, linux
from virtsim.platform.layers.base import LAYER_KINDS, LayerKind, Settings, Step

__all__ = ["LAYER_KINDS", "LayerKind", "Settings", "Step", "container", "hardware", "linux"]
