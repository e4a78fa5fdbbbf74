cimport cython

from virtsim.scheduling.cpu cimport Cpu
from virtsim.scheduling.task cimport Task

cdef long long IMBALANCE_PERCENT


cdef class Placement:
    cdef readonly list cpus

    cpdef long long choose(self, Task task, long long waker_cpu, bint sync, object idle_bits)
    @cython.locals(cpu=Cpu, best=Cpu)
    cpdef long long choose_for_fork(self, Task task)
    @cython.locals(current=Task, waker=Cpu, before=Cpu)
    cdef long long _affine(self, Task task, long long previous, long long here, bint sync)
    @cython.locals(cpu=Cpu, before=Cpu, target_cpu=Cpu)
    cdef long long _idle_sibling(self, long long target, long long previous, Task task, object idle_bits)
