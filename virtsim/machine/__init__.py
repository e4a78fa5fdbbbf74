"""One machine: the tasks of a scenario's guests on its CPUs, through their stacks.

May import :mod:`virtsim.scheduling`, :mod:`virtsim.platform` and below. Start reading at
:mod:`virtsim.machine.simulate`; :mod:`virtsim.machine.compiler` turns programs of operations into the
heart's instructions, with what each costs on its stack.
"""

from virtsim.machine.simulate import simulate

__all__ = ["simulate"]
