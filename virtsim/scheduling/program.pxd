from virtsim.core.streams cimport SplitMix64


cdef class Program:
    cdef public list codes
    cdef public list a
    cdef public list b
    cdef public list samplers
    cdef public list children
    cdef public long long slots


cdef class Sampler:
    cdef public object draw
    cdef public SplitMix64 rng
    cdef public long long factor

    cpdef long long sample_ns(self)
