/* The runner: runs the plan in a block of shared memory on this kernel. See image.h.
 *
 *   runner run FD PID        the plan in FD, for the owner PID, whose death ends everything
 *   runner draws FD COUNT    the first COUNT values of every draw in FD, a line each
 *   runner probe WHAT        whether this kernel lets us have WHAT: exit status 0, or an errno
 *   runner untrace NAME      removes a trace instance that was left over
 *   runner scheduler         prints the head of the kernel's sched/debug: slices and features
 *   runner machine           prints which monitor is below, if any, and what CPUID takes
 *   runner exit              exits; the program that fork_exec executes
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runner.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "The runner's futexes and its image need a little-endian machine."
#endif
#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

char *image;

/* The first failure is the one that is told. */
void fail_softly(enum failure_kind kind, int guest, int error, const char *step)
{
    int64_t nothing = FAIL_NOTHING;
    if (!__atomic_compare_exchange_n(&HEADER->failed, &nothing, kind, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        return;
    HEADER->failed_guest = guest;
    HEADER->failed_errno = error;
    snprintf((char *)HEADER->failed_step, sizeof HEADER->failed_step, "%s", step);
}

_Noreturn void fail(enum failure_kind kind, int guest, const char *step, ...)
{
    int error = errno;
    char text[sizeof HEADER->failed_step];
    va_list arguments;
    va_start(arguments, step);
    vsnprintf(text, sizeof text, step, arguments);
    va_end(arguments);
    fail_softly(kind, guest, error, text);
    futex_wake(&HEADER->ready, 1);
    _exit(2);
}

/* Maps the pages, so that no fault disturbs the run; whoever does it first pays for the memory. */
void populate(void *from, int64_t bytes)
{
    uintptr_t first = (uintptr_t)from & ~(uintptr_t)4095;
    uintptr_t last = ((uintptr_t)from + (uintptr_t)bytes + 4095) & ~(uintptr_t)4095;
    if (bytes <= 0 || madvise((void *)first, last - first, MADV_POPULATE_WRITE) == 0)
        return;
    for (uintptr_t page = first; page < last; page += 4096)
        __atomic_fetch_add((char *)page, 0, __ATOMIC_RELAXED);
}

static bool map_image(int file)
{
    struct stat status;
    if (fstat(file, &status) < 0)
        return false;
    image = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    return image != MAP_FAILED && status.st_size >= (off_t)sizeof(struct header) && HEADER->magic == IMAGE_MAGIC &&
           HEADER->version == IMAGE_VERSION && HEADER->bytes == status.st_size;
}

static int run(int file, pid_t owner)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != owner)
        return 1;
    if (!map_image(file))
        return 3;
    if (HEADER->bytes < 256 << 20)
        populate(image, HEADER->bytes);
    return supervise();
}

static int print_draws(int file, int64_t count)
{
    if (!map_image(file))
        return 3;
    for (int64_t d = 0; d < HEADER->draws_count; d++)
        for (int64_t n = 0; n < count; n++)
            printf("%lld%c", (long long)sample(&DRAWS[d]), n == count - 1 ? '\n' : ' ');
    return 0;
}

/* In a mount namespace of our own. Lockdown hides the files that could be written, but not this one. */
static int print_scheduler(void)
{
    static char text[1 << 16];
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("debugfs", "/tmp", "debugfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0 ||
        read_text(AT_FDCWD, "/tmp/sched/debug", text, sizeof text) < 0)
        return errno;
    char *cpus = strstr(text, "\ncpu#");
    printf("%.*s\n", cpus ? (int)(cpus - text) : 0, text);
    return 0;
}

static int probe_seccomp(void)
{
    struct sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {.len = 1, .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) < 0)
        return errno;
    return 0;
}

static int probe(const char *what)
{
    static const struct {
        const char *name;
        int flag;
    } namespaces[] = {
        {"user", CLONE_NEWUSER}, {"mount", CLONE_NEWNS}, {"pid", CLONE_NEWPID},       {"uts", CLONE_NEWUTS},
        {"ipc", CLONE_NEWIPC},   {"net", CLONE_NEWNET},  {"cgroup", CLONE_NEWCGROUP}, {"time", CLONE_NEWTIME},
    };
    if (strcmp(what, "seccomp") == 0)
        return probe_seccomp();
    if (strcmp(what, "tracefs") == 0)
        return trace_possible() ? 0 : errno ? errno : ENOENT;
    for (size_t i = 0; i < sizeof namespaces / sizeof *namespaces; i++)
        if (strcmp(what, namespaces[i].name) == 0) {
            int first = geteuid() != 0 ? CLONE_NEWUSER : 0;
            return unshare(first | namespaces[i].flag) == 0 ? 0 : errno;
        }
    return EINVAL;
}

int main(int count, char **arguments)
{
    if (count == 2 && strcmp(arguments[1], "exit") == 0)
        _exit(0);
    if (count == 4 && strcmp(arguments[1], "run") == 0)
        return run(atoi(arguments[2]), atoi(arguments[3]));
    if (count == 4 && strcmp(arguments[1], "draws") == 0)
        return print_draws(atoi(arguments[2]), atoll(arguments[3]));
    if (count == 3 && strcmp(arguments[1], "probe") == 0)
        return probe(arguments[2]);
    if (count == 2 && strcmp(arguments[1], "scheduler") == 0)
        return print_scheduler();
    if (count == 2 && strcmp(arguments[1], "machine") == 0) {
        print_machine();
        return 0;
    }
    if (count == 3 && strcmp(arguments[1], "untrace") == 0)
        return trace_possible() ? trace_remove(arguments[2]) : 1;
    fprintf(stderr, "runner: started by virtsim, not by hand; see main.c\n");
    return 64;
}
