cimport cython

cdef class Balancer

from virtsim.scheduling.cpu cimport Cpu
from virtsim.scheduling.fair cimport Entity, FairQueue
from virtsim.scheduling.hierarchy cimport Hierarchy
from virtsim.scheduling.load cimport LoadAverage
from virtsim.scheduling.task cimport Task

cdef long long RUNNABLE, IMBALANCE_PERCENT, BUSY_FACTOR, PATIENCE, ANY_LOAD

cdef bint is_idle(Cpu cpu)
cdef long long cpu_load(Cpu cpu)
@cython.locals(queue=FairQueue)
cdef long long task_load(Task task)


cdef class Balancer:
    cdef public Hierarchy heart
    cdef public long long min_interval_ns

    cpdef long long choose(self, Task task, long long waker_cpu, bint sync)
    @cython.locals(cpu=Cpu, best=Cpu)
    cpdef long long choose_for_fork(self, Task task)
    @cython.locals(current=Task, waker=Cpu, before=Cpu)
    cdef long long _affine(self, Task task, long long previous, long long here, bint sync)
    @cython.locals(cpu=Cpu, target_cpu=Cpu)
    cdef long long _idle_sibling(self, long long target, long long previous, Task task)
    cdef int follow(self, FairQueue queue) except -1
    cpdef bint needs_tick(self, Cpu cpu)
    @cython.locals(other=Cpu)
    cpdef bint pull_for_idle(self, Cpu cpu)
    cpdef void tick(self, Cpu cpu)
    @cython.locals(running=Task)
    cdef void _balance(self, Cpu cpu)
    @cython.locals(other=Cpu)
    cdef Cpu _busiest(self, Cpu cpu)
    @cython.locals(other=Cpu)
    cdef long long _imbalance(self, Cpu cpu, Cpu busiest)
    @cython.locals(task=Task, best=Task)
    cdef Task _longest_waiting(self, Cpu source, Cpu target, long long most, long long halvings, bint hot)
    @cython.locals(entity=Entity)
    cdef void _collect(self, FairQueue queue, list tasks)
    cdef void _collect_from(self, Entity entity, list tasks)
    cdef bint _hot(self, Task task)
    cdef void _pull(self, Task task, Cpu cpu)
    cdef void _push_running(self, Task task, Cpu source, Cpu target)
