/* The kernel's own record of who ran when: a trace instance of our own, in a mount of our own, with the
 * scheduler's events of the tasks' processes only. Removing the instance puts everything back. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runner.h"

#define BUFFER_KB "16384" /* for each CPU */

static char tracing[2048]; /* where tracefs is mounted */
static int instance = NONE;

static bool mount_tracefs(const char *where)
{
    snprintf(tracing, sizeof tracing, "%s", where);
    return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("tracefs", where, "tracefs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == 0;
}

static bool set(const char *file, const char *text, int flags)
{
    int output = openat(instance, file, O_WRONLY | O_CLOEXEC | flags);
    if (output < 0)
        return false;
    bool good = write(output, text, strlen(text)) == (ssize_t)strlen(text);
    close(output);
    return good;
}

static bool open_instance(void)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/instances/%s", tracing, TEXT(HEADER->trace_name));
    if (mkdir(path, 0700) < 0)
        return false;
    instance = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return instance >= 0 && set("tracing_on", "0", O_TRUNC) && set("trace_clock", "mono", O_TRUNC) &&
           set("buffer_size_kb", BUFFER_KB, O_TRUNC) && set("events/sched/sched_switch/enable", "1", O_TRUNC) &&
           set("events/sched/sched_wakeup/enable", "1", O_TRUNC) &&
           set("events/sched/sched_wakeup_new/enable", "1", O_TRUNC);
}

/* If the kernel's trace cannot be had after all, the tasks' own time stamps stand in. */
void trace_prepare(void)
{
    char where[2048];
    snprintf(where, sizeof where, "%s/tracing", TEXT(HEADER->scratch));
    mkdir(where, 0700);
    if (!mount_tracefs(where) || !open_instance()) {
        HEADER->trace_errno = errno;
        trace_remove(TEXT(HEADER->trace_name));
        HEADER->timeline = TIMELINE_OWN;
    }
}

void trace_follow(void)
{
    char pid[32];
    for (int64_t i = 0; i < HEADER->processes_count; i++) {
        snprintf(pid, sizeof pid, "%lld ", (long long)PROCESSES[i].host_pid);
        set("set_event_pid", pid, O_APPEND);
    }
}

void trace_begin(void)
{
    set("tracing_on", "1", O_TRUNC);
}

static int64_t lost_events(void)
{
    char path[64], text[4096];
    int64_t lost = 0;
    for (int cpu = 0; cpu < 8192; cpu++) {
        snprintf(path, sizeof path, "per_cpu/cpu%d/stats", cpu);
        if (read_text(instance, path, text, sizeof text) < 0)
            break;
        const char *found = strstr(text, "overrun: ");
        lost += found ? strtoll(found + 9, NULL, 10) : 0;
    }
    return lost;
}

/* Without an output: stops recording. With one: copies the trace to it and removes the instance. */
void trace_end(int output)
{
    set("tracing_on", "0", O_TRUNC);
    if (output == NONE)
        return;
    HEADER->trace_lost = lost_events();
    static char text[1 << 16];
    int input = openat(instance, "trace", O_RDONLY | O_CLOEXEC);
    ssize_t n;
    while (input >= 0 && (n = read(input, text, sizeof text)) > 0)
        if (write(output, text, (size_t)n) != n)
            break;
    close(input);
    close(instance);
    trace_remove(TEXT(HEADER->trace_name));
}

/* 0, or an errno. */
int trace_remove(const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/instances/%s", tracing, name);
    return rmdir(path) == 0 || errno == ENOENT ? 0 : errno;
}

/* Whether tracefs can be mounted and has the scheduler's events; also where left-overs are removed. */
bool trace_possible(void)
{
    char path[4096];
    if (!mount_tracefs("/tmp"))
        return false;
    snprintf(path, sizeof path, "%s/events/sched/sched_switch/enable", tracing);
    return access(path, W_OK) == 0;
}
