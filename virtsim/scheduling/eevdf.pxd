cimport cython

from virtsim.scheduling.cpu cimport Cpu
from virtsim.scheduling.fair cimport Entity, FairQueue
from virtsim.scheduling.group cimport Group
from virtsim.scheduling.wide cimport int128
from virtsim.scheduling.words cimport Words

cdef long long LONG_QUEUE


cdef class EevdfQueue(FairQueue):
    cdef readonly Words deadlines
    cdef public list early
    cdef public dict longer_slices
    cdef public int128 sum_product
    cdef public int128 sum_weight
    cdef public long long base_slice_ns
    cdef public long long tick_ns
    cdef public long long shortest_ns
    cdef public long long shortest_count
    cdef long long least_slice_ns
    cdef bint keep_lags, keep_deadlines, halve_first, delay_zero, short_preempts, whole_requests, protecting

    @cython.locals(product=int128, weight=int128)
    cpdef long long mean(self) noexcept
    @cython.locals(product=int128, weight=int128)
    cpdef bint eligible(self, Entity entity) noexcept
    cdef int insert(self, Entity entity) except -1
    @cython.locals(place=cython.Py_ssize_t)
    cpdef int remove(self, Entity entity) except -1
    @cython.locals(first=Entity, first_ns=cython.longlong)
    cpdef void put_first(self, Entity entity)
    @cython.locals(entity=Entity, place=cython.Py_ssize_t)
    cdef object _admit(self)
    cpdef list waiting(self)
    cpdef long long shortest_slice_ns(self) noexcept
    cdef object _count_slice(self, long long slice_ns)
    cdef object _forget_slice(self, long long slice_ns)
    @cython.locals(limit=cython.longlong, lag=cython.longlong)
    cdef int keep_lag(self, Entity entity) except -1
    @cython.locals(product=int128, weight=int128)
    cpdef object place(self, Entity entity, bint initial=*)
    cpdef bint renew_deadline(self, Entity entity)
    cdef int join(self, Entity entity, bint initial=*) except -1
    cdef bint leave(self, Entity entity, bint asleep, bint may_stay=*) except -1
    cpdef int settle_delayed(self, Entity entity) except -1
    cpdef int rejoin_delayed(self, Entity entity) except -1
    cpdef object reweight(self, Entity entity, long long load)
    cdef int take(self, Entity entity) except -1
    @cython.locals(vprot=cython.longlong)
    cdef int _protect(self, Entity entity, long long slice_ns) except -1
    @cython.locals(product=int128, weight=int128, entity=Entity, current=Entity)
    cpdef Entity pick(self, bint protect=*)
    cdef bint preempts(self, Entity woken, Entity running) except -1
    cdef long long turn_ns(self, Entity entity) except -1

@cython.locals(product=int128)
cdef long long _proportion(int128 value, int128 part, int128 whole)
@cython.locals(other=Entity, low=cython.longlong, high=cython.longlong, middle=cython.longlong)
cdef Py_ssize_t _place_by_deadline(Words deadlines, list entities, Entity entity) except -1
@cython.locals(other=Entity, low=cython.longlong, high=cython.longlong, middle=cython.longlong)
cdef Py_ssize_t _place_by_vruntime(list entities, Entity entity) except -1
