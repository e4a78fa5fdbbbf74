cimport cython

from virtsim.scheduling.cpu cimport Cpu
from virtsim.scheduling.fair cimport Entity, FairQueue
from virtsim.scheduling.group cimport Group

cdef long long NEVER, LONG_SLEEP_NS


cdef class CfsQueue(FairQueue):
    cdef public long long min_vruntime
    cdef public Entity next
    cdef public Entity last
    cdef public long long began_ns
    cdef long long switch_ns
    cdef long long latency_ns
    cdef long long granularity_ns
    cdef long long wakeup_granularity_ns
    cdef long long crowd
    cdef long long credit_ns
    cdef long long idle_credit_ns
    cdef bint debit, last_buddy, alternate_period, at_least_granularity, recent

    cdef int insert(self, Entity entity) except -1
    cdef int _remove(self, Entity entity) except -1
    @cython.locals(first=Entity, least=cython.longlong)
    cpdef int follow_minimum(self) except -1
    @cython.locals(part=Entity, slice_ns=cython.longlong, count=cython.longlong, load=cython.longlong)
    cpdef long long slice_of(self, Entity entity) except -1
    cdef long long turn_ns(self, Entity entity) except -1
    @cython.locals(first=Entity, slice_ns=cython.longlong, ran_ns=cython.longlong)
    cdef bint turn_is_over(self, Entity entity) except -1
    cdef int join(self, Entity entity, bint initial=*) except -1
    @cython.locals(frame=CfsQueue, credit_ns=cython.longlong)
    cdef int _wake(self, Entity entity) except -1
    @cython.locals(vruntime=cython.longlong)
    cdef int _place(self, Entity entity, long long offset_ns) except -1
    cdef bint leave(self, Entity entity, bint asleep, bint may_stay=*) except -1
    cpdef object reweight(self, Entity entity, long long load)
    cdef int take(self, Entity entity) except -1
    @cython.locals(first=Entity, current=Entity)
    cpdef Entity pick(self, bint protect=*)
    @cython.locals(ahead=cython.longlong)
    cdef int _ahead(self, Entity entity, Entity other) except -2
    cdef bint preempts(self, Entity woken, Entity running) except -1
    cdef int favour(self, Entity woken) except -1
    cpdef void put_first(self, Entity entity)
    @cython.locals(part=Entity, queue=CfsQueue)
    cdef int _mark_next(self, Entity entity) except -1
    @cython.locals(part=Entity, queue=CfsQueue)
    cdef int _mark_last(self, Entity entity) except -1
    @cython.locals(part=Entity, queue=CfsQueue)
    cdef int _forget(self, Entity entity) except -1

@cython.locals(other=Entity, low=cython.longlong, high=cython.longlong, middle=cython.longlong)
cdef Py_ssize_t _place(list entities, Entity entity) except -1
