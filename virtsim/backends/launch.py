"""Starting the runner and waiting for it, in time and without a trace if anything goes wrong."""

from __future__ import annotations

import os
import select
import subprocess
import time
from pathlib import Path

from virtsim.backends.image import Image
from virtsim.backends.layout import layout
from virtsim.core.errors import BackendError, BackendTimeout, BackendUnavailable
from virtsim.core.units import NS_PER_S, show_duration

_FAILED = 2

#: What the runner missed, as doctor names it, and what to do about it.
_REMEDIES = {
    "FAIL_USER_NAMESPACE": (
        "user namespace",
        "allow them: sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces > 0, and with AppArmor "
        "kernel.apparmor_restrict_unprivileged_userns=0",
    ),
    "FAIL_MOUNT_NAMESPACE": ("mount namespace", "run as root with CAP_SYS_ADMIN, or allow user namespaces"),
    "FAIL_PID_NAMESPACE": ("pid namespace", "run as root with CAP_SYS_ADMIN, or allow user namespaces"),
    "FAIL_UTS_NAMESPACE": ("uts namespace", "run as root with CAP_SYS_ADMIN, or allow user namespaces"),
    "FAIL_IPC_NAMESPACE": ("ipc namespace", "run as root with CAP_SYS_ADMIN, or allow user namespaces"),
    "FAIL_NET_NAMESPACE": ("net namespace", "run as root with CAP_SYS_ADMIN, or allow user namespaces"),
    "FAIL_CGROUP_NAMESPACE": ("cgroup namespace", "run as root with CAP_SYS_ADMIN, or allow user namespaces"),
    "FAIL_TIME_NAMESPACE": ("time namespace", "needs Linux 5.6 with CONFIG_TIME_NS; or set time_namespace = false"),
    "FAIL_CGROUP": ("cgroups", "see 'virtsim doctor' for the controllers this user may use"),
    "FAIL_SECCOMP": ("seccomp", "needs a kernel with CONFIG_SECCOMP_FILTER; or set seccomp_rules = 0"),
    "FAIL_CAPABILITIES": ("privileges", "the container's privileges could not be dropped; run as root or rootless"),
    "FAIL_SCHEDULING": (
        "scheduling privileges",
        "a negative nice, fifo, rr and deadline need CAP_SYS_NICE, deadline all CPUs, slice Linux 6.12; leave them out",
    ),
    "FAIL_CPUS": ("CPUs", "the task's cpus are not all in the cpuset of this process; choose others"),
    "FAIL_PROCESSES": ("processes", "raise pids_max or 'ulimit -u' and 'ulimit -n'; a guest needs one for each task"),
    "FAIL_MEMORY": ("memory", "the tasks' buffers could not be mapped; choose smaller ones"),
    "FAIL_TMPFS": ("tmpfs", "the tasks' files do not fit; free some memory or choose smaller ones"),
}


def run_image(runner: Path, image: Image, timeout_ns: int) -> None:
    """Run the plan in ``image`` to its end.

    Raises
    ------
    BackendTimeout
        If it takes longer than ``timeout_ns``; everything it started is dead then.
    BackendUnavailable, BackendError
        If a step failed; says which, and of which guest.
    """
    process = subprocess.Popen(
        [runner, "run", str(image.file), str(os.getpid())],
        pass_fds=[image.file],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _await(process, timeout_ns)
    finally:
        if process.returncode is None:
            process.kill()  # its guests die with it, see PR_SET_PDEATHSIG in the runner
            process.wait()
    if process.returncode == _FAILED:
        raise _failure(image)
    if process.returncode != 0:
        raise BackendError(f"the runner ended with status {process.returncode}; nothing was observed")


def _await(process: subprocess.Popen[bytes], timeout_ns: int) -> None:
    """Sleep until the process ends, without the polling of ``Popen.wait``, which would disturb the run."""
    end = time.monotonic() + timeout_ns / NS_PER_S
    pidfd = os.pidfd_open(process.pid)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        while not poll.poll(max(0.0, end - time.monotonic()) * 1000):
            if time.monotonic() >= end:
                raise BackendTimeout(f"the run was ended because it took longer than {show_duration(timeout_ns)}")
    finally:
        os.close(pidfd)
    process.wait()


def _failure(image: Image) -> BackendError:
    kind = layout().enums["failure_kind"][image.header("failed")]
    number = image.header("failed_errno")
    step = image.header_text("failed_step") + (f": {os.strerror(number)}" if number else "")
    guest = image.header("failed_guest")
    where = "" if guest < 0 else f"guests[{guest}]: "
    if kind not in _REMEDIES:
        return BackendError(f"{where}the run could not be set up: {step}")
    capability, remedy = _REMEDIES[kind]
    return BackendUnavailable(capability, f"{remedy} ({where}{step})")
