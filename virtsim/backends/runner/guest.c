/* A guest's first process: it enters the guest's groups and namespaces, starts the tasks, reaps them. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner.h"

/* The signal comes when the parent dies, not if it died before: so look who the parent is. /proc tells it
 * in the supervisor's pid namespace; in a new one getppid() would be 0. */
void die_with_supervisor(int proc)
{
    char text[512];
    long long parent;
    const char *rest;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (read_text(proc, "self/stat", text, sizeof text) < 0 || (rest = strrchr(text, ')')) == NULL ||
        sscanf(rest, ") %*c %lld", &parent) != 1 || parent != HEADER->supervisor_pid)
        _exit(1);
}

static void enter_groups(int guest)
{
    const struct guest *g = &GUESTS[guest];
    for (int64_t i = 0; i < g->joins_count; i++) {
        const char *path = TEXT(WORDS[g->joins + i]);
        int file = open(path, O_WRONLY | O_CLOEXEC);
        if (file < 0 || write(file, "0", 1) != 1)
            fail(FAIL_CGROUP, guest, "entering %s", path);
        close(file);
    }
}

/* Channels are numbered through all guests; so is this array. */
static int (*make_pipes(int guest))[2]
{
    const struct guest *g = &GUESTS[guest];
    int(*pipes)[2] = calloc((size_t)HEADER->channels_count + 1, sizeof *pipes);
    if (pipes == NULL)
        fail(FAIL_MEMORY, guest, "allocating");
    for (int64_t c = g->channels; c < g->channels + g->channels_count; c++)
        if (CHANNELS[c].kind == CHANNEL_PIPE && pipe2(pipes[c], O_CLOEXEC) < 0)
            fail(FAIL_PROCESSES, guest, "making a pipe");
    return pipes;
}

/* The tasks are what an out-of-memory kill should choose, not the process that reports about them. */
static void prefer_for_oom_kill(int proc, const char *score)
{
    int file = openat(proc, "self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (file >= 0) {
        ssize_t ignored = write(file, score, strlen(score));
        (void)ignored;
        close(file);
    }
}

static void start_tasks(int guest, int proc, int64_t offset_ns, pid_t *pids)
{
    const struct guest *g = &GUESTS[guest];
    const int(*pipes)[2] = (const int(*)[2])make_pipes(guest);
    pid_t parent = getpid();
    for (int64_t i = 0; i < g->processes_count; i++) {
        pids[i] = fork();
        if (pids[i] < 0)
            fail(FAIL_PROCESSES, guest, "forking process %lld of %lld", (long long)i + 1, (long long)g->processes_count);
        if (pids[i] > 0)
            continue;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        task_main((int)(g->processes + i), pipes, offset_ns, proc);
    }
}

static int64_t time_ns(const struct timeval *t)
{
    return t->tv_sec * NS_PER_S + t->tv_usec * 1000LL;
}

/* The dead task is looked at in /proc before it is reaped. rusage counts its children too, in whole
 * microseconds; the difference to its own time is theirs. */
static void reap(struct process *p, pid_t pid, int proc)
{
    struct rusage both;
    int status;
    if (p->host_pid > 0)
        usage_after(proc, p);
    wait4(pid, &status, 0, &both);
    p->wait_status = status;
    int64_t children_ns = time_ns(&both.ru_utime) + time_ns(&both.ru_stime) - p->exec_after_ns;
    p->children_cpu_ns = p->exec_after_ns != NONE && children_ns > 0 ? children_ns : 0;
    if (p->ended_ns == 0 && HEADER->released_ns > 0) /* killed by somebody else */
        p->ended_ns = clock_ns(CLOCK_MONOTONIC) - HEADER->released_ns;
    bool never_ready = p->state == PROCESS_NONE;
    __atomic_store_n(&p->state, PROCESS_REAPED, __ATOMIC_RELEASE);
    if (never_ready) { /* killed while it set itself up: nobody must wait for it */
        __atomic_fetch_add(&HEADER->ready, 1, __ATOMIC_SEQ_CST);
        futex_wake(&HEADER->ready, 1);
    }
}

static void reap_all(int guest, int proc, const pid_t *pids)
{
    const struct guest *g = &GUESTS[guest];
    for (int64_t left = g->processes_count; left > 0;) {
        siginfo_t info;
        if (waitid(P_ALL, 0, &info, WEXITED | WNOWAIT) < 0) {
            if (errno == EINTR)
                continue;
            fail(FAIL_INTERNAL, guest, "waiting for the tasks");
        }
        int64_t i = 0;
        while (i < g->processes_count && pids[i] != info.si_pid)
            i++;
        if (i < g->processes_count) {
            reap(&PROCESSES[g->processes + i], info.si_pid, proc);
            left--;
        } else { /* a child of a task that was killed */
            waitpid(info.si_pid, NULL, 0);
        }
    }
}

_Noreturn void guest_main(int guest)
{
    const struct guest *g = &GUESTS[guest];
    int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (proc < 0)
        fail(FAIL_INTERNAL, guest, "opening /proc");
    die_with_supervisor(proc);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    enter_groups(guest);
    int64_t offset_ns = g->isolated ? isolate(guest, proc) : 0;
    pid_t *pids = calloc((size_t)g->processes_count, sizeof *pids);
    if (pids == NULL)
        fail(FAIL_MEMORY, guest, "allocating");
    prefer_for_oom_kill(proc, "1000");
    start_tasks(guest, proc, offset_ns, pids);
    prefer_for_oom_kill(proc, "0");
    reap_all(guest, proc, pids);
    _exit(0);
}
