"""What is due when, in order: by time, then by kind, then by who asked first; see ``events.py``.

The same order on a plain array of C structures: four children to a node, so that a node's children
lie in two cache lines and the tree is half as high.
"""

from cpython.list cimport PyList_GET_ITEM, PyList_SET_ITEM
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.ref cimport Py_DECREF, Py_INCREF

cdef extern from *:
    const unsigned int VIRTSIM_DIGEST

#: Check sum of all sources of the heart, as they were when it was compiled.
DIGEST = VIRTSIM_DIGEST

BURST_END, TIMER, PERIOD, SLACK, TICK, RESCHEDULE, START, CALL, STEAL, EXPIRE, HRTICK, DEVICE, FREQUENCY = range(13)
cdef long long _LAST_VERSIONED = TIMER
cdef Py_ssize_t _SHORTEST = 1024
# Room for as many events as a run can have.
cdef enum:
    _KIND_SHIFT = 56


cdef inline bint _before(const Event* a, const Event* b) noexcept nogil:
    if a.time_ns != b.time_ns:
        return a.time_ns < b.time_ns
    return a.key < b.key


cdef inline void _put(list subjects, Py_ssize_t place, object subject) noexcept:
    """As ``subjects[place] = subject``, for a place that there is."""
    before = PyList_GET_ITEM(subjects, place)
    Py_INCREF(subject)
    PyList_SET_ITEM(subjects, place, subject)
    Py_DECREF(<object>before)


cdef class EventQueue:
    """Pending events; the one that was popped last is in the attributes."""

    def __init__(self):
        self.kind = CALL
        self._subjects = []
        self._limit = _SHORTEST

    def __dealloc__(self):
        PyMem_Free(self._heap)

    def __len__(self):
        return self._length

    cpdef int push(self, long long time_ns, long long kind, object subject, long long version) except -1:
        """Add an event."""
        if self._length == self._room:
            self._grow()
        self._sequence += 1
        cdef Event event
        event.time_ns = time_ns
        event.key = (kind << _KIND_SHIFT) | self._sequence
        event.version = version
        event.slot = self._heap[self._length].slot
        _put(self._subjects, event.slot, subject)
        self._length += 1
        self._up(self._length - 1, &event)
        if self._length > self._limit:
            self._throw_out()
        return 0

    cpdef bint pop(self, long long until_ns) noexcept:
        """Take the earliest event, if it is due by ``until_ns``; tells whether it is."""
        if self._length == 0 or self._heap[0].time_ns > until_ns:
            return False
        cdef Event first = self._heap[0]
        self.time_ns = first.time_ns
        self.kind = first.key >> _KIND_SHIFT
        self.version = first.version
        self.subject = <object>PyList_GET_ITEM(self._subjects, first.slot)
        _put(self._subjects, first.slot, None)
        self._length -= 1
        if self._length:
            self._down(0, self._heap + self._length)
        self._heap[self._length].slot = first.slot
        return True

    def next_ns(self):
        """Time of the earliest event; None if there is none."""
        return self._heap[0].time_ns if self._length else None

    cdef long long first_ns(self) noexcept:
        """Time of the earliest event; later than any time if there is none."""
        return self._heap[0].time_ns if self._length else <long long>1 << 62

    cdef int _grow(self) except -1:
        cdef Py_ssize_t room = 2 * self._room + 64
        heap = <Event*>PyMem_Realloc(self._heap, room * sizeof(Event))
        if heap == NULL:
            raise MemoryError
        for slot in range(self._room, room):
            heap[slot].slot = slot
            self._subjects.append(None)
        self._heap = heap
        self._room = room
        return 0

    cdef void _up(self, Py_ssize_t place, const Event* event) noexcept:
        """Put an event into a hole at ``place``, or further up."""
        cdef Event moved = event[0]
        cdef Py_ssize_t above
        while place:
            above = (place - 1) >> 2
            if not _before(&moved, self._heap + above):
                break
            self._heap[place] = self._heap[above]
            place = above
        self._heap[place] = moved

    cdef void _down(self, Py_ssize_t place, const Event* event) noexcept:
        """Put an event into a hole at ``place``, or further down."""
        cdef Event moved = event[0]
        cdef Py_ssize_t child, last, best
        while True:
            child = 4 * place + 1
            if child >= self._length:
                break
            last = min(child + 4, self._length)
            best = child
            for other in range(child + 1, last):
                if _before(self._heap + other, self._heap + best):
                    best = other
            if not _before(self._heap + best, &moved):
                break
            self._heap[place] = self._heap[best]
            place = best
        self._heap[place] = moved

    cdef int _throw_out(self) except -1:
        """Drop void events, so that memory stays flat however long the calls for CPU time are."""
        cdef Py_ssize_t kept = 0
        cdef Event event
        for i in range(self._length):
            event = self._heap[i]
            if event.key >> _KIND_SHIFT > _LAST_VERSIONED or event.version == self._subjects[event.slot].version:
                self._heap[i] = self._heap[kept]
                self._heap[kept] = event
                kept += 1
            else:
                _put(self._subjects, event.slot, None)
        self._length = kept
        for i in range((kept - 2) >> 2, -1, -1):
            self._down(i, self._heap + i)
        self._limit = max(_SHORTEST, 2 * kept)
        return 0


cpdef Py_ssize_t earliest(list queues, long long until_ns) except -2:
    """Place of the queue with the earliest event, the first of equals; -1 if none is due by ``until_ns``."""
    cdef Py_ssize_t place, first = -1
    cdef long long first_ns = until_ns + 1
    cdef EventQueue queue
    for place in range(len(queues)):
        queue = <EventQueue>PyList_GET_ITEM(queues, place)
        if queue._length and queue._heap[0].time_ns < first_ns:
            first = place
            first_ns = queue._heap[0].time_ns
    return first
