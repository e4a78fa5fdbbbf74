"""Whole numbers in a row, of 64 bits each; see ``words.py``."""

from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Realloc
from libc.string cimport memmove


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

    cpdef Py_ssize_t first_not_below(self, long long value) noexcept:
        """How many numbers of an ascending row are less than ``value``."""
        cdef Py_ssize_t low = 0, high = self._length, middle
        while low < high:
            middle = (low + high) >> 1
            if self.at[middle] < value:
                low = middle + 1
            else:
                high = middle
        return low

    cpdef Py_ssize_t first_above(self, long long value) noexcept:
        """How many numbers of an ascending row are not more than ``value``."""
        cdef Py_ssize_t low = 0, high = self._length, middle
        while low < high:
            middle = (low + high) >> 1
            if self.at[middle] <= value:
                low = middle + 1
            else:
                high = middle
        return low

    cpdef Py_ssize_t sort_in(self, long long value) except -1:
        """Put a number into an ascending row, behind those that are not more; gives its place."""
        cdef Py_ssize_t place = self.first_above(value)
        self.insert(place, value)
        return place

    cpdef Py_ssize_t take_out(self, long long value) except -1:
        """Take a number out of an ascending row, the first of equals; gives the place where it was."""
        cdef Py_ssize_t place = self.first_not_below(value)
        self.remove(place)
        return place

    cpdef int append(self, long long value) except -1:
        """Add a number at the end."""
        return self.insert(self._length, value)

    cpdef int insert(self, Py_ssize_t place, long long value) except -1:
        """Put a number before the one at ``place``."""
        if not 0 <= place <= self._length:
            raise IndexError("no such place")
        if self._length == self._room:
            self._grow()
        memmove(self.at + place + 1, self.at + place, (self._length - place) * sizeof(long long))
        self.at[place] = value
        self._length += 1
        return 0

    cpdef int remove(self, Py_ssize_t place) except -1:
        """Take the number at ``place`` out."""
        place = self._checked(place)
        self._length -= 1
        memmove(self.at + place, self.at + place + 1, (self._length - place) * sizeof(long long))
        return 0

    cdef int _grow(self) except -1:
        cdef Py_ssize_t room = 2 * self._room + 8
        at = <long long*>PyMem_Realloc(self.at, room * sizeof(long long))
        if at == NULL:
            raise MemoryError
        self.at = at
        self._room = room
        return 0

    cdef Py_ssize_t _checked(self, Py_ssize_t place) except -1:
        if place < 0:
            place += self._length
        if not 0 <= place < self._length:
            raise IndexError("no such place")
        return place
