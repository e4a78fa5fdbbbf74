cimport cython

from virtsim.scheduling.cpu cimport Cpu
from virtsim.scheduling.group cimport Group
from virtsim.scheduling.policy cimport Policy
from virtsim.scheduling.task cimport Task
from virtsim.scheduling.throttling cimport Throttling

cdef long long RUNNING


cdef class Classes(Throttling):
    cdef public list policies
    cdef list _node_costs

    @cython.locals(policy=Policy, chosen=cython.longlong)
    cdef long long _place_by_policy(self, Task task, long long waker_cpu) except? -2
    cdef int _check_place(self, Task task, long long cpu) except -1
    @cython.locals(cpu=Cpu, policy=Policy)
    cdef object _admit(self, Task task, bint woken)
    @cython.locals(cpu=Cpu, policy=Policy)
    cdef int _withdraw(self, Task task) except -1
    @cython.locals(policy=Policy)
    cdef int _give_back(self, Task task) except -1
    @cython.locals(policy=Policy, task=Task, source=Cpu)
    cdef Task _pick_by_policy(self, Cpu cpu)
    @cython.locals(mine=Policy, its=Policy)
    cdef bint _outranks(self, Task task, Task running)
    @cython.locals(group=Group, policy=Policy)
    cdef int _charge_by_policy(self, Task task, long long delta_ns) except -1
    @cython.locals(before=Cpu, after=Cpu)
    cdef int _move(self, Task task, long long cpu) except -1
