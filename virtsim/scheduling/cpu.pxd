cimport cython

cdef class Cpu

from virtsim.scheduling.domains cimport Cache
from virtsim.scheduling.fair cimport FairQueue

cdef long long FULL_SPEED, LONGEST_WORK_NS


cdef class Cpu:
    cdef readonly long long number
    # A Python integer: there may be more CPUs than a word has bits.
    cdef readonly object bit
    # A Task, which cannot be named here: its base class needs this file first.
    cdef public object current
    cdef public FairQueue root
    cdef public list parked
    cdef public bint parking
    cdef public long long set_aside_ns
    cdef public long long quantum
    cdef public long long account_ns
    cdef public long long burst_at_ns
    cdef public long long idle_ns
    cdef public long long idle_since_ns
    cdef public long long stolen_ns
    cdef public long long balance_due_ns
    cdef public bint crowded
    cdef public long long pace
    cdef public long long speed
    cdef public long long rest
    cdef public long long last_idle_ns
    cdef public long long average_idle_ns
    cdef public long long core
    cdef public long long node
    cdef public Cache cache
    cdef public list siblings
    cdef public list domains
    cdef public long long switches
    cdef public long long version
    cdef public bint resched
    cdef public bint resched_pending
    cdef public bint tick_armed
    cdef public long long hrtick_ns
    cdef public long long turn_ns

    cpdef bint is_idle(self) noexcept
    cdef long long needed_ns(self, long long work_ns) noexcept
    cdef long long progress_ns(self, long long passed_ns) noexcept
    @cython.locals(sibling=Cpu, running=cython.longlong)
    cdef long long busy_threads(self) noexcept
    cpdef long long load(self) noexcept
