cimport cython

from virtsim.scheduling.wide cimport int128

cdef long long _SUB_BITS, _LAST


cdef class Tally:
    cdef list _pieces
    cdef readonly long long count
    cdef readonly int128 sum_ns
    cdef readonly long long min_ns
    cdef readonly long long max_ns

    @cython.locals(bucket=cython.longlong, shift=cython.longlong, piece=list)
    cpdef void add(self, long long value_ns)
