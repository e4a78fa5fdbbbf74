cimport cython

from virtsim.scheduling.fair cimport Entity, FairQueue
from virtsim.scheduling.group cimport Group
from virtsim.scheduling.load cimport LoadAverage
from virtsim.scheduling.program cimport Program
from virtsim.scheduling.utilisation cimport Utilisation
from virtsim.scheduling.words cimport Words


cdef class Task(Entity):
    cdef public str name
    cdef public Group group
    cdef public Program program
    cdef public frozenset cpus
    cdef public object cpu_bits
    cdef public long long slack_ns
    cdef public bint batch
    # A Policy, which cannot be named here: its file needs this one first.
    cdef public object policy
    cdef public object policy_data
    cdef public long long pc
    cdef public Words slots
    cdef public long long burst_ns
    cdef public long long state
    cdef public long long cpu
    cdef public long long recent_cpu
    cdef public long long since_ns
    cdef public long long version
    cdef public long long last_ran_ns
    cdef public LoadAverage load_average
    cdef public Utilisation utilisation
    cdef public Task parent_task
    cdef public long long start_ns
    cdef public long long end_ns
    cdef public long long cpu_time_ns
    cdef public long long children_ns
    cdef public long long run_delay_ns
    cdef public long long entered_ns
    cdef public long long throttled_at_ns
    cdef public long long run_ns
    cdef public long long sleep_ns
    cdef public long long throttled_ns
    cdef public long long voluntary
    cdef public long long involuntary
    cdef public long long migrations
    cdef readonly Words done
    cdef public dict tallies

    cdef int end_throttling(self, long long now_ns) except -1
    @cython.locals(queue=FairQueue)
    cpdef long long load_on_cpu(self)
