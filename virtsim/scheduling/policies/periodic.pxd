cimport cython

from virtsim.scheduling.cpu cimport Cpu
from virtsim.scheduling.policy cimport Policy
from virtsim.scheduling.task cimport Task


cdef class Job:
    cdef public long long period_ns
    cdef public long long deadline_ns
    cdef public long long until_ns
    cdef public bint released
    cdef public long long done
    cdef public long long missed


cdef class Ordered(Policy):
    cdef public list waiting

    cpdef long long key(self, Job job)
    @cython.locals(job=Job)
    cpdef void enqueue(self, Task task, bint woken)
    @cython.locals(waiting=list, other=Task, low=Py_ssize_t, high=Py_ssize_t, middle=Py_ssize_t, other_key=cython.longlong)
    cdef int _insert(self, Task task, long long key, bint first) except -1
    @cython.locals(job=Job)
    cpdef void next_job(self, Task task, long long release_ns)
    @cython.locals(waiting=list, task=Task, place=Py_ssize_t)
    cpdef Task pick(self, Cpu cpu)
    cpdef bint preempts(self, Task woken, Task running)
    @cython.locals(cpu=Cpu, running=Task, key=cython.longlong, largest=cython.longlong, chosen=cython.longlong)
    cpdef long long place(self, Task task, long long waker_cpu)


cdef class EarliestDeadlineFirst(Ordered):
    cpdef long long key(self, Job job)


cdef class RateMonotonic(Ordered):
    cpdef long long key(self, Job job)
