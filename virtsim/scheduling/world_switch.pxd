cimport cython

cdef class WorldSwitch

from virtsim.scheduling.cpu cimport Cpu
from virtsim.scheduling.dispatcher cimport Dispatcher
from virtsim.scheduling.guest_ticks cimport GuestTicks
from virtsim.scheduling.input_output cimport InputOutput
from virtsim.scheduling.task cimport Task
from virtsim.scheduling.vcpu cimport Vcpu

cdef long long RUNNABLE, GAVE_UP, NEEDS_TIME
cdef long long FAR_NS, ENDLESS_NS, AWAY, GUEST, POLLING, HALTED, BUSY, OVERHEAD, STEAL, IDLE


cdef class WorldSwitch(GuestTicks):
    cdef readonly list vcpus

    @cython.locals(leaving=Vcpu, coming=Vcpu)
    cdef int _switch(self, Cpu cpu, Task previous, Task chosen) except -1
    @cython.locals(vcpu=Vcpu)
    cdef int _extended(self, Task task, long long code, long long a, long long b) except -1
    @cython.locals(above=WorldSwitch)
    cdef int _enter(self, Vcpu vcpu) except -1
    cdef int _sleep(self, Vcpu vcpu, long long counted_as) except -1
    cdef int _switched_out(self, Vcpu vcpu) except -1
    cdef bint _parks_at_once(self, Task task)
    @cython.locals(task=Task, vcpu=Vcpu)
    cdef int _change_speed(self, Cpu cpu, long long speed) except -1
    @cython.locals(cpu=Cpu, task=Task, inner=Vcpu)
    cdef int _stand_still(self, Vcpu vcpu) except -1
    @cython.locals(cpu=Cpu, place=Cpu, task=Task, inner=Vcpu)
    cdef int _go_on(self, Vcpu vcpu) except -1
    @cython.locals(place=Cpu)
    cdef bint _stands_still(self, long long cpu)
    @cython.locals(storey=WorldSwitch, vcpu=Vcpu)
    cdef InputOutput _machine(self)
    @cython.locals(storey=WorldSwitch, vcpu=Vcpu)
    cdef long long _cpu_below(self, long long cpu)
