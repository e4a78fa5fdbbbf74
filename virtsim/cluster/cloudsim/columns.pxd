cimport cython

cdef Py_ssize_t _FIRST_LOOK


cdef class Columns:
    cdef readonly object state
    cdef readonly object detector
    cdef readonly list host
    cdef readonly list table
    cdef bint _stale
    cdef bint _careful
    cdef object _hosts
    cdef object _tentative
    cdef object _lazy
    cdef list _total
    cdef list _core
    cdef list _offset
    cdef list _watts
    cdef list _slope
    cdef list _knot
    cdef Py_ssize_t _last_knot
    cdef list _free
    cdef list _load
    cdef list _size
    cdef list _memory
    cdef list _baseline
    cdef list _limit
    cdef set _brink

    @cython.locals(request=cython.double, memory=cython.double, least=cython.double, growth=cython.double, best=cython.Py_ssize_t, column=cython.Py_ssize_t)
    cpdef Py_ssize_t target(self, Py_ssize_t vm) except -2
    cpdef list place_all(self, list vms)
    @cython.locals(free=cython.double, core=cython.double)
    cdef bint _has_room(self, Py_ssize_t column, double request, double memory) except -1
    @cython.locals(load=cython.double)
    cdef bint _fires(self, Py_ssize_t column, Py_ssize_t vm) except -1
    @cython.locals(load=cython.double, total=cython.double, baseline=cython.double)
    cdef double _growth(self, Py_ssize_t column, double request) except? -1
    @cython.locals(at=cython.Py_ssize_t, offset=cython.Py_ssize_t, watts=cython.double, slope=cython.double, knot=cython.double)
    cdef double _power(self, Py_ssize_t column, double share) except? -1
    cdef double _power_now(self, Py_ssize_t column) except? -1
    @cython.locals(column=cython.Py_ssize_t)
    cdef Py_ssize_t _first_allowed(self, object detector, Py_ssize_t vm, double request, double memory) except -2
    cdef _follow_hash_maps(self, double request, double memory)
    cdef _grow(self, Py_ssize_t column)
    @cython.locals(row=list)
    cpdef add(self, Py_ssize_t column, Py_ssize_t vm)
    @cython.locals(row=list)
    cpdef restore(self, before)
