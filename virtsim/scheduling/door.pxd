cdef class Door

from virtsim.scheduling.interrupts cimport Interrupts


cdef class Door:
    cdef readonly Interrupts storey
    cdef readonly long long semaphore
    cdef readonly long long cpu
    cdef readonly long long cost_ns
