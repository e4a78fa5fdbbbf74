cimport cython

from virtsim.scheduling.cpu cimport Cpu
from virtsim.scheduling.fair cimport Entity, FairQueue
from virtsim.scheduling.task cimport Task

cdef long long RUNNABLE, IMBALANCE_PERCENT, BUSY_FACTOR, PATIENCE, ANY_LOAD


cdef class Balancer:
    cdef readonly list cpus
    cdef readonly long long tick_ns
    cdef readonly long long migration_cost_ns
    cdef readonly long long min_interval_ns

    @cython.locals(other=Cpu)
    cpdef Task for_idle(self, Cpu cpu, long long now_ns)
    cpdef Task at_tick(self, Cpu cpu, long long now_ns)
    @cython.locals(running=Task, busiest=Cpu)
    cdef Task _balance(self, Cpu cpu, long long now_ns)
    @cython.locals(other=Cpu)
    cdef Cpu _busiest(self, Cpu cpu)
    @cython.locals(other=Cpu)
    cdef long long _imbalance(self, Cpu cpu, Cpu busiest)
    @cython.locals(task=Task, best=Task)
    cdef Task _longest_waiting(
        self, Cpu source, Cpu target, long long most, long long halvings, bint hot, long long now_ns
    )
    @cython.locals(entity=Entity)
    cdef void _collect(self, FairQueue queue, list tasks)
    cdef int _collect_from(self, Entity entity, list tasks) except -1
