cimport cython

from virtsim.scheduling.wide cimport int128
from virtsim.scheduling.words cimport Words

cdef long long _SUB_BITS, _LAST, _TOP


cdef class Tally:
    cdef list _pieces
    cdef long long _shift
    cdef long long _number
    cdef Words _piece
    cdef readonly long long count
    cdef readonly int128 sum_ns
    cdef readonly long long min_ns
    cdef readonly long long max_ns

    @cython.locals(bucket=cython.longlong, shift=cython.longlong)
    cpdef int add(self, long long value_ns) except -1
    @cython.locals(piece=Words)
    cdef int _turn_to(self, long long number) except -1
