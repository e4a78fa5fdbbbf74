cimport cython

from virtsim.scheduling.cpu cimport Cpu
from virtsim.scheduling.fair cimport Entity, FairQueue
from virtsim.scheduling.hierarchy cimport Hierarchy
from virtsim.scheduling.task cimport Task

cdef long long STOPPED, RUNNABLE, RUNNING


cdef class Throttling(Hierarchy):
    cdef bint _by_task
    cdef public object on_throttle

    @cython.locals(queue=FairQueue, entity=Entity)
    cdef Task _pick(self, Cpu cpu)
    cdef bint _throttled(self, FairQueue queue)
    @cython.locals(entity=Entity, queue=FairQueue)
    cdef int _throttle_put(self, Task task, FairQueue common) except -1
    cdef int _unthrottle(self, FairQueue queue) except -1
    cdef bint _parks_at_once(self, Task task)
    cdef int _set_aside(self, Cpu cpu, Task task) except -1
    @cython.locals(task=Task)
    cdef int _end_parking(self, Cpu cpu) except -1
    cdef int _park_if_throttled(self, Task task) except -1
    @cython.locals(queue=FairQueue)
    cdef int _park(self, Task task) except -1
    @cython.locals(task=Task, staying=list, going=list)
    cdef int _unpark(self, Cpu cpu) except -1
    @cython.locals(entity=Entity, above=FairQueue)
    cdef int _detach_group(self, FairQueue queue) except -1
    @cython.locals(entity=Entity, above=FairQueue)
    cdef object _attach_group(self, FairQueue queue)
    @cython.locals(entity=Entity)
    cdef object _count_throttled(self, FairQueue queue, bint begins)
    @cython.locals(task=Task)
    cdef object _count_entity(self, Entity entity, bint begins)


@cython.locals(entity=Entity, above=FairQueue)
cdef bint _is_cut_off(FairQueue queue)


cpdef tuple _walk(Task task)


@cython.locals(queue=FairQueue)
cdef bint _stays_parked(Task task)
