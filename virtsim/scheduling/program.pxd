from virtsim.core.streams cimport SplitMix64
from virtsim.scheduling.words cimport Words


cdef class Program:
    cdef public Words text
    cdef public list samplers
    cdef public list children
    cdef public long long slots
    cdef public long long kinds


cdef class Sampler:
    cdef public object draw
    cdef public SplitMix64 rng
    cdef public long long factor

    cpdef long long sample_ns(self)
