cimport cython

from virtsim.scheduling.wide cimport int128

cdef long long _STEPS, _STEP_SHIFT
cdef tuple _DECAY

@cython.locals(halvings=cython.longlong, factor=cython.longlong, product=int128)
cpdef long long decay(long long value, long long steps)


cdef class LoadAverage:
    cdef public long long value
    cdef readonly long long updated_step

    cpdef long long update(self, long long weight, long long now_ns)
