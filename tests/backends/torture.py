"""Ends runs in rude ways at random moments, and looks whether anything stays behind.

``python -m tests.backends.torture [ROUNDS] [SEED]`` prints one line for each way and fails if a process,
a cgroup, a folder, a mount or a trace instance is left after the next run. Each round starts a run in a
child process and, after a random time, kills it (SIGKILL, SIGTERM, SIGINT), or lets it run out of time.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from virtsim.backends import clean, observe
from virtsim.backends.hierarchies import hierarchies
from virtsim.backends.journal import journal_folder, tmpfs_folder
from virtsim.core.streams import SplitMix64
from virtsim.core.units import NS_PER_S
from virtsim.scenario.guest import Guest
from virtsim.scenario.scenario import Scenario
from virtsim.workload.builders import fork_exec_loop, periodic, spin

WAYS = ("SIGKILL", "SIGTERM", "SIGINT", "time-out")
#: From the start of the child's Python to somewhere in its run, s.
LATEST_S = 1.2
_ROOT = Path(__file__).parents[2]
_PROGRAM = """
import signal
import sys
from tests.backends.torture import scenario
from virtsim.backends import observe
from virtsim.core.errors import BackendTimeout

module = sys.modules["virtsim.backends.observe"]
run_image = module.run_image
if sys.argv[2] != "0":
    module.run_image = lambda runner, image, timeout_ns: run_image(runner, image, int(sys.argv[2]))
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
print("ready", flush=True)
try:
    observe(scenario(), timeline=sys.argv[1] == "1", repeats_if_disturbed=0)
except BackendTimeout:
    sys.exit(7)
"""


def scenario() -> Scenario:
    """Both stacks, a throttled group whose tasks are hard to kill, forks, sleepers."""
    guests = [
        Guest(name="forks", workload=fork_exec_loop(100_000)),
        Guest(name="slow", workload=spin(2), cpu_max="2ms/200ms"),
        Guest(name="sleepy", stack="native", workload=periodic("1ms", "10ms")),
    ]
    return Scenario(guests=guests, duration="1s")


def remains(owner: int) -> list[str]:
    """What is there of one owner's runs: groups, folders, mounts, journal entries, traces, processes."""
    name = f"virtsim-{owner}-"
    folders = [*_group_folders(), tmpfs_folder(), journal_folder()]
    found = [str(entry) for folder in folders for entry in folder.glob(f"{name}*")]
    found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if name in line]
    return found + [trace for trace in _traces() if trace.startswith(name)] + runners(owner)


def _traces() -> list[str]:
    """Trace instances, looked up in a mount namespace of our own."""
    script = "mount -t tracefs none /tmp && ls /tmp/instances"
    return subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True).stdout.split()


def _group_folders() -> list[Path]:
    mountinfo, membership = (Path(f"/proc/self/{name}").read_text() for name in ("mountinfo", "cgroup"))
    return [hierarchy.own for hierarchy in hierarchies(mountinfo, membership)]


def runners(owner: int) -> list[str]:
    """Processes of the runner that work for an owner, whose number is their last argument."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if len(arguments) == 5 and arguments[1] == b"run" and arguments[3] == str(owner).encode():
            found.append(f"process {process.name} of {owner}")
    return found


def one_round(way: str, rng: SplitMix64) -> tuple[int, bool]:
    """Start a run, end it: the owner's number, and whether it was still going when it was ended."""
    moment_s = LATEST_S * rng.uniform()
    timeout_ns = max(1, int(moment_s * NS_PER_S)) if way == "time-out" else 0
    timeline = str(int(rng.uniform() < 0.5))
    arguments = [sys.executable, "-c", _PROGRAM, timeline, str(timeout_ns)]
    child = subprocess.Popen(arguments, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert child.stdout is not None
    with child.stdout:
        child.stdout.readline()
        if way != "time-out":
            time.sleep(moment_s)
            child.send_signal(getattr(signal, way))
        code = child.wait()
    return child.pid, code != 0


def torture(rounds: int, seed: int) -> Counter[str]:
    """Run ``rounds`` rounds; how many of each way cut a run short.

    Raises
    ------
    AssertionError
        If something is there after the clean-up of a next run.
    """
    rng = SplitMix64(seed)
    cut_short: Counter[str] = Counter()
    for number in range(rounds):
        way = WAYS[number % len(WAYS)]
        owner, short = one_round(way, rng)
        cut_short[way] += short
        _assert_no_process(owner, f"round {number}, {way}, seed {seed}")
        clean()
        left = remains(owner)
        assert not left, f"round {number}, {way}, seed {seed}: {left}"
    observe(scenario(), repeats_if_disturbed=0)
    left = remains(os.getpid())
    assert not left, f"after a run that was not disturbed: {left}"
    return cut_short


def _assert_no_process(owner: int, when: str) -> None:
    """Processes die with their owner, not only at the next clean-up; a throttled one may need a moment."""
    end = time.monotonic() + 3.0
    while (left := runners(owner)) and time.monotonic() < end:
        time.sleep(0.01)
    assert not left, f"{when}: {left}"


if __name__ == "__main__":
    count, chosen = (int(argument) for argument in (*sys.argv[1:], "300", "1")[:2])
    begin = time.monotonic()
    print(
        f"{count} rounds, seed {chosen}:", dict(torture(count, chosen)), f"cut short; {time.monotonic() - begin:.0f} s"
    )
