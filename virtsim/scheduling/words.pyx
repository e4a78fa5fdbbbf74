"""Whole numbers in a row, of 64 bits each; see ``words.py``."""

from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Realloc


cdef class Words:
    """Numbers by place."""

    def __cinit__(self, Py_ssize_t count=0):
        self.at = <long long*>PyMem_Calloc(max(count, 1), sizeof(long long))
        if self.at == NULL:
            raise MemoryError
        self._length = self._room = count

    def __dealloc__(self):
        PyMem_Free(self.at)

    def __len__(self):
        return self._length

    def __iter__(self):
        return iter([self.at[place] for place in range(self._length)])

    def __getitem__(self, Py_ssize_t place):
        return self.at[self._checked(place)]

    def __setitem__(self, Py_ssize_t place, long long value):
        self.at[self._checked(place)] = value

    cpdef int append(self, long long value) except -1:
        """Add a number at the end."""
        cdef Py_ssize_t room
        if self._length == self._room:
            room = 2 * self._room + 8
            at = <long long*>PyMem_Realloc(self.at, room * sizeof(long long))
            if at == NULL:
                raise MemoryError
            self.at = at
            self._room = room
        self.at[self._length] = value
        self._length += 1
        return 0

    cdef Py_ssize_t _checked(self, Py_ssize_t place) except -1:
        if place < 0:
            place += self._length
        if not 0 <= place < self._length:
            raise IndexError("no such place")
        return place
