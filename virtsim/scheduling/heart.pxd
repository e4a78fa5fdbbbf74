cimport cython

from virtsim.core.streams cimport SplitMix64
from virtsim.scheduling.bandwidth cimport Bandwidth
from virtsim.scheduling.cpu cimport Cpu
from virtsim.scheduling.events cimport EventQueue
from virtsim.scheduling.fair cimport Entity, FairQueue
from virtsim.scheduling.group cimport Group
from virtsim.scheduling.input_output cimport InputOutput
from virtsim.scheduling.task cimport Task

cdef long long BURST_END, CALL, DEVICE, EXPIRE, FREQUENCY, HRTICK, PERIOD, RESCHEDULE, SLACK, START, STEAL, TICK, TIMER, BLOCKED


cdef class Heart(InputOutput):
    cdef public list tasks
    cdef public Group root
    cdef SplitMix64 _steal_rng

    @cython.locals(cpu=Cpu)
    cpdef object govern(self, object frequencies)
    cdef FairQueue _make_queue(self, Cpu cpu, Group group)

    @cython.locals(events=EventQueue, cpu=Cpu)
    cpdef void advance(self, long long to_ns)
    cdef int _adopt(self, Task task) except -1
    @cython.locals(cpu=Cpu, task=Task, group=Group)
    cdef int _serve(self, long long kind, object subject, long long version) except -1
    cdef int _steal_again(self, Cpu cpu) except -1
    cdef double _exponential(self)
