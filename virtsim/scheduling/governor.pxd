cimport cython

from virtsim.scheduling.cpu cimport Cpu
from virtsim.scheduling.events cimport EventQueue
from virtsim.scheduling.fair cimport FairQueue
from virtsim.scheduling.policy cimport Policy
from virtsim.scheduling.task cimport Task
from virtsim.scheduling.utilisation cimport Utilisation

cdef long long FREQUENCY, ENDED, CAPACITY, MOST, PERIOD, NEVER_NS, ALWAYS_BUSY


cdef class FrequencyDomain:
    cdef readonly list cpus
    cdef readonly long long frequency_hz
    cdef readonly long long wanted_hz
    cdef readonly long long changes
    cdef readonly dict residency_ns
    cdef readonly long long since_ns
    cdef long long changed_ns

    cpdef int count(self, long long now_ns) except -1


cdef class Meter:
    cdef readonly Utilisation fair
    cdef readonly Utilisation others
    cdef readonly FrequencyDomain domain
    cdef long long seen_ns, clock_ns, lost_ns, speed, by_policy, urgent, reserved, idles, idles_seen


cdef class Governor:
    cdef readonly object settings
    cdef readonly list cpus
    cdef readonly list domains
    cdef readonly list meters
    cdef readonly bint decides
    cdef long long maximum_hz, rate_limit_ns, latency_ns
    cdef tuple points
    cdef bint _estimates, _counts_waiting
    cdef EventQueue _events

    cdef int ticked(self, Cpu cpu, long long now_ns) except -1
    @cython.locals(meter=Meter, mine=Utilisation, moved=cython.bint)
    cdef int comes(self, Cpu cpu, Task task, long long now_ns) except -1
    @cython.locals(meter=Meter, mine=Utilisation, ended=cython.bint)
    cdef object goes(self, Cpu cpu, Task task, bint asleep, long long now_ns)
    @cython.locals(meter=Meter, mine=Utilisation, ended=cython.bint)
    cdef int switches(self, Cpu cpu, Task previous, Task chosen, long long now_ns) except -1
    @cython.locals(meter=Meter, reserved=cython.longlong)
    cdef int policy_task(self, Cpu cpu, Policy policy, Task task, long long change, long long now_ns) except -1
    @cython.locals(meter=Meter, task=Task, root=FairQueue, fair=cython.bint, passed_ns=cython.longlong,
                   clock_ns=cython.longlong)
    cdef bint measure(self, Cpu cpu, long long now_ns) except -1
    @cython.locals(meter=Meter, cpu=Cpu)
    cdef int set_frequency(self, FrequencyDomain domain, long long frequency_hz, long long now_ns) except -1
    @cython.locals(meter=Meter)
    cpdef long long scaled_ns(self, long long cpu, long long time_ns)
    cdef int _goes_idle(self, Meter meter, long long now_ns) except -1
    @cython.locals(meter=Meter)
    cdef int _leave(self, Utilisation mine, long long now_ns) except -1
    @cython.locals(meter=Meter, domain=FrequencyDomain, other=Cpu, performance=cython.longlong,
                   frequency_hz=cython.longlong, idle=cython.bint)
    cdef object _decide(self, Cpu cpu, long long now_ns, bint at_once)
    @cython.locals(fair=Utilisation, used=cython.longlong)
    cdef long long _performance(self, Meter meter)
    @cython.locals(point=cython.longlong)
    cdef long long _resolve(self, long long frequency_hz)
