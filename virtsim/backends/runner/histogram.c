/* Log-linear histograms: the buckets of virtsim/results/histogram.py. */
#include "runner.h"

static int64_t bucket_of(int64_t value_ns)
{
    if (value_ns < (1 << SUB_BITS))
        return value_ns;
    int shift = 63 - __builtin_clzll((uint64_t)value_ns) - SUB_BITS;
    return ((int64_t)shift << SUB_BITS) + (value_ns >> shift);
}

void record(struct histogram *h, int64_t value_ns)
{
    if (value_ns < 0)
        value_ns = 0;
    if (value_ns >= 1LL << LARGEST_BITS)
        value_ns = (1LL << LARGEST_BITS) - 1;
    bump(&h->buckets[bucket_of(value_ns)], 1);
    if (h->count == 0 || value_ns < h->min_ns)
        bump(&h->min_ns, value_ns - h->min_ns);
    if (value_ns > h->max_ns)
        bump(&h->max_ns, value_ns - h->max_ns);
    bump(&h->sum_ns, value_ns);
    bump(&h->count, 1);
}
