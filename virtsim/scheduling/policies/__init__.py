"""Scheduling policies beside the fair class, one a file: Linux's real-time ones, Xen's, and textbook ones.

Each is a :class:`~virtsim.scheduling.policy.Policy` and is found by name in
:data:`~virtsim.scheduling.policy.POLICIES`. What a task's policy has to know about it (a priority, a weight, a
deadline) is in ``task.policy_data``, of the type that stands beside the policy.
"""

from virtsim.scheduling.policies import bvt as bvt
from virtsim.scheduling.policies import credit as credit
from virtsim.scheduling.policies import credit2 as credit2
from virtsim.scheduling.policies import deadline as deadline
from virtsim.scheduling.policies import fifo as fifo
from virtsim.scheduling.policies import gang as gang
from virtsim.scheduling.policies import lottery as lottery
from virtsim.scheduling.policies import periodic as periodic
from virtsim.scheduling.policies import realtime as realtime
from virtsim.scheduling.policies import round_robin as round_robin
from virtsim.scheduling.policies import stride as stride
