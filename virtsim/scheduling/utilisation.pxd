cimport cython

from virtsim.scheduling.wide cimport int128

cdef long long CAPACITY, PERIOD, HALF_LIFE, MARGIN, MOST
cdef tuple _SHRINK

@cython.locals(halvings=cython.longlong, factor=cython.longlong, product=int128)
cpdef long long decayed(long long value, long long periods)


cdef class Utilisation:
    cdef readonly long long busy
    cdef readonly long long runnable
    cdef readonly long long load
    cdef public long long estimate
    cdef public long long cpu
    cdef public bint changed
    cdef readonly long long updated_ns
    cdef long long busy_sum, runnable_sum, load_sum, part

    @cython.locals(passed=cython.longlong, added=cython.longlong, whole=cython.longlong, periods=cython.longlong,
                   divider=cython.longlong)
    cpdef bint update(self, long long clock_ns, bint busy, long long runnable, long long load) except -1
    cdef long long divider(self) noexcept
    @cython.locals(left=cython.longlong)
    cpdef int begin(self, Utilisation cpu, long long weight) except -1
    @cython.locals(divider=cython.longlong)
    cpdef int attach(self, Utilisation cpu, long long number) except -1
    cpdef int detach(self, Utilisation cpu) except -1
    cpdef object learn(self)
