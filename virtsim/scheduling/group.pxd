cdef class Group

from virtsim.scheduling.bandwidth cimport Bandwidth
from virtsim.scheduling.fair cimport Entity, FairQueue


cdef class Group:
    cdef public str name
    cdef public Group parent
    cdef public long long load
    cdef public frozenset cpus
    cdef public Bandwidth bandwidth
    cdef public list queues
    cdef public list entities
    cdef public long long cpu_time_ns
    cdef public long long load_average
    cdef public long long children
    cdef public tuple walk

    cpdef long long share_on(self, FairQueue queue)
