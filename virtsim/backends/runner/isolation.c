/* A container: namespaces, an empty root, no capabilities, a seccomp filter, lowered limits. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

/* Host uid and gid that a guest's root is mapped to when the runner is root: nobody. */
#define UNPRIVILEGED_ID 65534

static bool rootless(void)
{
    return geteuid() != 0;
}

/* The namespaces a guest's first process is born into; isolate() makes the others. Without root, a
 * user namespace is what gives the right to make them. */
int namespace_flags(const struct guest *g)
{
    if (!g->isolated)
        return 0;
    return CLONE_NEWPID | CLONE_NEWNS | (rootless() ? CLONE_NEWUSER : 0);
}

static void write_text(int directory, const char *path, enum failure_kind kind, int guest, const char *text)
{
    int file = openat(directory, path, O_WRONLY | O_CLOEXEC);
    if (file < 0 || write(file, text, strlen(text)) != (ssize_t)strlen(text))
        fail(kind, guest, "writing %s", path);
    close(file);
}

/* ---- User namespace ---- */

static void map_own_user(int guest, int proc, uid_t uid, gid_t gid)
{
    char text[64];
    write_text(proc, "self/setgroups", FAIL_USER_NAMESPACE, guest, "deny");
    snprintf(text, sizeof text, "0 %u 1", uid);
    write_text(proc, "self/uid_map", FAIL_USER_NAMESPACE, guest, text);
    snprintf(text, sizeof text, "0 %u 1", gid);
    write_text(proc, "self/gid_map", FAIL_USER_NAMESPACE, guest, text);
}

/* Only a process outside the new namespace may map an id that is not its own: a helper stays outside. */
static void map_parent(int guest, int proc, const char *pid, int wait_for)
{
    char byte, path[64], text[64];
    if (read(wait_for, &byte, 1) != 1)
        _exit(1);
    snprintf(text, sizeof text, "0 %d 1", UNPRIVILEGED_ID);
    snprintf(path, sizeof path, "%s/uid_map", pid);
    write_text(proc, path, FAIL_USER_NAMESPACE, guest, text);
    snprintf(path, sizeof path, "%s/gid_map", pid);
    write_text(proc, path, FAIL_USER_NAMESPACE, guest, text);
    _exit(0);
}

static void enter_user_namespace(int guest, int proc)
{
    int gate[2], status;
    char pid[32] = "";
    if (setgroups(0, NULL) < 0 || pipe2(gate, O_CLOEXEC) < 0 || readlinkat(proc, "self", pid, sizeof pid - 1) < 0)
        fail(FAIL_USER_NAMESPACE, guest, "preparing a user namespace");
    pid_t helper = fork();
    if (helper < 0)
        fail(FAIL_PROCESSES, guest, "forking");
    if (helper == 0)
        map_parent(guest, proc, pid, gate[0]);
    if (unshare(CLONE_NEWUSER) < 0)
        fail(FAIL_USER_NAMESPACE, guest, "unshare");
    if (write(gate[1], "", 1) != 1 || waitpid(helper, &status, 0) < 0 || status != 0)
        fail(FAIL_USER_NAMESPACE, guest, "mapping the user");
    close(gate[0]);
    close(gate[1]);
    if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
        fail(FAIL_USER_NAMESPACE, guest, "becoming the guest's root");
    die_with_supervisor(proc); /* a change of user makes the kernel forget it */
}

/* ---- Root file system ---- */

/* A new tmpfs holds the runner and, later, the tasks' files; nothing else can be reached. */
static void make_root(int guest)
{
    const char *base = TEXT(HEADER->scratch);
    char path[4096];
    snprintf(path, sizeof path, "%s/runner", base);
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("virtsim", base, "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777") < 0)
        fail(FAIL_MOUNT_NAMESPACE, guest, "mounting a tmpfs");
    int file = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0555);
    if (file < 0)
        fail(FAIL_MOUNT_NAMESPACE, guest, "creating a mount point");
    close(file);
    if (mount(TEXT(HEADER->runner), path, NULL, MS_BIND, NULL) < 0)
        fail(FAIL_MOUNT_NAMESPACE, guest, "binding the runner");
    if (chdir(base) < 0)
        fail(FAIL_MOUNT_NAMESPACE, guest, "chdir");
    if (syscall(SYS_pivot_root, ".", ".") == 0) {
        if (umount2(".", MNT_DETACH) < 0)
            fail(FAIL_MOUNT_NAMESPACE, guest, "detaching the old root");
    } else if (mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0) { /* an initramfs cannot be pivoted */
        fail(FAIL_MOUNT_NAMESPACE, guest, "pivot_root");
    }
    if (chdir("/") < 0)
        fail(FAIL_MOUNT_NAMESPACE, guest, "chdir");
}

/* ---- Time namespace ---- */

/* The guest's monotonic and boot clocks start near 0, as after a boot. Returns the offset, ns. */
static int64_t shift_clocks(int guest, int proc)
{
    int64_t monotonic_s = clock_ns(CLOCK_MONOTONIC) / NS_PER_S, boot_s = clock_ns(CLOCK_BOOTTIME) / NS_PER_S;
    char text[128];
    if (unshare(CLONE_NEWTIME) < 0)
        fail(FAIL_TIME_NAMESPACE, guest, "unshare");
    snprintf(text, sizeof text, "monotonic %lld 0\nboottime %lld 0\n", -(long long)monotonic_s, -(long long)boot_s);
    write_text(proc, "self/timens_offsets", FAIL_TIME_NAMESPACE, guest, text);
    return -monotonic_s * NS_PER_S;
}

/* Run by the guest's first process, which is in its cgroups already. Returns the offset of its tasks'
 * monotonic clock, ns. */
int64_t isolate(int guest, int proc)
{
    static const struct {
        int flag;
        enum failure_kind kind;
    } own[] = {
        {CLONE_NEWUTS, FAIL_UTS_NAMESPACE},
        {CLONE_NEWIPC, FAIL_IPC_NAMESPACE},
        {CLONE_NEWNET, FAIL_NET_NAMESPACE},
        {CLONE_NEWCGROUP, FAIL_CGROUP_NAMESPACE},
    };
    const struct guest *g = &GUESTS[guest];
    if (rootless())
        map_own_user(guest, proc, geteuid(), getegid());
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (unshare(own[i].flag) < 0)
            fail(own[i].kind, guest, "unshare");
    if (sethostname(TEXT(g->name), strlen(TEXT(g->name))) < 0)
        fail(FAIL_UTS_NAMESPACE, guest, "sethostname");
    int64_t offset_ns = g->time_namespace ? shift_clocks(guest, proc) : 0;
    make_root(guest);
    if (g->user_namespace && !rootless())
        enter_user_namespace(guest, proc);
    return offset_ns;
}

/* ---- Privileges ---- */

static void lower_limits(int guest)
{
    const struct guest *g = &GUESTS[guest];
    const int64_t *pair = WORDS + g->rlimits;
    for (int64_t n = 0; n < g->rlimits_count; n++, pair += 2) {
        struct rlimit limit;
        if (getrlimit((int)pair[0], &limit) < 0)
            fail(FAIL_CAPABILITIES, guest, "getrlimit");
        if (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur > (rlim_t)pair[1])
            limit.rlim_cur = (rlim_t)pair[1];
        if (setrlimit((int)pair[0], &limit) < 0)
            fail(FAIL_CAPABILITIES, guest, "setrlimit");
    }
}

static void drop_capabilities(int guest)
{
    for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0)
            fail(FAIL_CAPABILITIES, guest, "dropping capability %d", capability);
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};
    if (syscall(SYS_capset, &head, none) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        fail(FAIL_CAPABILITIES, guest, "dropping all capabilities");
}

/* A filter that compares the call's number with `rules` numbers no call has, one after the other, and
 * then allows it: the length is what costs. A match, which never comes, would be refused; a jump in BPF
 * reaches 255 instructions, so a refusal stands behind every 200 rules. If it also looks at an argument,
 * the kernel cannot keep its verdict in the per-call bitmap (since Linux 5.11) and must run it each time. */
#define RULES_TO_A_REFUSAL 200
#define FIRST_UNUSED_CALL 0x10000
static void install_filter(int guest, int64_t rules, bool arguments)
{
    static struct sock_filter code[BPF_MAXINSNS];
    unsigned short n = 0;
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int64_t done = 0; done < rules;) {
        int64_t left = rules - done;
        int here = (int)(left < RULES_TO_A_REFUSAL ? left : RULES_TO_A_REFUSAL);
        for (int i = 0; i < here; i++, done++)
            code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(FIRST_UNUSED_CALL + done),
                                                     (uint8_t)(here - i), 0);
        code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JA, 1, 0, 0);
        code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
    }
    if (arguments) {
        code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[5]) + 4);
        code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0xDEADBEEF, 0, 1);
        code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
    }
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {.len = n, .filter = code};
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) < 0)
        fail(FAIL_SECCOMP, guest, "installing a filter of %lld rules", (long long)rules);
}

/* Run by each task of a container, last before the barrier. */
void drop_privileges(int guest)
{
    const struct guest *g = &GUESTS[guest];
    lower_limits(guest);
    drop_capabilities(guest);
    if (g->seccomp_rules > 0)
        install_filter(guest, g->seccomp_rules, g->seccomp_arguments != 0);
}
