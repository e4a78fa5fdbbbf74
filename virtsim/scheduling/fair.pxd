cimport cython

from virtsim.scheduling.wide cimport int128

cdef class Entity
cdef class FairQueue

from virtsim.scheduling.cpu cimport Cpu
from virtsim.scheduling.group cimport Group
from virtsim.scheduling.load cimport LoadAverage



cdef class Entity:
    cdef public long long load
    cdef public int128 weight
    cdef public int128 factor
    cdef public long long shift
    cdef public long long slice_ns
    cdef public long long vruntime
    cdef public long long deadline
    cdef public long long vprot
    cdef public long long vlag
    cdef public bint custom_slice
    cdef public bint on_queue
    cdef public bint delayed
    cdef public bint early
    cdef public long long arrival
    cdef public bint relative_deadline
    cdef public bint idle_policy
    cdef public FairQueue frame
    cdef public long long left_ns
    cdef public FairQueue queue
    cdef public Entity parent
    cdef public FairQueue owned

    cpdef int set_load(self, long long load) except -1
    cpdef long long virtual(self, long long delta_ns) noexcept


cdef class FairQueue:
    cdef public Cpu cpu
    cdef public Group group
    cdef public Entity entity
    cdef public Entity current
    cdef public long long account_ns
    cdef public list entities
    cdef public long long arrivals
    cdef public LoadAverage load_average
    cdef public long long queued
    cdef public long long runnable
    cdef public long long total_load
    cdef public long long remaining_ns
    cdef public long long throttled_at_ns
    cdef public bint throttled
    cdef public bint detached

    cpdef list waiting(self)
    cdef int insert(self, Entity entity) except -1
    cdef int join(self, Entity entity, bint initial=*) except -1
    cdef bint leave(self, Entity entity, bint asleep, bint may_stay=*) except -1
    cdef int take(self, Entity entity) except -1
    cpdef Entity pick(self, bint protect=*)
    cdef bint preempts(self, Entity woken, Entity running) except -1
    cpdef bint renew_deadline(self, Entity entity)
    cdef bint turn_is_over(self, Entity entity) except -1
    cdef long long turn_ns(self, Entity entity) except -1
    cpdef object reweight(self, Entity entity, long long load)
    cpdef long long shortest_slice_ns(self) noexcept
    cpdef bint eligible(self, Entity entity) noexcept
    cpdef int settle_delayed(self, Entity entity) except -1
    cpdef int rejoin_delayed(self, Entity entity) except -1
    cdef int favour(self, Entity woken) except -1
    cpdef void put_first(self, Entity entity)
