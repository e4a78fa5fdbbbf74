/* What the kernel counted for a process, read from /proc; also for one that has ended but is not reaped. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "runner.h"

/* The text of a small file, NUL-terminated; its length, or -1. */
int64_t read_text(int directory, const char *path, char *text, int64_t room)
{
    int file = openat(directory, path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return -1;
    int64_t length = 0;
    ssize_t n;
    while (length < room - 1 && (n = read(file, text + length, (size_t)(room - 1 - length))) > 0)
        length += n;
    close(file);
    text[length] = '\0';
    return length;
}

/* The number after `key` and punctuation, or -1: "nr_migrations   :    3", "nonvoluntary_ctxt_switches:\t5". */
static int64_t number_after(const char *text, const char *key)
{
    const char *found = strstr(text, key);
    if (found == NULL)
        return NONE;
    found += strlen(key);
    return strtoll(found + strspn(found, " \t:"), NULL, 10);
}

void read_usage(int proc, int64_t pid, struct usage *usage)
{
    char path[64], text[8192];
    *usage = (struct usage){NONE, NONE, NONE, NONE, NONE, NONE, NONE};

    snprintf(path, sizeof path, "%lld/schedstat", (long long)pid);
    long long exec, delay;
    if (read_text(proc, path, text, sizeof text) > 0 && sscanf(text, "%lld %lld", &exec, &delay) == 2) {
        usage->exec_ns = exec;
        usage->run_delay_ns = delay;
    }
    snprintf(path, sizeof path, "%lld/status", (long long)pid);
    if (read_text(proc, path, text, sizeof text) > 0) {
        usage->voluntary = number_after(text, "\nvoluntary_ctxt_switches");
        usage->involuntary = number_after(text, "\nnonvoluntary_ctxt_switches");
    }
    snprintf(path, sizeof path, "%lld/sched", (long long)pid);
    if (read_text(proc, path, text, sizeof text) > 0)
        usage->migrations = number_after(text, "nr_migrations");

    /* "pid (name) state ..."; minflt, cminflt, majflt, cmajflt are the 8th to 11th field after the name. */
    snprintf(path, sizeof path, "%lld/stat", (long long)pid);
    long long minor, children_minor, major, children_major;
    const char *rest;
    if (read_text(proc, path, text, sizeof text) > 0 && (rest = strrchr(text, ')')) != NULL &&
        sscanf(rest, ") %*c %*d %*d %*d %*d %*d %*u %lld %lld %lld %lld", &minor, &children_minor, &major,
               &children_major) == 4) {
        usage->minor = minor + children_minor;
        usage->major = major + children_major;
    }
}

void usage_before(int proc, struct process *p)
{
    struct usage u;
    read_usage(proc, p->host_pid, &u);
    p->exec_before_ns = u.exec_ns;
    p->run_delay_before_ns = u.run_delay_ns;
    p->voluntary_before = u.voluntary;
    p->involuntary_before = u.involuntary;
    p->migrations_before = u.migrations;
    p->minor_before = u.minor;
    p->major_before = u.major;
}

/* What the run's end must not change: dying takes a switch or two and faults. */
static void count_events(struct process *p, const struct usage *u)
{
    p->voluntary_after = u->voluntary;
    p->involuntary_after = u->involuntary;
    p->migrations_after = u->migrations;
    p->minor_after = u->minor;
    p->major_after = u->major;
}

/* Of a task that is about to be stopped. */
void usage_at_stop(int proc, struct process *p)
{
    struct usage u;
    read_usage(proc, p->host_pid, &u);
    count_events(p, &u);
    p->counted = 1;
}

/* By a task of itself, at the end of its program. */
void usage_at_finish(struct process *p)
{
    struct rusage own, children;
    getrusage(RUSAGE_SELF, &own);
    getrusage(RUSAGE_CHILDREN, &children);
    p->voluntary_after = own.ru_nvcsw;
    p->involuntary_after = own.ru_nivcsw;
    p->minor_after = own.ru_minflt + children.ru_minflt;
    p->major_after = own.ru_majflt + children.ru_majflt;
    p->counted = 1;
}

/* Of a dead task. Only the scheduler's view of it is needed if it was counted before. */
void usage_after(int proc, struct process *p)
{
    struct usage u;
    read_usage(proc, p->host_pid, &u);
    p->exec_after_ns = u.exec_ns;
    p->run_delay_after_ns = u.run_delay_ns;
    if (p->counted)
        p->migrations_after = u.migrations;
    else
        count_events(p, &u);
}
