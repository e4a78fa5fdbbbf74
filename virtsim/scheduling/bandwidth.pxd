cimport cython

cdef class Bandwidth

from virtsim.scheduling.fair cimport FairQueue


cdef class Bandwidth:
    cdef public long long quota_ns
    cdef public long long period_ns
    cdef public long long burst_ns
    cdef public long long slice_ns
    cdef public long long phase_ns
    cdef public long long runtime_ns
    cdef public long long snapshot_ns
    cdef public bint active
    cdef public bint idle
    cdef public bint slack_pending
    cdef public list throttled
    cdef public long long periods
    cdef public long long throttled_periods
    cdef public long long bursts
    cdef public long long throttled_time_ns
    cdef public long long burst_time_ns

    cpdef void refill(self)
    cpdef long long first_expiry_ns(self, long long now_ns)
    cpdef bint assign(self, FairQueue queue, long long target_ns)
    cpdef bint give_back(self, FairQueue queue)
    cpdef bint new_period(self, long long overrun)
    @cython.locals(queue=FairQueue)
    cpdef list distribute(self)
