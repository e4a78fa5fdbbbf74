/* The image: one block of shared memory that holds the plan of a run and, when it is over, its report.
 *
 * Python writes the plan, the runner works through it and writes the report into the same block, so
 * that a process that is killed loses nothing. Python reads the layout from this very file (see
 * layout.py): there is one truth. The rules that make that easy: every member is an int64_t (or a
 * uint64_t, or an array of them) on a line of its own, a struct has no padding, constants are
 * #define NAME number, enums count from 0.
 *
 * A table is an array of one kind of struct; the header says where it begins (bytes from the start of
 * the image) and how long it is. "Index into words" and "text" refer to the pools of the same name.
 * Times are ns of CLOCK_MONOTONIC after time 0, which is the release of the tasks, unless said
 * otherwise.
 */
#ifndef VIRTSIM_IMAGE_H
#define VIRTSIM_IMAGE_H

#include <stdint.h>

#define IMAGE_MAGIC 0x3152554e4e455256
#define IMAGE_VERSION 1

/* Histograms: as in virtsim/results/histogram.py; durations up to 2**47 ns (39 h). */
#define SUB_BITS 7
#define LARGEST_BITS 47
#define BUCKETS 5248

#define SNAPSHOT_BYTES 16384
#define FAILURE_WORDS 32
#define NOBODY (-1)
#define ENDLESS (-1)
#define NONE (-1)

/* One for each operation of virtsim/workload/operations.py, in its order and under its name. */
enum opcode {
    OP_COMPUTE,
    OP_TOUCH,
    OP_SYSCALL,
    OP_MAP_UNMAP,
    OP_PAGE_FAULT,
    OP_FORK_WAIT,
    OP_FORK_EXEC,
    OP_SEND,
    OP_RECEIVE,
    OP_SIGNAL,
    OP_SLEEP,
    OP_PERIODIC,
    OP_SERVE,
    OP_LOCK,
    OP_UNLOCK,
    OP_WRITE_FSYNC,
    OP_REPEAT,
    OP_EXIT,
    OP_NOTHING,
};
#define OPCODES 19

enum syscall_kind {
    SYSCALL_NULL,
    SYSCALL_STAT,
    SYSCALL_OPEN_CLOSE,
    SYSCALL_READ,
    SYSCALL_WRITE,
};

/* In the order of virtsim.workload.draw.KINDS. */
enum draw_kind {
    DRAW_CONSTANT,
    DRAW_UNIFORM,
    DRAW_EXPONENTIAL,
    DRAW_LOGNORMAL,
    DRAW_PARETO,
    DRAW_HYPEREXPONENTIAL,
    DRAW_EMPIRICAL,
};

enum channel_kind {
    CHANNEL_PIPE,
    CHANNEL_FUTEX,
};

enum timeline_kind {
    TIMELINE_NONE,
    TIMELINE_KERNEL,
    TIMELINE_OWN,
};

enum write_phase {
    WRITE_BEFORE_RELEASE,
    WRITE_AFTER_STOP,
};

/* What was missing when a step failed; Python turns it into BackendUnavailable(capability, ...). */
enum failure_kind {
    FAIL_NOTHING,
    FAIL_INTERNAL,
    FAIL_USER_NAMESPACE,
    FAIL_MOUNT_NAMESPACE,
    FAIL_PID_NAMESPACE,
    FAIL_UTS_NAMESPACE,
    FAIL_IPC_NAMESPACE,
    FAIL_NET_NAMESPACE,
    FAIL_CGROUP_NAMESPACE,
    FAIL_TIME_NAMESPACE,
    FAIL_CGROUP,
    FAIL_SECCOMP,
    FAIL_CAPABILITIES,
    FAIL_SCHEDULING,
    FAIL_CPUS,
    FAIL_PROCESSES,
    FAIL_MEMORY,
    FAIL_TMPFS,
};

/* How a process's end came about; killed is what nobody here did. */
enum process_end {
    END_KILLED,
    END_FINISHED,
    END_STOPPED,
};

enum process_state {
    PROCESS_NONE,
    PROCESS_READY,
    PROCESS_ENDED,
    PROCESS_REAPED,
};

struct header {
    int64_t magic;
    int64_t version;
    int64_t bytes;
    int64_t owner_pid;
    int64_t duration_ns;
    int64_t tick_share_ppm; /* the release comes this part of a tick, in millionths, after a tick */
    int64_t timeline;
    int64_t trace_name; /* text: name of the trace instance */
    int64_t scratch;    /* text: directory in a tmpfs, for files and as a mount point */
    int64_t runner;     /* text: path of the runner */
    /* Tables */
    int64_t guests_at;
    int64_t guests_count;
    int64_t processes_at;
    int64_t processes_count;
    int64_t instructions_at;
    int64_t instructions_count;
    int64_t draws_at;
    int64_t draws_count;
    int64_t buffers_at;
    int64_t buffers_count;
    int64_t channels_at;
    int64_t channels_count;
    int64_t mutexes_at;
    int64_t mutexes_count;
    int64_t queues_at;
    int64_t queues_count;
    int64_t writes_at;
    int64_t writes_count;
    int64_t periods_at;
    int64_t periods_count;
    int64_t snapshots_at;
    int64_t snapshots_count;
    int64_t words_at;
    int64_t words_count;
    int64_t texts_at;
    int64_t texts_count; /* bytes */
    int64_t histograms_at;
    int64_t histograms_count;
    int64_t requests_at;
    int64_t requests_count;
    int64_t spans_at;
    int64_t spans_count;
    /* Report */
    int64_t ready;       /* futex: processes at the barrier */
    int64_t go;          /* futex: 1 when released */
    int64_t supervisor_pid;
    int64_t tick_ns;     /* report: time between ticks, and from the last one to the release; 0: not seen */
    int64_t tick_passed_ns;
    int64_t released_ns; /* time 0, ns of the host's CLOCK_MONOTONIC */
    int64_t stopped_ns;  /* end of the run */
    int64_t stop_took_ns; /* from the first CPU clock read at the end to the last */
    int64_t late_ns;     /* how much later than asked for the end came */
    int64_t real_time;   /* 1 if the supervisor ran in the real-time class */
    int64_t requests_used;
    int64_t spans_used;
    int64_t trace_lost;
    int64_t trace_errno; /* why there is no kernel trace, if one was asked for */
    int64_t dispatch_ps;  /* ps for an operation that does nothing, in a loop */
    int64_t timing_ps;    /* ps more when it is timed and recorded */
    int64_t timestamp_ps; /* ps for one timestamp */
    int64_t round_before_fs; /* fs for a round of the reference loop, before the run, CPU time */
    int64_t round_after_fs;
    int64_t failed;      /* enum failure_kind, first failure only */
    int64_t failed_guest;
    int64_t failed_errno;
    int64_t failed_step[FAILURE_WORDS]; /* text, NUL-terminated */
};

struct guest {
    int64_t name; /* text */
    int64_t isolated;
    int64_t user_namespace;
    int64_t time_namespace;
    int64_t seccomp_rules;
    int64_t seccomp_arguments;
    int64_t joins; /* index into words: texts, cgroup.procs files to enter */
    int64_t joins_count;
    int64_t rlimits; /* index into words: pairs of resource number, value */
    int64_t rlimits_count;
    int64_t processes; /* first process */
    int64_t processes_count;
    int64_t channels; /* first channel */
    int64_t channels_count;
    int64_t init_pid; /* report */
    int64_t lost;     /* report: 1 if its first process died before its tasks */
};

struct process {
    int64_t guest;
    int64_t code; /* first instruction */
    int64_t code_count;
    int64_t start_ns;
    int64_t timer_slack_ns;
    int64_t policy; /* SCHED_... of the kernel */
    int64_t priority;
    int64_t nice;
    int64_t slice_ns; /* 0: the kernel's; the runtime of a deadline task */
    int64_t deadline_ns;
    int64_t period_ns;
    int64_t cpus;     /* index into words: CPU numbers */
    int64_t cpus_count;
    int64_t buffers; /* first buffer */
    int64_t buffers_count;
    int64_t fault_bytes; /* size of the region that page_fault uses */
    int64_t file_bytes;  /* size of its file; NONE: it needs no file */
    int64_t histograms;  /* first histogram */
    int64_t histograms_count;
    /* Report. */
    int64_t state;
    int64_t host_pid;
    int64_t began_ns;
    int64_t began_cpu; /* where it was then; means nothing without a began_ns */
    int64_t ended_ns;
    int64_t end; /* enum process_end */
    int64_t opened; /* 1 if it was there at the release */
    int64_t cpu_before_ns;
    int64_t cpu_after_ns; /* unless killed */
    int64_t wait_status;
    int64_t children_cpu_ns;
    int64_t exec_before_ns; /* these four: of the scheduler, before the release and when reaped */
    int64_t exec_after_ns;
    int64_t run_delay_before_ns;
    int64_t run_delay_after_ns;
    int64_t counted; /* 1 if the following were taken at the end; else they are those of the dead task */
    int64_t voluntary_before;
    int64_t voluntary_after;
    int64_t involuntary_before;
    int64_t involuntary_after;
    int64_t migrations_before;
    int64_t migrations_after;
    int64_t minor_before;
    int64_t minor_after;
    int64_t major_before;
    int64_t major_after;
    int64_t failed_op;
    int64_t failed_errno;
    int64_t operations[OPCODES];
    int64_t operations_at_stop[OPCODES];
};

/* The body of a repeat, periodic or serve is the `body` instructions behind it. */
struct instruction {
    int64_t op;
    int64_t body;
    int64_t count; /* rounds; ENDLESS */
    int64_t kind;  /* syscall: enum syscall_kind */
    int64_t index; /* touch: buffer; send, receive: channel; lock, unlock: mutex; serve: queue */
    int64_t size;  /* bytes of a message, read, write; bytes from place to place of a touch */
    int64_t pages; /* pages or places */
    int64_t draw;  /* compute, sleep, closed serve */
    int64_t period_ns;
    int64_t histogram;  /* of the operation's duration; NONE: not timed */
    int64_t histogram2; /* periodic: wake-up latency, serve: request latency */
    int64_t histogram3; /* periodic: response time */
    int64_t sample_mask; /* timed when executed & sample_mask is 0 */
    int64_t executed;
};

struct draw {
    int64_t kind;
    int64_t low_ns; /* also: the constant, the mean */
    int64_t high_ns;
    int64_t values; /* index into words */
    int64_t values_count;
    int64_t coefficients[3]; /* bits of doubles: Draw.coefficients() */
    uint64_t state;          /* of SplitMix64 */
};

struct buffer {
    int64_t bytes;
    int64_t position;
};

struct channel {
    int64_t kind;
    int64_t messages; /* futex */
    int64_t waiters;
};

struct mutex {
    int64_t state; /* futex: 0 free, 1 taken, 2 taken and somebody waits */
};

struct queue {
    int64_t open;
    int64_t left; /* requests still to be taken; ENDLESS */
    int64_t draw; /* gaps between arrivals; NONE: the times are given */
    int64_t times; /* index into words */
    int64_t times_count;
    int64_t taken;
    int64_t arrival_ns; /* of the last request taken */
    int64_t mutex;
};

struct write {
    int64_t phase;
    int64_t path; /* text */
    int64_t text; /* text */
};

/* A group with a bandwidth limit. */
struct period {
    int64_t statistics; /* text: its cpu.stat */
    int64_t period_ns;
    int64_t before;      /* report: nr_periods when the limit was set */
    int64_t boundary_ns; /* report: a moment at which a period began, host's CLOCK_MONOTONIC; 0: not seen */
};

struct snapshot {
    int64_t path; /* text */
    int64_t before_bytes;
    int64_t after_bytes;
    int64_t before[2048]; /* SNAPSHOT_BYTES of text */
    int64_t after[2048];
};

struct histogram {
    int64_t count;
    int64_t sum_ns;
    int64_t min_ns;
    int64_t max_ns;
    int64_t buckets[BUCKETS];
};

struct request {
    int64_t process;
    int64_t arrival_ns;
    int64_t start_ns;
    int64_t end_ns;
};

/* An operation from begin to end, kept only when the kernel's trace cannot be had. */
struct span {
    int64_t process;
    int64_t cpu;
    int64_t begin_ns;
    int64_t end_ns;
};

#endif
