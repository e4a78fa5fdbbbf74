/* What the parts of the runner share. Read image.h first, then supervisor.c, guest.c, task.c. */
#ifndef VIRTSIM_RUNNER_H
#define VIRTSIM_RUNNER_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "image.h"

extern char *image; /* the mapped block; the macros below find their way in it */

#define HEADER ((struct header *)image)
#define TABLE(kind, name) ((struct kind *)(image + HEADER->name##_at))
#define GUESTS TABLE(guest, guests)
#define PROCESSES TABLE(process, processes)
#define INSTRUCTIONS TABLE(instruction, instructions)
#define DRAWS TABLE(draw, draws)
#define BUFFERS TABLE(buffer, buffers)
#define CHANNELS TABLE(channel, channels)
#define MUTEXES TABLE(mutex, mutexes)
#define QUEUES TABLE(queue, queues)
#define WRITES TABLE(write, writes)
#define PERIODS TABLE(period, periods)
#define SNAPSHOTS TABLE(snapshot, snapshots)
#define HISTOGRAMS TABLE(histogram, histograms)
#define REQUESTS TABLE(request, requests)
#define SPANS TABLE(span, spans)
#define WORDS ((int64_t *)(image + HEADER->words_at))
#define TEXT(offset) ((const char *)(image + HEADER->texts_at + (offset)))

#define NS_PER_S 1000000000LL

/* Time: the host's CLOCK_MONOTONIC. A guest with a time namespace reads it shifted by its offset. */
static inline int64_t clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * NS_PER_S + t.tv_nsec;
}

static inline struct timespec timespec_of(int64_t ns)
{
    return (struct timespec){.tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S};
}

/* Counters in the image have one writer; the store must happen now, for a SIGKILL may come next. */
static inline void bump(int64_t *counter, int64_t by)
{
    __atomic_store_n(counter, *counter + by, __ATOMIC_RELAXED);
}

/* main.c */
_Noreturn void fail(enum failure_kind kind, int guest, const char *step, ...) __attribute__((format(printf, 3, 4)));
void fail_softly(enum failure_kind kind, int guest, int error, const char *step);
void populate(void *from, int64_t bytes);

/* supervisor.c */
int supervise(void);

/* guest.c */
_Noreturn void guest_main(int guest);
void die_with_supervisor(int proc);

/* isolation.c */
int namespace_flags(const struct guest *g);
int64_t isolate(int guest, int host_proc);
void drop_privileges(int guest);

/* task.c */
_Noreturn void task_main(int process, const int (*pipes)[2], int64_t clock_offset_ns, int host_proc);
int64_t measure_block(const struct instruction *code, int64_t count);

/* usage.c */
struct usage {
    int64_t exec_ns, run_delay_ns, voluntary, involuntary, migrations, minor, major;
};
void read_usage(int proc, int64_t pid, struct usage *usage);
void usage_before(int proc, struct process *p);
void usage_at_stop(int proc, struct process *p);
void usage_at_finish(struct process *p);
void usage_after(int proc, struct process *p);
int64_t read_text(int directory, const char *path, char *text, int64_t room);

/* draw.c */
int64_t sample(struct draw *d);

/* cost.c */
void compute_rounds(uint64_t rounds);
int64_t round_fs(void);
void measure_runner(void);
void print_machine(void);

/* trace.c */
void trace_prepare(void);
void trace_follow(void);
void trace_begin(void);
void trace_end(int output);
int trace_remove(const char *name);
bool trace_possible(void);

/* sync.c */
void futex_wait(int64_t *word, int32_t value, const struct timespec *timeout);
void futex_wake(int64_t *word, int count);
void mutex_lock(int64_t *state);
void mutex_unlock(int64_t *state);
void channel_post(struct channel *c);
void channel_take(struct channel *c);

/* histogram.c */
void record(struct histogram *h, int64_t value_ns);

#endif
