cimport cython

from virtsim.scheduling.events cimport earliest
from virtsim.scheduling.storey cimport Storey

cdef long long FAR_NS


cdef class Tower:
    cdef readonly list storeys
    cdef list _queues
    cdef readonly long long now_ns

    @cython.locals(first=Storey)
    cpdef void advance(self, long long to_ns)
    @cython.locals(storey=Storey, live=cython.longlong)
    cdef long long _live_tasks(self) except? -1
    @cython.locals(place=cython.Py_ssize_t)
    cdef Storey _first(self, long long to_ns)
    @cython.locals(storey=Storey)
    cdef int _settle(self) except -1
