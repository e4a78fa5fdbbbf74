cimport cython

from virtsim.scheduling.cpu cimport Cpu
from virtsim.scheduling.domains cimport Cache, CpuGroup, Domain
from virtsim.scheduling.task cimport Task

cdef long long FULL, SPARE, NICE_0_WEIGHT, PAIR


cdef class Placement:
    cdef readonly list cpus
    cdef readonly bint searches

    cpdef long long choose(self, Task task, long long waker_cpu, bint sync, object idle_bits)
    @cython.locals(here=Cpu, domain=Domain, group=CpuGroup, place=cython.longlong)
    cpdef long long choose_for_fork(self, Task task)
    @cython.locals(
        current=Task, waker=Cpu, before=Cpu, domain=Domain, common=Domain,
        here_load=cython.longlong, there_load=cython.longlong, waker_load=cython.longlong,
    )
    cdef long long _affine(self, Task task, long long previous, long long here, bint sync)
    @cython.locals(cpu=Cpu, before=Cpu, target_cpu=Cpu, other=Cpu, recent=cython.longlong)
    cdef long long _idle_sibling(self, long long target, long long previous, Task task, object idle_bits)
    @cython.locals(cpu=Cpu, sibling=Cpu, cache=Cache, fallback=cython.longlong, number=cython.longlong)
    cdef long long _idle_core(self, Cpu target, Cpu before, Task task)
    @cython.locals(
        local=CpuGroup, idlest=CpuGroup, group=CpuGroup, margin=cython.longlong, difference=cython.longlong,
        may_stay=cython.longlong,
    )
    cdef CpuGroup _idlest_group(self, Task task, Domain domain)
    @cython.locals(cpu=Cpu, best=Cpu, least=Cpu)
    cdef Cpu _idlest_cpu(self, Task task, CpuGroup group)

cdef bint _is_idler(CpuGroup group, CpuGroup idlest)
