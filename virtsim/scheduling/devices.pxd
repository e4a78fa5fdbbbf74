cdef class BackEnd
cdef class Port
cdef class Request
cdef class Ring
cdef class Station

from virtsim.scheduling.input_output cimport InputOutput
from virtsim.scheduling.tally cimport Tally
from virtsim.scheduling.task cimport Task


cdef class Station:
    cdef public str name
    cdef public long long ways
    cdef public long long busy
    cdef public list waiting
    cdef public long long bus_free_ns
    cdef public long long way_busy_ns
    cdef public long long bus_busy_ns
    cdef public long long served
    cdef public long long bytes


cdef class Ring:
    cdef public str name
    cdef public long long size
    cdef public BackEnd backend
    cdef public InputOutput driver
    cdef public bint suppress
    cdef public bint lazy
    cdef public long long refill
    cdef public long long batch
    cdef public bint hidden
    cdef public long long coalesced
    cdef public long long held
    cdef public long long pass_on_ns
    cdef public long long untold
    cdef public long long working
    cdef public list done
    cdef public long long returned
    cdef public long long owed
    cdef public long long interrupt_ns
    cdef public long long device_ns
    cdef public long long signal_ns
    cdef public long long completion_ns
    cdef public list available
    cdef public list used
    cdef public list blocked
    cdef public long long taken
    cdef public bint listening
    cdef public Task handler
    cdef public bint interrupting
    cdef public long long quiet_until_ns
    cdef public long long submitted
    cdef public long long completed
    cdef public long long kicks
    cdef public long long saved_kicks
    cdef public long long interrupts
    cdef public long long saved_interrupts
    cdef public long long unclaimed_ns
    cdef public Tally times


cdef class BackEnd:
    cdef public Task task
    cdef public InputOutput heart
    cdef public long long wake_ns
    cdef public list rings
    cdef public list finished
    cdef public Request hand
    cdef public long long phase
    cdef public long long next_ring
    cdef public bint asleep


cdef class Port:
    cdef public Ring ring
    cdef public Station station
    cdef public long long transfer_ns
    cdef public long long size
    cdef public list samplers
    cdef public bint awaited
    cdef public long long backend_ns
    cdef public Port answer
    cdef public long long remote_ns
    cdef public Request request


cdef class Request:
    cdef public Task owner
    cdef public Port port
    cdef public long long submit_ns
    cdef public long long begun_ns
    cdef public bint seen
    cdef public bint waiting
    cdef public Request reply
