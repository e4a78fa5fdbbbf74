cimport cython

from virtsim.scheduling.cpu cimport Cpu
from virtsim.scheduling.domains cimport CpuGroup, Domain
from virtsim.scheduling.fair cimport Entity, FairQueue
from virtsim.scheduling.task cimport Task

cdef long long RUNNING, NEWLY_IDLE, BUSY, TASKS, LOAD, UTILISATION, BUSY_FACTOR, LOOK_AT
cdef long long LONGEST_PINNED_NS, PAIR, CAPACITY, FULL, IMBALANCED, OVERLOADED, SPARE, STACKED


cdef class Balancer:
    cdef readonly list cpus
    cdef readonly long long tick_ns
    cdef readonly long long migration_cost_ns
    cdef readonly long long look_ns
    cdef readonly bint by_task
    cdef readonly bint owing_stay
    cdef long long _unit
    cdef long long _imbalance
    cdef bint _all_pinned
    cdef bint _some_pinned

    @cython.locals(cpu=Cpu)
    cpdef bint worth_it(self, Cpu idle)
    cpdef bint too_long(self, Cpu cpu, Domain domain)
    @cython.locals(ticks=cython.longlong, longest=cython.longlong)
    cpdef long long due_ns(self, Domain domain, bint busy)
    @cython.locals(group=CpuGroup, source=Cpu, running=Task, moving=list, local=CpuGroup, above=Domain)
    cpdef list moves(self, Cpu cpu, Domain domain, long long why, long long now_ns)
    cdef object _balanced(self, Domain domain, long long why, bint pinned)
    @cython.locals(local=CpuGroup, first=Cpu, other=Cpu)
    cdef bint _is_ours(self, Cpu cpu, Domain domain)
    @cython.locals(
        local=CpuGroup, busiest=CpuGroup, group=CpuGroup, cpu=Cpu, load=cython.longlong, weight=cython.longlong,
    )
    cdef CpuGroup _busiest_group(self, Domain domain, long long why, object left_out)
    cdef bint _is_unfair(self, Domain domain, CpuGroup local, CpuGroup busiest, long long average, long long why)
    cdef long long _measure(self, Domain domain, CpuGroup local, CpuGroup busiest, long long average, long long why)
    @cython.locals(busiest=Cpu, other=Cpu, value=cython.longlong, most=cython.longlong, runnable=cython.longlong)
    cdef Cpu _busiest_cpu(self, Cpu cpu, CpuGroup group, object left_out)
    @cython.locals(
        task=Task, other=Cpu, value=cython.longlong, left=cython.longlong, share=cython.longlong,
        halvings=cython.longlong,
    )
    cdef Cpu _detach_for(
        self, Cpu source, Cpu target, Domain domain, long long why, long long now_ns, list candidates, list moving,
        object untried,
    )
    @cython.locals(moving=list, candidates=list, local=CpuGroup, here=Cpu)
    cdef list _detach(self, Cpu source, Cpu target, Domain domain, long long why, long long now_ns)
    @cython.locals(there=FairQueue, queue=FairQueue, above=FairQueue)
    cdef bint _must_stay(self, Task task, Cpu target, Domain domain)
    cdef bint _is_hot(self, Task task, Domain domain, long long now_ns)
    @cython.locals(entity=Entity)
    cdef object _collect(self, FairQueue queue, list tasks)
    cdef int _collect_from(self, Entity entity, list tasks) except -1

@cython.locals(other=Task)
cdef bint _is_among(Task task, list moving)
@cython.locals(sibling=Cpu)
cdef bint _core_is_idle(Cpu cpu)
cdef bint _is_busier(CpuGroup group, CpuGroup busiest)
@cython.locals(difference=cython.longlong, cores=cython.longlong)
cdef long long _difference(CpuGroup local, CpuGroup busiest, long long why)
