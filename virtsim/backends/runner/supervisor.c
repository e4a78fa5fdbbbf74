/* The supervisor of a run: starts the guests, releases all tasks at once, stops them in time, keeps the
 * accounts. It sleeps while the tasks run. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner.h"

#define TO_BECOME_READY_NS (60 * NS_PER_S)
#define TO_DIE_NS (30 * NS_PER_S)
#define PRIORITY 50

/* sched_setattr's argument, version 0; glibc has no name for it. */
struct scheduling {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};

static int own_proc;      /* /proc, open */
static int64_t guests_up; /* first processes that have not ended */

/* ---- Starting ---- */

/* In the real-time class the end of the run is not kept waiting by the tasks; second best is nice -20. */
static void become_prompt(void)
{
    struct sched_param p = {.sched_priority = PRIORITY};
    HEADER->real_time = sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &p) == 0;
    if (!HEADER->real_time)
        setpriority(PRIO_PROCESS, 0, -20);
    prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0);
}

static void start_guest(int number)
{
    struct guest *g = &GUESTS[number];
    int flags = namespace_flags(g);
    long pid = syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, NULL);
    if (pid < 0)
        fail(flags && geteuid() != 0 ? FAIL_USER_NAMESPACE : FAIL_PID_NAMESPACE, number, "clone");
    if (pid == 0) {
        if (!HEADER->real_time)
            setpriority(PRIO_PROCESS, 0, 0);
        guest_main(number);
    }
    g->init_pid = pid;
    guests_up++;
}

/* A guest whose first process has ended while tasks of it were left was killed, out of memory most likely. */
static void note_lost(int number)
{
    struct guest *g = &GUESTS[number];
    for (int64_t p = g->processes; p < g->processes + g->processes_count; p++) {
        if (PROCESSES[p].state == PROCESS_REAPED)
            continue;
        g->lost = 1;
        if (PROCESSES[p].state == PROCESS_NONE)
            __atomic_fetch_add(&HEADER->ready, 1, __ATOMIC_SEQ_CST);
    }
}

static void reap_guests(void)
{
    pid_t pid;
    while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
        for (int g = 0; g < HEADER->guests_count; g++)
            if (GUESTS[g].init_pid == pid) {
                guests_up--;
                note_lost(g);
            }
}

static bool await_ready(void)
{
    struct header *h = HEADER;
    int64_t give_up_ns = clock_ns(CLOCK_MONOTONIC) + TO_BECOME_READY_NS;
    struct timespec pause = timespec_of(20 * 1000 * 1000);
    for (;;) {
        int64_t ready = __atomic_load_n(&h->ready, __ATOMIC_SEQ_CST);
        if (h->failed != FAIL_NOTHING)
            return false;
        if (ready >= h->processes_count)
            return true;
        if (clock_ns(CLOCK_MONOTONIC) > give_up_ns) {
            fail_softly(FAIL_INTERNAL, NOBODY, ETIMEDOUT, "waiting until all tasks are ready");
            return false;
        }
        futex_wait(&h->ready, (int32_t)ready, &pause);
        reap_guests();
    }
}

static bool alive(const struct process *p)
{
    return __atomic_load_n(&p->state, __ATOMIC_ACQUIRE) == PROCESS_READY && !GUESTS[p->guest].lost;
}

/* From out here, because a guest may have no right to it; the tasks are waiting at the barrier. */
static bool schedule_task(const struct process *p)
{
    struct scheduling s = {
        .size = 48,
        .policy = (uint32_t)p->policy,
        .nice = (int32_t)p->nice,
        .priority = (uint32_t)p->priority,
        .runtime = (uint64_t)p->slice_ns,
        .deadline = (uint64_t)p->deadline_ns,
        .period = (uint64_t)p->period_ns,
    };
    if (syscall(SYS_sched_setattr, (pid_t)p->host_pid, &s, 0) < 0) {
        fail_softly(FAIL_SCHEDULING, (int)p->guest, errno,
                    p->deadline_ns > 0 ? "sched_setattr: a deadline task may use all CPUs or none, and is admitted"
                                       : "sched_setattr");
        return false;
    }
    struct scheduling back = {.size = 48};
    if (p->slice_ns > 0 && (syscall(SYS_sched_getattr, (pid_t)p->host_pid, &back, 48, 0) < 0 ||
                            (int64_t)back.runtime != p->slice_ns)) {
        fail_softly(FAIL_SCHEDULING, (int)p->guest, EOPNOTSUPP, "a slice of its own (Linux 6.12 has it)");
        return false;
    }
    if (p->cpus_count > 0) {
        cpu_set_t *set = CPU_ALLOC(8192);
        size_t bytes = CPU_ALLOC_SIZE(8192);
        if (set == NULL)
            return false;
        CPU_ZERO_S(bytes, set);
        for (int64_t i = 0; i < p->cpus_count; i++)
            CPU_SET_S((size_t)WORDS[p->cpus + i], bytes, set);
        int result = sched_setaffinity((pid_t)p->host_pid, bytes, set);
        CPU_FREE(set);
        if (result < 0) {
            fail_softly(FAIL_CPUS, (int)p->guest, errno, "sched_setaffinity");
            return false;
        }
    }
    return true;
}

/* ---- Accounts ---- */

/* A process's CPU clock, read from outside, is exact even while it runs on another CPU; what /proc and
 * the cgroups show is brought up to date by reading it. */
static int64_t cpu_clock_ns(const struct process *p)
{
    clockid_t clock;
    if (clock_getcpuclockid((pid_t)p->host_pid, &clock) != 0)
        return NONE;
    return clock_ns(clock);
}

static void take_snapshots(bool after)
{
    for (int64_t i = 0; i < HEADER->snapshots_count; i++) {
        struct snapshot *s = &SNAPSHOTS[i];
        int64_t n = read_text(AT_FDCWD, TEXT(s->path), (char *)(after ? s->after : s->before), SNAPSHOT_BYTES);
        *(after ? &s->after_bytes : &s->before_bytes) = n;
    }
}

static bool do_writes(enum write_phase phase)
{
    for (int64_t i = 0; i < HEADER->writes_count; i++) {
        const struct write *w = &WRITES[i];
        if (w->phase != phase)
            continue;
        const char *text = TEXT(w->text);
        int file = open(TEXT(w->path), O_WRONLY | O_CLOEXEC);
        bool good = file >= 0 && write(file, text, strlen(text)) == (ssize_t)strlen(text);
        if (!good && phase == WRITE_BEFORE_RELEASE) {
            char step[FAILURE_WORDS * 8];
            snprintf(step, sizeof step, "writing %s to %s", text, TEXT(w->path));
            fail_softly(FAIL_CGROUP, NOBODY, errno, step);
        }
        if (file >= 0)
            close(file);
        if (!good && phase == WRITE_BEFORE_RELEASE)
            return false;
    }
    return true;
}

/* ---- Bandwidth periods ---- */

/* Linux starts the period timer of each group at a random phase (init_cfs_bandwidth() in
 * kernel/sched/fair.c), while the first quota is there at once: a run of n periods would get a random part
 * of a quota more or less. So the phases are found, by watching nr_periods, and the release is put on the
 * beginning of a period of the first limited group; those of the others are reported. */
#define LOOK_EVERY_NS 20000
#define BEFORE_BOUNDARY_NS 3000000

static int64_t periods_so_far(const struct period *p)
{
    char text[4096];
    const char *found;
    if (read_text(AT_FDCWD, TEXT(p->statistics), text, sizeof text) < 0 || (found = strstr(text, "nr_periods ")) == NULL)
        return NONE;
    return strtoll(found + strlen("nr_periods "), NULL, 10);
}

static void find_boundaries(void)
{
    struct timespec pause = timespec_of(LOOK_EVERY_NS);
    int64_t give_up_ns = clock_ns(CLOCK_MONOTONIC), unseen = HEADER->periods_count;
    for (int64_t i = 0; i < HEADER->periods_count; i++) {
        int64_t two_ns = clock_ns(CLOCK_MONOTONIC) + 2 * PERIODS[i].period_ns;
        give_up_ns = two_ns > give_up_ns ? two_ns : give_up_ns;
    }
    while (unseen > 0 && clock_ns(CLOCK_MONOTONIC) < give_up_ns) {
        for (struct period *p = PERIODS; p < PERIODS + HEADER->periods_count; p++)
            if (p->boundary_ns == 0 && periods_so_far(p) > p->before) {
                p->boundary_ns = clock_ns(CLOCK_MONOTONIC);
                unseen--;
            }
        nanosleep(&pause, NULL);
    }
}

/* ---- Ticks ---- */

/* Where in a tick a run begins decides who preempts whom for all of it: a task that wakes every 10 ms meets
 * ticks of 4 ms at two phases only. So the plan says the part of a tick, and the model begins there too. The
 * coarse clock moves when a tick is served; how far from now that is, only watching it can tell. */
static void find_tick(int64_t *tick_at_ns)
{
    struct timespec resolution;
    clock_getres(CLOCK_MONOTONIC_COARSE, &resolution);
    HEADER->tick_ns = resolution.tv_sec * NS_PER_S + resolution.tv_nsec;
    int64_t before = clock_ns(CLOCK_MONOTONIC_COARSE), now = clock_ns(CLOCK_MONOTONIC);
    int64_t give_up_ns = now + 4 * HEADER->tick_ns;
    while (clock_ns(CLOCK_MONOTONIC_COARSE) == before && now < give_up_ns)
        now = clock_ns(CLOCK_MONOTONIC);
    *tick_at_ns = now < give_up_ns ? now : 0;
}

/* The first moment in a cycle that leaves time for the last preparations. */
static int64_t next_in_cycle_ns(int64_t seen_ns, int64_t cycle_ns)
{
    int64_t earliest_ns = clock_ns(CLOCK_MONOTONIC) + BEFORE_BOUNDARY_NS;
    return seen_ns + ((earliest_ns - seen_ns) / cycle_ns + 1) * cycle_ns;
}

/* The next beginning of a period of the first limited group; else the planned part of a tick; else now. */
static int64_t good_moment_ns(int64_t tick_at_ns)
{
    if (HEADER->periods_count > 0 && PERIODS[0].boundary_ns != 0)
        return next_in_cycle_ns(PERIODS[0].boundary_ns, PERIODS[0].period_ns);
    if (tick_at_ns == 0)
        return 0;
    int64_t passed_ns = HEADER->tick_ns * HEADER->tick_share_ppm / 1000000;
    return next_in_cycle_ns(tick_at_ns + passed_ns, HEADER->tick_ns);
}

/* ---- The run ---- */

static bool prepare_release(void)
{
    for (int64_t i = 0; i < HEADER->processes_count; i++)
        if (alive(&PROCESSES[i]) && !schedule_task(&PROCESSES[i]))
            return false;
    if (HEADER->timeline == TIMELINE_KERNEL)
        trace_follow();
    for (int64_t i = 0; i < HEADER->processes_count; i++)
        if (alive(&PROCESSES[i]))
            usage_before(own_proc, &PROCESSES[i]);
    for (struct period *p = PERIODS; p < PERIODS + HEADER->periods_count; p++)
        p->before = periods_so_far(p);
    if (!do_writes(WRITE_BEFORE_RELEASE))
        return false;
    find_boundaries();
    return true;
}

/* The accounts at time 0. */
static void open_accounts(void)
{
    for (int64_t i = 0; i < HEADER->processes_count; i++)
        if (alive(&PROCESSES[i])) {
            PROCESSES[i].cpu_before_ns = cpu_clock_ns(&PROCESSES[i]);
            PROCESSES[i].opened = 1;
        }
    take_snapshots(false);
    if (HEADER->timeline == TIMELINE_KERNEL)
        trace_begin();
}

static void release(void)
{
    struct header *h = HEADER;
    int64_t tick_at_ns;
    find_tick(&tick_at_ns);
    struct timespec moment = timespec_of(good_moment_ns(tick_at_ns));
    open_accounts();
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &moment, NULL);
    h->released_ns = clock_ns(CLOCK_MONOTONIC);
    if (tick_at_ns != 0)
        h->tick_passed_ns = (h->released_ns - tick_at_ns) % h->tick_ns;
    __atomic_store_n(&h->go, 1, __ATOMIC_SEQ_CST);
    futex_wake(&h->go, INT_MAX);
}

/* Until the duration is over or every guest has ended. SIGCHLD is blocked and waited for. */
static void await_end(void)
{
    int64_t deadline_ns = HEADER->released_ns + HEADER->duration_ns;
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    for (;;) {
        reap_guests();
        int64_t left_ns = deadline_ns - clock_ns(CLOCK_MONOTONIC);
        if (guests_up == 0 || left_ns <= 0)
            return;
        struct timespec left = timespec_of(left_ns);
        sigtimedwait(&child, NULL, &left);
    }
}

/* First, for all tasks that are left, what changes fastest: CPU time and operations. Then what takes
 * longer to read. Then they are killed. */
static void stop(void)
{
    struct header *h = HEADER;
    int64_t begin_ns = clock_ns(CLOCK_MONOTONIC);
    h->stopped_ns = begin_ns - h->released_ns;
    h->late_ns = h->stopped_ns > h->duration_ns ? h->stopped_ns - h->duration_ns : 0;
    for (int64_t i = 0; i < h->processes_count; i++) {
        struct process *p = &PROCESSES[i];
        int64_t cpu_ns = alive(p) ? cpu_clock_ns(p) : NONE;
        if (cpu_ns != NONE && alive(p)) {
            p->cpu_after_ns = cpu_ns;
            p->end = END_STOPPED;
            memcpy(p->operations_at_stop, p->operations, sizeof p->operations);
        }
    }
    h->stop_took_ns = clock_ns(CLOCK_MONOTONIC) - begin_ns;
    if (h->timeline == TIMELINE_KERNEL)
        trace_end(NONE);
    take_snapshots(true);
    for (int64_t i = 0; i < h->processes_count; i++)
        if (alive(&PROCESSES[i]))
            usage_at_stop(own_proc, &PROCESSES[i]);
    for (int64_t i = 0; i < h->processes_count; i++)
        if (alive(&PROCESSES[i]))
            kill((pid_t)PROCESSES[i].host_pid, SIGKILL);
}

static void kill_guests(void)
{
    for (int g = 0; g < HEADER->guests_count; g++)
        if (GUESTS[g].init_pid > 0)
            kill((pid_t)GUESTS[g].init_pid, SIGKILL);
}

/* A throttled task dies only when it runs again: the writes after the stop lift the quotas. */
static void await_guests(void)
{
    int64_t give_up_ns = clock_ns(CLOCK_MONOTONIC) + TO_DIE_NS;
    struct timespec pause = timespec_of(2 * 1000 * 1000);
    while (guests_up > 0 && clock_ns(CLOCK_MONOTONIC) < give_up_ns) {
        reap_guests();
        if (guests_up > 0)
            nanosleep(&pause, NULL);
    }
}

static void save_trace(void)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/trace.txt", TEXT(HEADER->scratch));
    int output = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (output < 0)
        return;
    trace_end(output);
    close(output);
}

int supervise(void)
{
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    own_proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char link[32] = "";
    if (readlinkat(own_proc, "self", link, sizeof link - 1) < 0)
        return 3;
    HEADER->supervisor_pid = strtoll(link, NULL, 10);
    become_prompt();
    measure_runner();
    HEADER->round_before_fs = round_fs();
    if (HEADER->timeline == TIMELINE_KERNEL)
        trace_prepare();
    for (int g = 0; g < HEADER->guests_count; g++)
        start_guest(g);
    if (!await_ready() || !prepare_release()) {
        kill_guests();
        await_guests();
        return 2;
    }
    release();
    await_end();
    stop();
    do_writes(WRITE_AFTER_STOP);
    await_guests();
    if (guests_up > 0) {
        kill_guests();
        await_guests();
    }
    HEADER->round_after_fs = round_fs();
    if (HEADER->timeline == TIMELINE_KERNEL)
        save_trace();
    return 0;
}
