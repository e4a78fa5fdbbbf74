cimport cython

from virtsim.scheduling.cpu cimport Cpu
from virtsim.scheduling.events cimport EventQueue
from virtsim.scheduling.spinning cimport Spinning
from virtsim.scheduling.vcpu cimport Vcpu

cdef long long BLOCKED, FAR_NS


cdef class Storey(Spinning):
    cpdef long long first_event_ns(self) noexcept
    @cython.locals(events=EventQueue)
    cdef int serve_next(self) except -1
    @cython.locals(cpu=Cpu, vcpu=Vcpu)
    cpdef int bring_up_to_date(self) except -1
