/* A task: a process that sets itself up, waits for the release, and interprets its program. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner.h"

#define PAGE 4096

/* This process's own things; there is one task to a process. */
static struct {
    int64_t index;
    struct process *report;
    struct histogram *histograms;
    int64_t zero_ns; /* time 0 on the clock this process reads */
    const int (*pipes)[2];
    const char *runner;
    pid_t pid;
    int directory; /* of its file */
    char file_name[32];
    int file;
    char *data; /* what read and write move */
    char *fault_region;
    char **memory; /* of each buffer */
    bool spans;
} self;

static volatile sig_atomic_t signals_seen;

static void run_block(struct instruction *code, int64_t length);

static int64_t now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC) - self.zero_ns;
}

static void sleep_until(int64_t time_ns)
{
    struct timespec t = timespec_of(time_ns + self.zero_ns);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        continue;
}

/* The program's end. CPU time is read by the process itself, so that its exit does not count. */
static _Noreturn void finish(int code)
{
    struct process *me = self.report;
    me->cpu_after_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    me->ended_ns = now_ns();
    me->end = END_FINISHED;
    usage_at_finish(me);
    __atomic_store_n(&me->state, PROCESS_ENDED, __ATOMIC_RELEASE);
    _exit(code);
}

/* An operation that the kernel refuses ends the task; the report says which and why. */
static _Noreturn void give_up(const struct instruction *i)
{
    self.report->failed_errno = errno;
    self.report->failed_op = i->op;
    finish(1);
}

/* ---- Operations ---- */

static void touch(const struct instruction *i)
{
    struct buffer *b = &BUFFERS[self.report->buffers + i->index];
    char *memory = self.memory[i->index];
    int64_t position = b->position;
    for (int64_t n = i->pages; n > 0; n--) {
        *(volatile char *)(memory + position) = (char)n;
        position += i->size;
        if (position >= b->bytes)
            position -= b->bytes;
    }
    b->position = position;
}

static void system_call(const struct instruction *i)
{
    struct stat status;
    long result = 0;
    switch ((enum syscall_kind)i->kind) {
    case SYSCALL_NULL:
        syscall(SYS_getppid);
        break;
    case SYSCALL_STAT:
        result = fstatat(self.directory, self.file_name, &status, 0);
        break;
    case SYSCALL_OPEN_CLOSE:
        result = openat(self.directory, self.file_name, O_RDWR);
        if (result >= 0)
            result = close((int)result);
        break;
    case SYSCALL_READ:
        result = pread(self.file, self.data, (size_t)i->size, 0);
        break;
    case SYSCALL_WRITE:
        result = pwrite(self.file, self.data, (size_t)i->size, 0);
        break;
    }
    if (result < 0)
        give_up(i);
}

static void map_unmap(const struct instruction *i)
{
    size_t bytes = (size_t)i->pages * PAGE;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || munmap(memory, bytes) < 0)
        give_up(i);
}

/* One madvise that gives the pages back, then one write to each: the faults are anonymous, private,
 * of 4 KiB, and each gets a zeroed page. */
static void page_fault(const struct instruction *i)
{
    size_t bytes = (size_t)i->pages * PAGE;
    if (madvise(self.fault_region, bytes, MADV_DONTNEED) < 0)
        give_up(i);
    for (size_t at = 0; at < bytes; at += PAGE)
        *(volatile char *)(self.fault_region + at) = 1;
}

static void fork_wait(const struct instruction *i)
{
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    int status;
    if (child < 0 || waitpid(child, &status, 0) < 0)
        give_up(i);
}

/* The program is this very file: static, and it exits first thing when told to. */
static void fork_exec(const struct instruction *i)
{
    pid_t child = fork();
    if (child == 0) {
        execve(self.runner, (char *[]){"runner", "exit", NULL}, (char *[]){NULL});
        _exit(127);
    }
    int status;
    if (child < 0 || waitpid(child, &status, 0) < 0)
        give_up(i);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
        errno = ENOEXEC;
        give_up(i);
    }
}

static void send_message(const struct instruction *i)
{
    struct channel *c = &CHANNELS[i->index];
    if (c->kind == CHANNEL_FUTEX)
        channel_post(c);
    else if (write(self.pipes[i->index][1], self.data, (size_t)i->size) != i->size)
        give_up(i);
}

static void receive_message(const struct instruction *i)
{
    struct channel *c = &CHANNELS[i->index];
    if (c->kind == CHANNEL_FUTEX) {
        channel_take(c);
        return;
    }
    for (int64_t left = i->size; left > 0;) {
        ssize_t n = read(self.pipes[i->index][0], self.data, (size_t)left);
        if (n <= 0)
            give_up(i);
        left -= n;
    }
}

static void signal_self(const struct instruction *i)
{
    if (kill(self.pid, SIGUSR1) < 0)
        give_up(i);
}

static void sleep_for(const struct instruction *i)
{
    struct timespec t = timespec_of(sample(&DRAWS[i->draw]));
    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &t, &t) == EINTR)
        continue;
}

static void write_fsync(const struct instruction *i)
{
    if (pwrite(self.file, self.data, (size_t)i->size, 0) != i->size || fsync(self.file) < 0)
        give_up(i);
}

static void repeat(struct instruction *i)
{
    for (int64_t n = 0; n != i->count; n++)
        run_block(i + 1, i->body);
}

/* Rounds are due at begin + k * period, k = 1, 2, ..., however late the ones before were. A program that
 * begins with this begins at the task's start, not when the task first gets a CPU: that is up to the others. */
static void periodic(struct instruction *i)
{
    bool first = i == &INSTRUCTIONS[self.report->code];
    int64_t due = first ? self.report->start_ns : now_ns();
    for (int64_t n = 0; n != i->count; n++) {
        due += i->period_ns;
        sleep_until(due);
        record(&self.histograms[i->histogram2], now_ns() - due);
        run_block(i + 1, i->body);
        record(&self.histograms[i->histogram3], now_ns() - due);
    }
}

/* The next request of a queue, first come, first served; false when there are no more. */
static bool take_request(struct queue *q, int64_t *arrival_ns)
{
    mutex_lock(&q->mutex);
    bool more = q->left != 0 && (!q->open || q->draw != NONE || q->taken < q->times_count);
    if (more) {
        if (q->left != ENDLESS)
            q->left--;
        if (q->open && q->draw != NONE)
            q->arrival_ns += sample(&DRAWS[q->draw]);
        else if (q->open)
            q->arrival_ns = WORDS[q->times + q->taken];
        q->taken++;
        *arrival_ns = q->arrival_ns;
    }
    mutex_unlock(&q->mutex);
    return more;
}

static void keep_request(int64_t arrival_ns, int64_t start_ns, int64_t end_ns)
{
    if (HEADER->requests_used >= HEADER->requests_count)
        return;
    int64_t slot = __atomic_fetch_add(&HEADER->requests_used, 1, __ATOMIC_RELAXED);
    if (slot < HEADER->requests_count)
        REQUESTS[slot] = (struct request){self.index, arrival_ns, start_ns, end_ns};
}

static void serve(struct instruction *i)
{
    struct queue *q = &QUEUES[i->index];
    int64_t arrival_ns;
    while (take_request(q, &arrival_ns)) {
        if (q->open) {
            if (arrival_ns > now_ns())
                sleep_until(arrival_ns);
        } else { /* closed: the request is made when the thinking is over */
            sleep_for(i);
            arrival_ns = now_ns();
        }
        int64_t start_ns = now_ns();
        run_block(i + 1, i->body);
        int64_t end_ns = now_ns();
        record(&self.histograms[i->histogram2], end_ns - arrival_ns);
        keep_request(arrival_ns, start_ns, end_ns);
    }
}

/* ---- Interpreter ---- */

static void execute(struct instruction *i)
{
    switch ((enum opcode)i->op) {
    case OP_COMPUTE:
        compute_rounds((uint64_t)sample(&DRAWS[i->draw]));
        break;
    case OP_TOUCH:
        touch(i);
        break;
    case OP_SYSCALL:
        system_call(i);
        break;
    case OP_MAP_UNMAP:
        map_unmap(i);
        break;
    case OP_PAGE_FAULT:
        page_fault(i);
        break;
    case OP_FORK_WAIT:
        fork_wait(i);
        break;
    case OP_FORK_EXEC:
        fork_exec(i);
        break;
    case OP_SEND:
        send_message(i);
        break;
    case OP_RECEIVE:
        receive_message(i);
        break;
    case OP_SIGNAL:
        signal_self(i);
        break;
    case OP_SLEEP:
        sleep_for(i);
        break;
    case OP_PERIODIC:
        periodic(i);
        break;
    case OP_SERVE:
        serve(i);
        break;
    case OP_LOCK:
        mutex_lock(&MUTEXES[i->index].state);
        break;
    case OP_UNLOCK:
        mutex_unlock(&MUTEXES[i->index].state);
        break;
    case OP_WRITE_FSYNC:
        write_fsync(i);
        break;
    case OP_REPEAT:
        repeat(i);
        break;
    case OP_EXIT:
        bump(&self.report->operations[OP_EXIT], 1);
        finish(0);
    case OP_NOTHING:
        break;
    }
}

static void keep_span(int64_t begin_ns, int64_t end_ns)
{
    if (HEADER->spans_used >= HEADER->spans_count)
        return;
    int64_t slot = __atomic_fetch_add(&HEADER->spans_used, 1, __ATOMIC_RELAXED);
    if (slot < HEADER->spans_count)
        SPANS[slot] = (struct span){self.index, sched_getcpu(), begin_ns, end_ns};
}

static void run_block(struct instruction *code, int64_t length)
{
    for (struct instruction *i = code, *end = code + length; i < end; i += 1 + i->body) {
        bool sampled = i->histogram != NONE && (i->executed++ & i->sample_mask) == 0;
        bool spanned = self.spans && i->body == 0;
        if (sampled || spanned) {
            int64_t begin_ns = now_ns();
            execute(i);
            int64_t end_ns = now_ns();
            if (sampled)
                record(&self.histograms[i->histogram], end_ns - begin_ns);
            if (spanned)
                keep_span(begin_ns, end_ns);
        } else {
            execute(i);
        }
        bump(&self.report->operations[i->op], 1);
    }
}

/* Time to run a block of harmless code, ns; for measuring the interpreter itself. */
int64_t measure_block(const struct instruction *code, int64_t length)
{
    static struct process nobody;
    static struct histogram scratch;
    struct instruction copy[4];
    memcpy(copy, code, (size_t)length * sizeof *code);
    self.report = &nobody;
    self.histograms = &scratch;
    int64_t begin_ns = now_ns();
    run_block(copy, length);
    return now_ns() - begin_ns;
}

/* ---- Setting up ---- */

static void on_signal(int number)
{
    (void)number;
    signals_seen = 1;
}

/* Private anonymous memory in 4 KiB pages, all present. Going over a memory limit here is an OOM kill. */
static char *present_memory(int64_t bytes)
{
    char *memory = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        fail(FAIL_MEMORY, (int)self.report->guest, "mapping a buffer of %lld bytes", (long long)bytes);
    madvise(memory, (size_t)bytes, MADV_NOHUGEPAGE);
    for (int64_t at = 0; at < bytes; at += PAGE)
        *(volatile char *)(memory + at) = 1;
    return memory;
}

static int64_t largest_transfer(const struct process *p)
{
    int64_t largest = PAGE;
    for (int64_t n = 0; n < p->code_count; n++) {
        const struct instruction *i = &INSTRUCTIONS[p->code + n];
        if (i->op != OP_TOUCH && i->size > largest)
            largest = i->size;
    }
    return largest;
}

static void prepare_memory(void)
{
    struct process *p = self.report;
    self.data = present_memory(largest_transfer(p));
    if (p->fault_bytes > 0)
        self.fault_region = present_memory(p->fault_bytes);
    self.memory = calloc((size_t)p->buffers_count + 1, sizeof *self.memory);
    if (self.memory == NULL)
        fail(FAIL_MEMORY, (int)p->guest, "allocating");
    for (int64_t b = 0; b < p->buffers_count; b++)
        self.memory[b] = present_memory(BUFFERS[p->buffers + b].bytes);
    populate(p, sizeof *p);
    populate(&INSTRUCTIONS[p->code], p->code_count * (int64_t)sizeof(struct instruction));
    populate(&HISTOGRAMS[p->histograms], p->histograms_count * (int64_t)sizeof(struct histogram));
}

static void prepare_file(void)
{
    struct process *p = self.report;
    if (p->file_bytes == NONE)
        return;
    const char *where = GUESTS[p->guest].isolated ? "/" : TEXT(HEADER->scratch);
    snprintf(self.file_name, sizeof self.file_name, "file.%lld", (long long)self.index);
    self.directory = open(where, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    self.file = openat(self.directory, self.file_name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (self.directory < 0 || self.file < 0)
        fail(FAIL_TMPFS, (int)p->guest, "creating a file in %s", where);
    for (int64_t at = 0; at < p->file_bytes;) {
        int64_t left = p->file_bytes - at;
        ssize_t n = pwrite(self.file, self.data, (size_t)(left < PAGE ? left : PAGE), at);
        if (n <= 0)
            fail(FAIL_TMPFS, (int)p->guest, "filling a file in %s", where);
        at += n;
    }
}

static void prepare_signals(void)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    self.pid = getpid();
}

static void wait_for_release(void)
{
    struct header *h = HEADER;
    __atomic_store_n(&self.report->state, PROCESS_READY, __ATOMIC_RELEASE);
    __atomic_fetch_add(&h->ready, 1, __ATOMIC_SEQ_CST);
    futex_wake(&h->ready, 1);
    while (__atomic_load_n(&h->go, __ATOMIC_ACQUIRE) == 0)
        futex_wait(&h->go, 0, NULL);
}

_Noreturn void task_main(int process, const int (*pipes)[2], int64_t clock_offset_ns, int host_proc)
{
    struct process *p = &PROCESSES[process];
    const struct guest *g = &GUESTS[p->guest];
    self.index = process;
    self.report = p;
    self.histograms = HISTOGRAMS;
    self.pipes = pipes;
    self.runner = g->isolated ? "/runner" : TEXT(HEADER->runner);
    self.spans = HEADER->timeline == TIMELINE_OWN;

    char link[32] = "";
    if (readlinkat(host_proc, "self", link, sizeof link - 1) < 0)
        fail(FAIL_INTERNAL, (int)p->guest, "reading the process's number from /proc");
    p->host_pid = strtoll(link, NULL, 10);
    close(host_proc);

    prepare_signals();
    prepare_memory();
    prepare_file();
    if (prctl(PR_SET_TIMERSLACK, (unsigned long)p->timer_slack_ns, 0, 0, 0) < 0)
        fail(FAIL_SCHEDULING, (int)p->guest, "setting the timer slack");
    if (g->isolated)
        drop_privileges((int)p->guest);

    wait_for_release();
    self.zero_ns = HEADER->released_ns + clock_offset_ns;
    if (p->start_ns > 0)
        sleep_until(p->start_ns);
    p->began_cpu = sched_getcpu();
    p->began_ns = now_ns();
    run_block(&INSTRUCTIONS[p->code], p->code_count);
    finish(0);
}
