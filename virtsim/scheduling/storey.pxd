cimport cython

cdef class Storey

from virtsim.scheduling.cpu cimport Cpu
from virtsim.scheduling.dispatcher cimport Dispatcher
from virtsim.scheduling.events cimport EventQueue
from virtsim.scheduling.fair cimport Entity, FairQueue
from virtsim.scheduling.group cimport Group
from virtsim.scheduling.heart cimport Heart
from virtsim.scheduling.input_output cimport InputOutput
from virtsim.scheduling.task cimport Task
from virtsim.scheduling.words cimport Words

cdef long long BLOCKED, RUNNABLE, RUNNING, RESCHEDULE, TICK, TIMER
cdef long long FAR_NS, ENDLESS_NS, AWAY, GUEST, POLLING, HALTED, BUSY, OVERHEAD, STEAL, IDLE
cdef long long GO_ON, NEEDS_TIME, GAVE_UP, PAUSE_LOOP, _NOTIFY, _SPIN_LOCK, _SPIN_UNLOCK, _PLE, _PV, NO_LOCK
cdef long long FULL_SPEED


cdef class Vcpu(Task):
    cdef readonly Storey below
    cdef readonly Storey above
    cdef readonly object hypervisor
    cdef readonly Cpu cpu_above
    cdef readonly long long mode
    cdef bint entering
    cdef public bint stopped
    cdef list pending
    cdef bint tick_due
    cdef bint resched_due
    cdef long long waker
    cdef readonly long long halt_ns
    cdef long long longest_poll_ns, poll_start_ns, poll_grow, poll_shrink
    cdef long long spinning
    cdef bint fair_spinlocks
    cdef long long spun_out_ns
    cdef readonly long long poll_ns
    cdef long long poll_end_ns
    cdef long long halted_at_ns
    cdef long long pause_window_ns
    cdef long long counted_as
    cdef long long counted_since_ns
    cdef readonly Words spent_ns
    cdef readonly long long halts
    cdef readonly long long polled
    cdef readonly long long kicks
    cdef readonly long long pause_exits
    cdef readonly long long yields
    cdef readonly long long poll_time_ns

    cdef int count(self, long long now_ns, long long counted_as) except -1


cdef class Door:
    cdef readonly Storey storey
    cdef readonly long long semaphore
    cdef readonly long long cpu
    cdef readonly long long cost_ns


cdef class Storey(Heart):
    cdef public long long tick_charge_ns
    cdef public long long timer_charge_ns
    cdef readonly list vcpus
    cdef readonly list doors
    cdef list spin_owners
    cdef list spin_waiters
    cdef Words held
    cdef Words spins_for
    cdef Words spun_from_ns
    cdef readonly long long spin_ns
    cdef bint _keep_awake
    cdef long long _last_boosted

    cpdef long long first_event_ns(self) noexcept
    @cython.locals(events=EventQueue)
    cdef int serve_next(self) except -1
    @cython.locals(cpu=Cpu, vcpu=Vcpu, task=Task)
    cdef bint _put_off(self, long long kind, object subject, long long version) except? True
    cdef int _spun(self, Cpu cpu, long long version) except -1
    cdef int _serve(self, long long kind, object subject, long long version) except -1
    @cython.locals(vcpu=Vcpu, leaving=Vcpu, coming=Vcpu)
    cdef int _switch(self, Cpu cpu, Task previous, Task chosen) except -1
    @cython.locals(task=Task, vcpu=Vcpu)
    cdef int _change_speed(self, Cpu cpu, long long speed) except -1
    cdef int _evict(self, Cpu cpu) except -1
    @cython.locals(below=Storey, place=Cpu, poll_ns=cython.longlong, now=cython.longlong)
    cdef int _halt(self, Vcpu vcpu) except -1
    @cython.locals(cpu=Cpu)
    cdef int _halt_if_idle(self, Vcpu vcpu) except -1
    @cython.locals(cpu=Cpu, task=Task, inner=Vcpu)
    cdef int _stand_still(self, Vcpu vcpu) except -1
    @cython.locals(
        cpu=Cpu, place=Cpu, task=Task, inner=Vcpu, sleeper=Task, kind=cython.longlong, version=cython.longlong
    )
    cdef int _go_on(self, Vcpu vcpu) except -1
    @cython.locals(below=Storey, place=Cpu, left_ns=cython.longlong, now=cython.longlong)
    cdef object _kick(self, Vcpu vcpu, bint timer)
    @cython.locals(
        halted_ns=cython.longlong, longest_ns=cython.longlong, exit_ns=cython.longlong, polled_until_ns=cython.longlong
    )
    cdef object _end_halt(self, Vcpu vcpu, long long now)
    @cython.locals(vcpu=Vcpu)
    cdef int _extended(self, Task task, long long code, long long a, long long b) except -1
    @cython.locals(above=Storey)
    cdef int _enter(self, Vcpu vcpu) except -1
    cdef int _sleep(self, Vcpu vcpu, long long counted_as) except -1
    cdef int _switched_out(self, Vcpu vcpu) except -1
    @cython.locals(cpu=Cpu)
    cdef int _notify(self, Task task, Door door) except -1
    @cython.locals(target=Storey)
    cpdef long long post_through(self, Door door, long long cpu) except? -1
    cpdef int deliver_interrupt(self, Vcpu vcpu, long long semaphore, long long cost_ns) except -1
    @cython.locals(storey=Storey, vcpu=Vcpu)
    cdef long long _place_below(self, long long cpu, Storey target) except? -1
    @cython.locals(waiters=list, waiter=Task)
    cdef int _post(self, long long semaphore, Cpu cpu, long long cost_ns) except -1
    @cython.locals(waiters=list)
    cdef long long _post_below(self, long long semaphore, long long waker) except? -1
    @cython.locals(cost_ns=cython.longlong, cpu=Cpu, running=Task, polling=Vcpu, vcpu=Vcpu)
    cpdef long long wake(self, Task task, long long waker_cpu, bint timer=*, bint sync=*)
    @cython.locals(left_ns=cython.longlong)
    cdef int _stop_polling(self, Cpu cpu, Vcpu vcpu) except -1
    @cython.locals(passed_ns=cython.longlong)
    cdef int _follow_burst(self, Cpu cpu, Task task) except -1
    @cython.locals(
        burst_ns=cython.longlong, start_ns=cython.longlong, charged=cython.longlong, ticks=cython.longlong,
        window_ns=cython.longlong,
    )
    cdef int _run_on(self, Cpu cpu, Task task) except -1
    @cython.locals(tick_ns=cython.longlong, phase_ns=cython.longlong)
    cdef long long _ticks(self, long long from_ns, long long to_ns) except? -1
    cdef Task _pick(self, Cpu cpu)
    cdef bint _parks_at_once(self, Task task)
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
    @cython.locals(vcpu=Vcpu, sibling=Vcpu, below=Storey, window_ns=cython.longlong)
    cdef object _pause_loop(self, Cpu cpu)
    @cython.locals(other=Vcpu, count=cython.longlong, step=cython.longlong, number=cython.longlong)
    cdef Vcpu _preempted_sibling(self, Vcpu vcpu)
    @cython.locals(cpu=Cpu, target=Cpu, entity=Entity)
    cpdef int yield_to(self, Task task, Task other) except -1
    @cython.locals(running=Task, mine=Entity, its=Entity, queue=FairQueue)
    cdef object _prefer(self, Task other, Cpu target)
    @cython.locals(cpu=Cpu, vcpu=Vcpu)
    cpdef int bring_up_to_date(self) except -1
