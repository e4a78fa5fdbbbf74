cdef class Words:
    cdef long long* at
    cdef Py_ssize_t _length
    cdef Py_ssize_t _room

    cpdef Py_ssize_t first_not_below(self, long long value) noexcept
    cpdef Py_ssize_t first_above(self, long long value) noexcept
    cpdef Py_ssize_t sort_in(self, long long value) except -1
    cpdef Py_ssize_t take_out(self, long long value) except -1
    cpdef int append(self, long long value) except -1
    cpdef int insert(self, Py_ssize_t place, long long value) except -1
    cpdef int remove(self, Py_ssize_t place) except -1
    cdef int _grow(self) except -1
    cdef Py_ssize_t _checked(self, Py_ssize_t place) except -1
