"""Hosts, layers and stacks: what an operation costs on a platform.

A platform is a stack of layers. A layer handles what the layer above cannot do by itself: it spends
*primitives* (with a price on a host) and issues operations to the layer below, which handles those in
turn. :func:`~virtsim.platform.expand.expand` follows that down to the hardware; the simulator charges
from its result and the calibration fits it.

May import :mod:`virtsim.results`, :mod:`virtsim.scenario`, :mod:`virtsim.workload`,
:mod:`virtsim.engine` and :mod:`virtsim.core`. Start reading at :mod:`virtsim.platform.expand`, then
:mod:`virtsim.platform.events` (what may be asked), :mod:`virtsim.platform.primitives` (what has a
price), and the techniques in :mod:`virtsim.platform.layers`.
"""
