cimport cython

cdef unsigned long long _MASK, _GAMMA, _FIRST_FACTOR, _SECOND_FACTOR


cdef class SplitMix64:
    cdef public unsigned long long state

    @cython.locals(z=cython.ulonglong)
    cpdef unsigned long long next(self)
    cpdef double uniform(self)
