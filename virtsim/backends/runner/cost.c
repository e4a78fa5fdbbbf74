/* The reference loop, and what the runner itself costs. */
#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif
#include <stdio.h>

#include "runner.h"

/* One round is one multiplication that needs the result of the one before: 3 cycles on x86-64 cores
 * since 2008 (A. Fog, "Instruction tables", IMUL r,r,i), so 1 ns at 3 GHz. The loop's counting runs
 * beside it. It is written in assembly so that no compiler can make it shorter. */
__attribute__((noinline)) void compute_rounds(uint64_t rounds)
{
    if (rounds == 0)
        return;
    uint64_t x = 0x9E3779B97F4A7C15u;
#if defined(__x86_64__)
    __asm__ volatile(".p2align 5\n"
                     "1: imulq $0x5851F42D, %0, %0\n"
                     "   decq %1\n"
                     "   jnz 1b\n"
                     : "+r"(x), "+r"(rounds)
                     :
                     : "cc");
#else
    do {
        x *= 0x5851F42Du;
        __asm__ volatile("" : "+r"(x));
    } while (--rounds);
#endif
}

/* Best of a few: something else may have had the CPU's caches or clock in the others. */
#define BATCHES 7

static int64_t best(int64_t (*measure)(void))
{
    int64_t least = measure();
    for (int i = 1; i < BATCHES; i++) {
        int64_t now = measure();
        least = now < least ? now : least;
    }
    return least;
}

#define ROUNDS 700000
static int64_t reference_batch(void)
{
    int64_t begin = clock_ns(CLOCK_THREAD_CPUTIME_ID), begin_wall = clock_ns(CLOCK_MONOTONIC);
    compute_rounds(ROUNDS);
    int64_t used = clock_ns(CLOCK_THREAD_CPUTIME_ID) - begin;
    return used > 0 ? used : clock_ns(CLOCK_MONOTONIC) - begin_wall; /* some kernels count CPU time in ticks */
}

/* CPU time of one round, fs: steal and preemption do not count, the clock rate of the core does. */
int64_t round_fs(void)
{
    return best(reference_batch) * 1000000 / ROUNDS;
}

#define STAMPS 1000
static int64_t stamp_batch(void)
{
    int64_t begin = clock_ns(CLOCK_MONOTONIC);
    for (int i = 0; i < STAMPS - 1; i++)
        clock_ns(CLOCK_MONOTONIC);
    return clock_ns(CLOCK_MONOTONIC) - begin;
}

/* Few enough for kernels whose clock is a system call under ptrace (User-Mode Linux: 18 us). */
#define DISPATCHES 4000
static int64_t dispatch_batch(void)
{
    struct instruction code[] = {
        {.op = OP_REPEAT, .body = 1, .count = DISPATCHES, .histogram = NONE},
        {.op = OP_NOTHING, .histogram = NONE},
    };
    return measure_block(code, 2);
}

static int64_t timed_batch(void)
{
    struct instruction code[] = {
        {.op = OP_REPEAT, .body = 1, .count = STAMPS, .histogram = NONE},
        {.op = OP_NOTHING, .histogram = 0},
    };
    return measure_block(code, 2);
}

void measure_runner(void)
{
    struct header *h = HEADER;
    h->timestamp_ps = best(stamp_batch) * 1000 / STAMPS;
    h->dispatch_ps = best(dispatch_batch) * 1000 / DISPATCHES;
    h->timing_ps = best(timed_batch) * 1000 / STAMPS - h->dispatch_ps;
}

#if defined(__x86_64__) || defined(__i386__)
#define IDENTIFICATIONS 200
static double identification_ns(void)
{
    unsigned a, b, c, d;
    int64_t begin = clock_ns(CLOCK_THREAD_CPUTIME_ID), begin_wall = clock_ns(CLOCK_MONOTONIC);
    for (int i = 0; i < IDENTIFICATIONS; i++)
        __cpuid(0, a, b, c, d);
    int64_t used = clock_ns(CLOCK_THREAD_CPUTIME_ID) - begin;
    return (double)(used > 0 ? used : clock_ns(CLOCK_MONOTONIC) - begin_wall) / IDENTIFICATIONS;
}

/* The signature of the monitor below, if there is one (leaf 1, ECX bit 31, tells), and batches of what CPUID takes. */
void print_machine(void)
{
    unsigned a, b, c, d, signature[3] = {0};
    __cpuid(1, a, b, c, d);
    if (c >> 31) {
        __cpuid(0x40000000, a, signature[0], signature[1], signature[2]);
        printf("monitor %.12s\n", signature[0] ? (char *)signature : "unknown");
    }
    printf("cpuid");
    for (int i = 0; i < 3 * BATCHES; i++)
        printf(" %.1f", identification_ns());
    printf("\n");
}
#else
void print_machine(void)
{
}
#endif
