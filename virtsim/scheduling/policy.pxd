cimport cython

from virtsim.scheduling.cpu cimport Cpu
from virtsim.scheduling.task cimport Task


cdef class Policy:
    cdef public object heart
    cdef public long long rank
    cdef public bint ticks
    cdef public bint urgent

    cpdef void attach(self)
    cpdef void enqueue(self, Task task, bint woken)
    cpdef Task pick(self, Cpu cpu)
    cpdef void blocked(self, Task task)
    cpdef void charge(self, Task task, long long delta_ns)
    cpdef bint preempts(self, Task woken, Task running)
    cpdef bint tick(self, Task task)
    cpdef void next_job(self, Task task, long long release_ns)
    cpdef long long reserved(self, Task task)
    cpdef long long quantum_ns(self, Task task)
    cpdef long long place(self, Task task, long long waker_cpu)
