cdef struct Event:
    long long time_ns
    # The kind, and in the lower bits who asked first.
    long long key
    long long version
    # Where the subject is in the list of subjects; behind the heap's end the slots that are free.
    Py_ssize_t slot


cdef class EventQueue:
    cdef readonly long long time_ns
    cdef readonly long long kind
    cdef readonly object subject
    cdef readonly long long version
    cdef Event* _heap
    cdef list _subjects
    cdef Py_ssize_t _length
    cdef Py_ssize_t _room
    cdef Py_ssize_t _limit
    cdef long long _sequence

    cpdef int push(self, long long time_ns, long long kind, object subject, long long version) except -1
    cpdef bint pop(self, long long until_ns) noexcept
    cdef long long first_ns(self) noexcept
    cdef int _grow(self) except -1
    cdef void _up(self, Py_ssize_t place, const Event* event) noexcept
    cdef void _down(self, Py_ssize_t place, const Event* event) noexcept
    cdef int _throw_out(self) except -1


cpdef Py_ssize_t earliest(list queues, long long until_ns) except -2
