"""Who runs when: the passive state machine that shares CPUs out among tasks.

Nothing here is a process and nothing knows SimPy: run-queues, entities, bandwidth pools and timers in
plain integers, driven by :meth:`~virtsim.scheduling.heart.Heart.advance`. The Linux fair class follows
the kernel's own arithmetic, integer for integer.

May import :mod:`virtsim.results` and below. Start reading at :mod:`virtsim.scheduling.heart` (the event
loop and the CPUs); then :mod:`virtsim.scheduling.fair` (queues) with :mod:`virtsim.scheduling.eevdf` and
:mod:`virtsim.scheduling.cfs`, :mod:`virtsim.scheduling.bandwidth` (quota),
:mod:`virtsim.scheduling.placement` and :mod:`virtsim.scheduling.balance` (several CPUs),
:mod:`virtsim.scheduling.program` (what tasks do).

The modules with a ``.pxd`` file beside them are compiled at install where that is possible, from the same
source: the ``.pxd`` files declare the types. :mod:`virtsim.core.variant` says which form runs.
"""

import virtsim.core.variant  # noqa: F401 (before any module here is looked for)
