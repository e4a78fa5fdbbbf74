cimport cython

from virtsim.scheduling.cpu cimport Cpu
from virtsim.scheduling.dispatcher cimport Dispatcher
from virtsim.scheduling.heart cimport Heart
from virtsim.scheduling.task cimport Task

cdef long long FAR_NS, ENDLESS_NS, FULL_SPEED


cdef class GuestTicks(Heart):
    cdef public long long tick_charge_ns

    @cython.locals(passed_ns=cython.longlong)
    cdef int _follow_burst(self, Cpu cpu, Task task) except -1
    @cython.locals(
        burst_ns=cython.longlong, start_ns=cython.longlong, charged=cython.longlong, ticks=cython.longlong
    )
    cdef int _run_on(self, Cpu cpu, Task task) except -1
    @cython.locals(tick_ns=cython.longlong, phase_ns=cython.longlong)
    cdef long long _ticks(self, long long from_ns, long long to_ns) except? -1
