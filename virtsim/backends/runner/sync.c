/* Futexes, and what is built on them. All are shared between processes. */
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runner.h"

/* The kernel compares 32 bits: the low half of a word on a little-endian machine. */
static int32_t *low_half(int64_t *word)
{
    return (int32_t *)word;
}

void futex_wait(int64_t *word, int32_t value, const struct timespec *timeout)
{
    syscall(SYS_futex, low_half(word), FUTEX_WAIT, value, timeout, NULL, 0);
}

void futex_wake(int64_t *word, int count)
{
    syscall(SYS_futex, low_half(word), FUTEX_WAKE, count, NULL, NULL, 0);
}

/* The mutex of U. Drepper, "Futexes are tricky" (2011), section 6, which glibc uses as well: no system
 * call while nobody has to wait. */
void mutex_lock(int64_t *state)
{
    int64_t seen = 0;
    if (__atomic_compare_exchange_n(state, &seen, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return;
    if (seen != 2)
        seen = __atomic_exchange_n(state, 2, __ATOMIC_ACQUIRE);
    while (seen != 0) {
        futex_wait(state, 2, NULL);
        seen = __atomic_exchange_n(state, 2, __ATOMIC_ACQUIRE);
    }
}

void mutex_unlock(int64_t *state)
{
    if (__atomic_exchange_n(state, 0, __ATOMIC_RELEASE) == 2)
        futex_wake(state, 1);
}

/* A channel without data is a semaphore: it wakes only when somebody waits. */
void channel_post(struct channel *c)
{
    __atomic_fetch_add(&c->messages, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&c->waiters, __ATOMIC_SEQ_CST) > 0)
        futex_wake(&c->messages, 1);
}

void channel_take(struct channel *c)
{
    for (;;) {
        int64_t seen = __atomic_load_n(&c->messages, __ATOMIC_SEQ_CST);
        while (seen > 0)
            if (__atomic_compare_exchange_n(&c->messages, &seen, seen - 1, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
                return;
        __atomic_fetch_add(&c->waiters, 1, __ATOMIC_SEQ_CST);
        futex_wait(&c->messages, 0, NULL);
        __atomic_fetch_sub(&c->waiters, 1, __ATOMIC_SEQ_CST);
    }
}
