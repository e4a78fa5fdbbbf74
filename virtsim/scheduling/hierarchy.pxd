cimport cython

cdef class Hierarchy

from virtsim.scheduling.bandwidth cimport Bandwidth
from virtsim.scheduling.cpu cimport Cpu
from virtsim.scheduling.events cimport EventQueue
from virtsim.scheduling.fair cimport Entity, FairQueue
from virtsim.scheduling.governor cimport Governor
from virtsim.scheduling.group cimport Group
from virtsim.scheduling.task cimport Task

cdef long long PERIOD, SLACK, SLACK_DELAY_NS, RUNNABLE, RUNNING


cdef class Hierarchy:
    cdef public long long now_ns
    cdef public object kernel
    cdef public object costs
    cdef readonly long long tick_ns
    cdef bint _delays, _limited, _governed
    cdef public Governor governor
    cdef long long _switch_ns, _tick_cost_ns, _wake_ns, _wake_remote_ns, _idle_exit_ns, _preempt_remote_ns
    cdef long long _migration_ns, _migration_cache_ns
    cdef public long long tick_phase_ns
    cdef public list cpus
    cdef public object idle_bits
    cdef public list groups
    cdef public bint spread
    cdef public EventQueue events
    cdef public object on_task_throttle

    cdef object _account(self, Cpu cpu)
    cdef int _catch_up(self, Cpu cpu) except -1
    @cython.locals(task=Task, entity=Entity, queue=FairQueue, last_ns=cython.longlong, delta=cython.longlong)
    cdef object _account_until(self, Cpu cpu, long long time_ns)
    @cython.locals(entity=Entity, cpu=Cpu, delta=cython.longlong)
    cdef object _account_level(self, FairQueue queue)
    @cython.locals(task=Task, group=Group, vruntime=cython.longlong)
    cdef int _charge_entity(self, FairQueue queue, Entity entity, long long delta) except -1
    cdef int _charge_by_policy(self, Task task, long long delta_ns) except -1
    cdef object _charge_bandwidth(self, FairQueue queue, long long delta_ns)
    cdef bint _assign(self, FairQueue queue, long long target_ns)
    @cython.locals(entity=Entity)
    cdef int _put(self, Task task, FairQueue common) except -1
    cdef int _take(self, Task task, FairQueue common) except -1
    cdef int _take_from(self, Entity entity, FairQueue common) except -1
    @cython.locals(cpu=Cpu, home=FairQueue, entity=Entity)
    cdef object _enqueue(self, Task task, bint initial=*)
    @cython.locals(entity=Entity)
    cdef int _rejoin(self, Task task) except -1
    cdef int _check_runtime(self, FairQueue queue) except -1
    @cython.locals(entity=Entity, leaving=cython.bint, may_stay=cython.bint)
    cdef object _dequeue(self, Task task, bint asleep, bint delay=*)
    cdef int _end_throttling(self, Task task) except -1
    cdef int _return_runtime(self, FairQueue queue) except -1
    cdef object _settle(self, Entity entity)
    cdef int _follow(self, FairQueue queue) except -1
    cdef object _update_shares(self, Task task)
