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
    cdef public bint relative_deadline
    cdef public FairQueue queue
    cdef public Entity parent
    cdef public FairQueue owned

    cpdef void set_load(self, long long load)
    cpdef long long virtual(self, long long delta_ns)


cdef class FairQueue:
    cdef public Cpu cpu
    cdef public Group group
    cdef public Entity entity
    cdef public Entity current
    cdef public list entities
    cdef public dict longer_slices
    cdef public LoadAverage load_average
    cdef public int128 sum_product
    cdef public int128 sum_weight
    cdef public long long zero
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

    @cython.locals(product=int128, weight=int128)
    cpdef long long mean(self)
    cpdef void advance_zero(self)
    @cython.locals(product=int128, weight=int128)
    cpdef bint eligible(self, Entity entity)
    @cython.locals(other=Entity, low=cython.longlong, high=cython.longlong, middle=cython.longlong)
    cpdef void insert(self, Entity entity)
    @cython.locals(other=Entity, low=cython.longlong, high=cython.longlong, middle=cython.longlong)
    cpdef void remove(self, Entity entity)
    cpdef long long shortest_slice_ns(self)
    cdef void _count_slice(self, long long slice_ns)
    cdef void _forget_slice(self, long long slice_ns)
    cpdef void keep_lag(self, Entity entity)
    cpdef void place(self, Entity entity, bint initial=*)
    cpdef bint renew_deadline(self, Entity entity)
    cpdef void join(self, Entity entity, bint initial=*)
    cpdef void leave(self, Entity entity, bint asleep)
    cpdef void settle_delayed(self, Entity entity)
    cpdef void rejoin_delayed(self, Entity entity)
    cpdef void reweight(self, Entity entity, long long load)
    cpdef void take(self, Entity entity)
    cpdef void put_back(self)
    cpdef Entity pick(self, bint protect=*)
    @cython.locals(product=int128, weight=int128, entity=Entity)
    cdef Entity _first_eligible(self)

@cython.locals(product=int128)
cdef long long _proportion(int128 value, int128 part, int128 whole)
