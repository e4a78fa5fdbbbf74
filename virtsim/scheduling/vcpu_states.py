"""Where a vCPU is, what its time counts as, and the instants and lengths that stand for "never"."""

#: A CPU that stands still has been followed up to here, ns: later than any event.
FAR_NS = 1 << 60
#: CPU time of a vCPU whose guest is busy, or of a task that spins: ended from outside, ns.
ENDLESS_NS = 1 << 60

# Where a vCPU is: on its way in, in its guest, halted but polling, halted.
AWAY, GUEST, POLLING, HALTED = range(4)
# What its time counts as.
BUSY, OVERHEAD, STEAL, IDLE = range(4)

# What may wait for a vCPU, besides timers and posts: requests that are done, a back end on it that has work.
REQUEST_DONE, BACK_END_CALLED = 41, 42

#: The kind of event at which a hypervisor notices that a vCPU spins.
PAUSE_LOOP = 40
