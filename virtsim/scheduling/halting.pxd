cimport cython

from virtsim.scheduling.cpu cimport Cpu
from virtsim.scheduling.dispatcher cimport Dispatcher
from virtsim.scheduling.task cimport Task
from virtsim.scheduling.vcpu cimport Vcpu
from virtsim.scheduling.world_switch cimport WorldSwitch

cdef long long RUNNING, FAR_NS, AWAY, POLLING, HALTED, BUSY, OVERHEAD, STEAL


cdef class Halting(WorldSwitch):
    cdef bint _keep_awake

    @cython.locals(vcpu=Vcpu)
    cdef int _switch(self, Cpu cpu, Task previous, Task chosen) except -1
    cdef int _evict(self, Cpu cpu) except -1
    @cython.locals(below=WorldSwitch, place=Cpu, poll_ns=cython.longlong, now=cython.longlong)
    cdef int _halt(self, Vcpu vcpu) except -1
    @cython.locals(cpu=Cpu)
    cdef int _halt_if_idle(self, Vcpu vcpu) except -1
    @cython.locals(below=WorldSwitch, place=Cpu, left_ns=cython.longlong, now=cython.longlong)
    cdef object _kick(self, Vcpu vcpu, bint timer)
    @cython.locals(
        halted_ns=cython.longlong, longest_ns=cython.longlong, exit_ns=cython.longlong, polled_until_ns=cython.longlong
    )
    cdef object _end_halt(self, Vcpu vcpu, long long now)
    @cython.locals(cost_ns=cython.longlong, cpu=Cpu, running=Task, polling=Vcpu, vcpu=Vcpu)
    cpdef long long wake(self, Task task, long long waker_cpu, bint timer=*, bint sync=*)
    @cython.locals(left_ns=cython.longlong)
    cdef int _stop_polling(self, Cpu cpu, Vcpu vcpu) except -1
