cdef class Vcpu

from virtsim.scheduling.cpu cimport Cpu
from virtsim.scheduling.task cimport Task
from virtsim.scheduling.words cimport Words
from virtsim.scheduling.world_switch cimport WorldSwitch

cdef long long HALTED, IDLE


cdef class Vcpu(Task):
    cdef readonly WorldSwitch below
    cdef readonly WorldSwitch above
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
