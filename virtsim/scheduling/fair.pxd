cimport cython

from virtsim.scheduling.wide cimport int128

cdef class Entity
cdef class FairQueue

from virtsim.scheduling.cpu cimport Cpu
from virtsim.scheduling.group cimport Group
from virtsim.scheduling.load cimport LoadAverage


cdef long long LONG_QUEUE


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
    cdef public FairQueue queue
    cdef public Entity parent
    cdef public FairQueue owned

    cpdef void set_load(self, long long load)
    cpdef long long virtual(self, long long delta_ns) noexcept


cdef class FairQueue:
    cdef public Cpu cpu
    cdef public Group group
    cdef public Entity entity
    cdef public Entity current
    cdef public list entities
    cdef public list early
    cdef public long long arrivals
    cdef public dict longer_slices
    cdef public LoadAverage load_average
    cdef public int128 sum_product
    cdef public int128 sum_weight
    cdef public long long base_slice_ns
    cdef public long long tick_ns
    cdef public long long queued
    cdef public long long runnable
    cdef public long long total_load
    cdef public long long remaining_ns
    cdef public long long throttled_at_ns
    cdef public long long shortest_ns
    cdef public long long shortest_count
    cdef public bint throttled
    cdef public bint detached

    @cython.locals(product=int128, weight=int128)
    cpdef long long mean(self) noexcept
    @cython.locals(product=int128, weight=int128)
    cpdef bint eligible(self, Entity entity) noexcept
    cdef int insert(self, Entity entity) except -1
    cpdef void remove(self, Entity entity)
    @cython.locals(entity=Entity)
    cdef void _admit(self)
    cpdef list waiting(self)
    cpdef long long shortest_slice_ns(self) noexcept
    cdef void _count_slice(self, long long slice_ns)
    cdef void _forget_slice(self, long long slice_ns)
    @cython.locals(limit=cython.longlong, lag=cython.longlong)
    cdef int keep_lag(self, Entity entity) except -1
    @cython.locals(product=int128, weight=int128)
    cpdef void place(self, Entity entity, bint initial=*)
    cpdef bint renew_deadline(self, Entity entity)
    cdef int join(self, Entity entity, bint initial=*) except -1
    cdef int leave(self, Entity entity, bint asleep) except -1
    cpdef void settle_delayed(self, Entity entity)
    cpdef void rejoin_delayed(self, Entity entity)
    cpdef void reweight(self, Entity entity, long long load)
    @cython.locals(vprot=cython.longlong)
    cdef int take(self, Entity entity) except -1
    @cython.locals(product=int128, weight=int128, entity=Entity, current=Entity)
    cpdef Entity pick(self, bint protect=*)

@cython.locals(product=int128)
cdef long long _proportion(int128 value, int128 part, int128 whole)
@cython.locals(other=Entity, low=cython.longlong, high=cython.longlong, middle=cython.longlong)
cdef Py_ssize_t _place_by_deadline(list entities, Entity entity) except -1
@cython.locals(other=Entity, low=cython.longlong, high=cython.longlong, middle=cython.longlong)
cdef Py_ssize_t _place_by_vruntime(list entities, Entity entity) except -1
