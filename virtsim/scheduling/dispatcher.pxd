cimport cython

from virtsim.core.streams cimport SplitMix64
from virtsim.scheduling.balance cimport Balancer
from virtsim.scheduling.classes cimport Classes
from virtsim.scheduling.cold cimport Cold
from virtsim.scheduling.cpu cimport Cpu
from virtsim.scheduling.domains cimport Domain
from virtsim.scheduling.fair cimport Entity, FairQueue
from virtsim.scheduling.governor cimport FrequencyDomain, Governor
from virtsim.scheduling.group cimport Group
from virtsim.scheduling.load cimport LoadAverage
from virtsim.scheduling.placement cimport Placement
from virtsim.scheduling.policy cimport Policy
from virtsim.scheduling.task cimport Task

cdef long long BURST_END, EXPIRE, HRTICK, PERIOD, RESCHEDULE, TICK, BLOCKED, RUNNABLE, RUNNING, LEAST_HRTICK_NS
cdef long long BUSY, IDLE, NEWLY_IDLE, FULL_SPEED, LATER_NS, ONE


cdef class Dispatcher(Classes):
    cdef readonly Placement placement
    cdef readonly Balancer balancer
    cdef bint _cools, _ends_at_ticks, _wakeup_preemption, _next_buddy, _hrtick, _newidle_random
    cdef long long _idle_due_ns
    cdef bint _smt
    cdef list _speeds
    cdef public object on_switch
    cdef public object on_wakeup
    cdef Cold _cold
    cdef tuple _timer_idle_ns
    cdef SplitMix64 _latency_rng, _newidle_rng

    cpdef bint step(self, Task task)
    cdef object _arm_tick(self, Cpu cpu)
    @cython.locals(entity=Entity, task=Task, policy=Policy)
    cdef bint _tick_matters(self, Cpu cpu)
    @cython.locals(task=Task, policy=Policy)
    cdef object _tick(self, Cpu cpu)
    @cython.locals(entity=Entity)
    cdef object _end_turn(self, Cpu cpu, Task task)
    @cython.locals(task=Task, left_ns=cython.longlong)
    cdef bint _set_hrtick(self, Cpu cpu) except -1
    cdef int _precise_tick(self, Cpu cpu) except -1
    @cython.locals(previous=Task, chosen=Task)
    cdef object _schedule(self, Cpu cpu)
    @cython.locals(common=FairQueue)
    cdef int _switch(self, Cpu cpu, Task previous, Task chosen) except -1
    @cython.locals(sibling=Cpu, running=cython.longlong, share=cython.longlong, speed=cython.longlong)
    cdef int _core_changed(self, Cpu cpu) except -1
    @cython.locals(cpu=Cpu, governor=Governor, pace=cython.longlong, speed=cython.longlong)
    cdef int _set_frequency(self, FrequencyDomain domain, long long frequency_hz) except -1
    @cython.locals(task=Task)
    cdef int _change_speed(self, Cpu cpu, long long speed) except -1
    @cython.locals(policy=Policy)
    cdef int _arm_quantum(self, Cpu cpu, Task task) except -1
    cpdef void settle(self, Cpu cpu)
    cpdef void reschedule(self, Cpu cpu)
    cdef int _run_on(self, Cpu cpu, Task task) except -1
    cdef int _follow_burst(self, Cpu cpu, Task task) except -1
    @cython.locals(task=Task)
    cdef int _burst_end(self, Cpu cpu) except -1
    cdef int _park_now(self, Cpu cpu, Task task) except -1
    @cython.locals(cpu=Cpu, local=cython.bint)
    cpdef long long wake(self, Task task, long long waker_cpu, bint timer=*, bint sync=*)
    @cython.locals(chosen=cython.longlong)
    cdef int _wake_by_policy(self, Task task, long long waker_cpu) except -1
    cdef long long _drawn(self, tuple quantiles)
    @cython.locals(running=Task, mine=Entity, its=Entity, common=FairQueue)
    cdef object _preempt(self, Cpu cpu, Task task, bint new=*)
    cdef int _reschedule_soon(self, Cpu cpu, long long delay_ns) except -1
    @cython.locals(task=Task, queue=FairQueue)
    cpdef void steal(self, Cpu cpu, long long duration_ns)
    @cython.locals(balancer=Balancer, domain=Domain, ratio=cython.longlong, roll=cython.longlong, came=cython.bint)
    cdef bint _pull_for_idle(self, Cpu cpu)
    @cython.locals(
        balancer=Balancer, domain=Domain, moving=list,
        now_ns=cython.longlong, next_ns=cython.longlong, due_ns=cython.longlong,
    )
    cdef int _balance(self, Cpu cpu, bint idle) except -1
    @cython.locals(cpu=Cpu)
    cdef int _balance_idle(self) except -1
    @cython.locals(task=Task, target=Cpu, came=cython.bint)
    cdef bint _fetch(self, list moving, Cpu cpu)
    @cython.locals(source=Cpu, queue=FairQueue, target=FairQueue, average=LoadAverage)
    cdef int _pull(self, Task task, Cpu cpu) except -1
    @cython.locals(task=Task)
    cdef int _evict(self, Cpu cpu) except -1
    cdef int _new_period(self, Group group) except -1
    @cython.locals(queue=FairQueue)
    cdef int _release(self, Group group) except -1


@cython.locals(mine=Entity, its=Entity)
cpdef FairQueue _meeting(Task task, Task other)
@cython.locals(entity=Entity)
cpdef Entity _entity_on(Task task, FairQueue queue)
