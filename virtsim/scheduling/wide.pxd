# Products of a weight and a virtual time need more than 64 bits: GCC's and Clang's 128-bit integer.
cdef extern from *:
    ctypedef signed long long int128 "__int128_t"
