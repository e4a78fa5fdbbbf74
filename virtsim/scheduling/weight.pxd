cpdef long long nice_load(long long nice)
cpdef long long group_load(long long cpu_weight)
cpdef long long scale_down(long long load)
cpdef tuple scaling(long long load)
