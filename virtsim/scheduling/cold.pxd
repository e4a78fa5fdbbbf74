cimport cython

cdef long long _LAST


cdef class Cold:
    cdef list _busy
    cdef list _idle
    cdef long long _power

    @cython.locals(table=list, power=cython.longlong, low=cython.longlong, high=cython.longlong)
    cpdef long long cost_ns(self, long long away_ns, bint idle)
