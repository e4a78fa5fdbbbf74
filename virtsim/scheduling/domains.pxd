cimport cython

cdef class Cache
cdef class CpuGroup
cdef class Domain

from virtsim.scheduling.cpu cimport Cpu

cdef long long FAR, SPARE, FULL, IMBALANCED, OVERLOADED, LOCAL, NEVER_NS, NEWIDLE_CALLS


cdef class Cache:
    cdef readonly object bits
    cdef readonly bint smt
    cdef public bint idle_core


cdef class CpuGroup:
    cdef readonly list cpus
    cdef readonly long long weight
    cdef readonly object bits
    cdef readonly long long cores
    cdef readonly bint smt
    cdef public bint imbalanced
    cdef readonly long long load
    cdef readonly long long running
    cdef readonly long long idle
    cdef public long long kind

    @cython.locals(cpu=Cpu, load=cython.longlong, running=cython.longlong, idle=cython.longlong, runnable=cython.longlong)
    cdef int survey(self, object leave_out) except -1
    cdef long long average(self)


cdef class Domain:
    cdef readonly str level
    cdef readonly object bits
    cdef readonly long long weight
    cdef readonly list groups
    cdef public Domain above
    cdef readonly bint near
    cdef readonly bint shares_core
    cdef readonly bint shares_cache
    cdef readonly bint numa
    cdef readonly bint spreads
    cdef readonly long long imbalance_percent
    cdef readonly long long cache_nice_tries
    cdef readonly long long min_interval_ns
    cdef public long long imbalance_allowed
    cdef public long long interval_ns
    cdef public long long balanced_ns
    cdef public long long failed
    cdef readonly long long newidle_calls
    cdef readonly long long newidle_successes
    cdef readonly long long newidle_ratio

    cpdef void count_newidle(self, long long successes)
