cimport cython

cdef class InputOutput

from virtsim.scheduling.cpu cimport Cpu
from virtsim.scheduling.devices cimport BackEnd, Port, Request, Ring, Station
from virtsim.scheduling.interpreter cimport Interpreter
from virtsim.scheduling.program cimport Sampler
from virtsim.scheduling.tally cimport Tally
from virtsim.scheduling.task cimport Task

cdef long long DEVICE, GO_ON, NEEDS_TIME, GAVE_UP, ENDED
cdef long long _SUBMIT, _JUMP_UNLESS_KICK, _KICK, _AWAIT, _TAKE, _FINISH, _JUMP_UNLESS_PUSH
cdef long long _REQUEST, _DONE, _SIGNAL, _POSITIONED, _TRANSFERRED, _ANSWERED


cdef class InputOutput(Interpreter):
    cdef public list ports
    cdef public list back_ends

    @cython.locals(port=Port)
    cdef int _extended(self, Task task, long long code, long long a, long long b) except -1
    @cython.locals(ring=Ring, request=Request)
    cdef long long _submit(self, Task task, Port port) except -1
    @cython.locals(ring=Ring, waited_for=cython.bint)
    cdef bint _kick_wanted(self, Port port) except -1
    cdef bint _push_wanted(self, Ring ring) except -1
    @cython.locals(unseen=cython.bint)
    cdef bint _pushed(self, Ring ring) except -1
    @cython.locals(backend=BackEnd, heart=InputOutput, cpu=Cpu)
    cdef long long _tell(self, Task task, Ring ring) except -1
    @cython.locals(request=Request, ring=Ring, cpu=Cpu)
    cdef long long _await(self, Task task, Port port) except -1
    @cython.locals(cost_ns=cython.longlong, free=cython.longlong, done=list, request=Request, waiter=Task)
    cdef long long _reap(self, Ring ring, Task by) except -1
    @cython.locals(ring=Ring, wanted=cython.bint)
    cdef bint _done(self, Request request) except -1
    cdef int _interrupt(self, Request request) except -1
    @cython.locals(ring=Ring, task=Task, waits=cython.bint)
    cdef int _take_interrupt(self, Request request, long long cpu) except -1
    @cython.locals(cpu=Cpu)
    cdef object _charge(self, Task task, long long cost_ns)
    cdef bint _stands_still(self, long long cpu)
    cdef long long _cpu_below(self, long long cpu)
    cdef InputOutput _machine(self)
    cdef int _wake_back_end(self, BackEnd backend, long long waker_cpu, bint interrupt) except -1
    @cython.locals(ring=Ring, rings=cython.longlong, waiting=cython.longlong)
    cdef long long _take_next(self, Task task, BackEnd backend) except -1
    @cython.locals(request=Request, ring=Ring, driver=InputOutput, cpu=Cpu)
    cdef long long _finish(self, Task task, BackEnd backend) except -1
    @cython.locals(machine=InputOutput)
    cdef int _pass_on(self, Request request) except -1
    @cython.locals(station=Station)
    cdef int _to_device(self, Request request) except -1
    @cython.locals(port=Port, station=Station, positioning_ns=cython.longlong, sampler=Sampler)
    cdef int _position(self, Request request) except -1
    @cython.locals(port=Port, station=Station, begin_ns=cython.longlong)
    cdef int _transfer(self, Request request) except -1
    @cython.locals(port=Port, station=Station)
    cdef object _device(self, Request request, long long stage)
    @cython.locals(ring=Ring, together=list, done=Request)
    cdef object _hand_back(self, Request request)
    @cython.locals(ring=Ring, backend=BackEnd, driver=InputOutput, heart=InputOutput)
    cdef object _interrupt_for(self, Request request)
