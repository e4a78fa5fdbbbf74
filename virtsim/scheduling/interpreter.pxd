cimport cython

from virtsim.scheduling.cpu cimport Cpu
from virtsim.scheduling.dispatcher cimport Dispatcher
from virtsim.scheduling.policy cimport Policy
from virtsim.scheduling.program cimport Program, Sampler
from virtsim.scheduling.request cimport RequestQueue
from virtsim.scheduling.tally cimport Tally
from virtsim.scheduling.task cimport Task
from virtsim.scheduling.words cimport Words

cdef long long GO_ON, NEEDS_TIME, GAVE_UP, MAX_ROUNDS_AT_ONCE, TIMER, BLOCKED, ENDED, NEW, RUNNABLE
cdef long long _CPU, _CPU_DRAWN, _SLEEP, _SLEEP_DRAWN, _PERIODIC_BEGIN, _PERIODIC_WAIT, _RECORD_SINCE
cdef long long _REQUEST_WAIT, _REQUEST_BEGIN, _REQUEST_END, _POST, _WAIT, _LOCK, _UNLOCK, _LOOP_BEGIN, _LOOP_END
cdef long long _JUMP_IF_DONE, _FORK_WAIT, _COUNT, _EXIT, _REQUEST_NOW, _JUMP, _POST_SYNC, _EXTERNAL


cdef class Interpreter(Dispatcher):
    cdef public Words semaphores
    cdef public Words wake_at
    cdef public list waiters
    cdef public list lock_owners
    cdef public list lock_waiters
    cdef public list queues
    cdef public long long live_tasks
    cdef public object on_external
    cdef tuple _timer_latency_ns

    @cython.locals(
        program=Program, text=cython.p_longlong, slots=cython.p_longlong, place=cython.longlong, cpu=Cpu, sampler=Sampler,
        queue=RequestQueue, rounds=cython.longlong, code=cython.longlong, a=cython.longlong, b=cython.longlong,
        pc=cython.longlong, outcome=cython.longlong, now=cython.longlong, arrival=cython.longlong,
    )
    cpdef bint step(self, Task task)
    @cython.locals(cpu=Cpu, policy=Policy, chosen=cython.longlong)
    cdef int _start(self, Task task, bint placed=*) except -1
    @cython.locals(policy=Policy)
    cdef int _next_job(self, Task task, long long release_ns) except -1
    cdef int _block(self, Task task) except -1
    cdef int _sleep_until(self, Task task, long long due_ns) except -1
    @cython.locals(tally=Tally)
    cdef int _record(self, Task task, long long kind, long long value_ns) except -1
    cdef bint _lock(self, Task task, long long number)
    @cython.locals(waiter=Task, cpu=Cpu)
    cdef bint _unlock(self, Task task, long long number, long long waking_ns)
    @cython.locals(child=Task)
    cdef int _fork(self, Task task, Program program) except -1
    @cython.locals(parent=Task)
    cdef int _end(self, Task task) except -1
    cdef int _extended(self, Task task, long long code, long long a, long long b) except -1
    cdef bint _leave_to_outside(self, Task task, long long number)
