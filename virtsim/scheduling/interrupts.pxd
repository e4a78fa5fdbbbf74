cimport cython

cdef class Interrupts

from virtsim.scheduling.cpu cimport Cpu
from virtsim.scheduling.devices cimport BackEnd, Request, Ring
from virtsim.scheduling.door cimport Door
from virtsim.scheduling.halting cimport Halting
from virtsim.scheduling.heart cimport Heart
from virtsim.scheduling.input_output cimport InputOutput
from virtsim.scheduling.task cimport Task
from virtsim.scheduling.vcpu cimport Vcpu
from virtsim.scheduling.world_switch cimport WorldSwitch

cdef long long BLOCKED, RESCHEDULE, TICK, TIMER, FAR_NS, GO_ON, NEEDS_TIME, _NOTIFY, BACK_END_CALLED, REQUEST_DONE


cdef class Interrupts(Halting):
    cdef public long long timer_charge_ns
    cdef public long long interrupt_vcpu
    cdef readonly list doors

    @cython.locals(cpu=Cpu, vcpu=Vcpu, task=Task)
    cdef bint _put_off(self, long long kind, object subject, long long version) except? True
    cdef int _serve(self, long long kind, object subject, long long version) except -1
    @cython.locals(cpu=Cpu, sleeper=Task, kind=cython.longlong, version=cython.longlong)
    cdef int _go_on(self, Vcpu vcpu) except -1
    @cython.locals(ring=Ring, number=cython.longlong, vcpu=Vcpu)
    cdef int _interrupt(self, Request request) except -1
    @cython.locals(task=Task, vcpu=Vcpu)
    cdef int _wake_back_end(self, BackEnd backend, long long waker_cpu, bint interrupt) except -1
    cdef int _extended(self, Task task, long long code, long long a, long long b) except -1
    @cython.locals(cpu=Cpu)
    cdef int _notify(self, Task task, Door door) except -1
    @cython.locals(target=Interrupts)
    cpdef long long post_through(self, Door door, long long cpu) except? -1
    cpdef int deliver_interrupt(self, Vcpu vcpu, long long semaphore, long long cost_ns) except -1
    @cython.locals(storey=WorldSwitch, vcpu=Vcpu)
    cdef long long _place_below(self, long long cpu, WorldSwitch target) except? -1
    @cython.locals(waiters=list, waiter=Task)
    cdef int _post(self, long long semaphore, Cpu cpu, long long cost_ns) except -1
    @cython.locals(waiters=list)
    cdef long long _post_below(self, long long semaphore, long long waker) except? -1
