cimport cython

from virtsim.scheduling.cpu cimport Cpu
from virtsim.scheduling.dispatcher cimport Dispatcher
from virtsim.scheduling.fair cimport Entity, FairQueue
from virtsim.scheduling.guest_ticks cimport GuestTicks
from virtsim.scheduling.halting cimport Halting
from virtsim.scheduling.interrupts cimport Interrupts
from virtsim.scheduling.task cimport Task
from virtsim.scheduling.vcpu cimport Vcpu
from virtsim.scheduling.words cimport Words

cdef long long RUNNABLE, FAR_NS, ENDLESS_NS, GO_ON, NEEDS_TIME, PAUSE_LOOP, _SPIN_LOCK, _SPIN_UNLOCK, _PLE, _PV, NO_LOCK


cdef class Spinning(Interrupts):
    cdef list spin_owners
    cdef list spin_waiters
    cdef Words held
    cdef Words spins_for
    cdef Words spun_from_ns
    cdef readonly long long spin_ns
    cdef long long _last_boosted

    cdef int _extended(self, Task task, long long code, long long a, long long b) except -1
    cdef int _evict(self, Cpu cpu) except -1
    @cython.locals(window_ns=cython.longlong)
    cdef int _run_on(self, Cpu cpu, Task task) except -1
    cdef int _serve(self, long long kind, object subject, long long version) except -1
    cdef int _spun(self, Cpu cpu, long long version) except -1
    cdef Task _pick(self, Cpu cpu)
    cdef int _spin_lock(self, Task task, long long number) except -1
    @cython.locals(cpu=Cpu, waiters=list)
    cdef int _spin_unlock(self, Task task, long long number) except -1
    cdef int _reschedule_if_due(self, Cpu cpu) except -1
    @cython.locals(vcpu=Vcpu, waiter=Task)
    cdef long long _next_spinner(self, list waiters) except -1
    @cython.locals(waiter=Task, cpu=Cpu)
    cdef int _grant(self, long long number, long long place) except -1
    cdef int _end_spin(self, Cpu cpu, Task task) except -1
    cdef long long _spin_window_ns(self, Vcpu vcpu) except -1
    @cython.locals(vcpu=Vcpu, sibling=Vcpu, below=Spinning, window_ns=cython.longlong)
    cdef object _pause_loop(self, Cpu cpu)
    @cython.locals(other=Vcpu, count=cython.longlong, step=cython.longlong, number=cython.longlong)
    cdef Vcpu _preempted_sibling(self, Vcpu vcpu)
    @cython.locals(cpu=Cpu, target=Cpu, entity=Entity)
    cpdef int yield_to(self, Task task, Task other) except -1
    @cython.locals(running=Task, mine=Entity, its=Entity, queue=FairQueue)
    cdef object _prefer(self, Task other, Cpu target)
