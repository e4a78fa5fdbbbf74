cimport cython

from virtsim.scheduling.tally cimport Tally
from virtsim.scheduling.task cimport Task


cdef class RequestQueue:
    cdef public str name
    cdef public object arrivals
    cdef public long long left
    cdef public long long sleep_ns
    cdef public list served
    cdef public dict tallies

    cpdef long long take(self)
    @cython.locals(tally=Tally)
    cpdef void record(self, Task task, long long arrival_ns, long long start_ns, long long end_ns)
