"""Whether the fair queue decides as a real kernel did, wake-up by wake-up, in the kernel's own situations."""

from __future__ import annotations

import json
import os
import subprocess
import sys


def test_wakeups_preempt_where_the_kernels_did():
    """Fifteen observed seconds of a sleeper beside a hog or two: periodic jobs of several kinds, and random bursts.

    Of 1,617 wake-ups 277 had to wait for the tick. Kernel threads, which the records leave out, explain
    a few differences; with a mean that is brought up to now before a delayed entity rejoins, 55 of the bursts' 390
    differ.
    """
    environment = os.environ | {"VIRTSIM_INTERPRETED": "1"}
    command = [sys.executable, "-m", "tests.scheduling.decisions"]
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120).stdout
    runs = [json.loads(line) for line in printed.splitlines()]
    print(printed)
    assert len(runs) == 15
    for run in runs:
        assert run["decisions"] - run["agreed"] <= 3, run
    assert sum(run["late"] for run in runs) > 200
    assert sum(run["agreed"] for run in runs) >= 0.99 * sum(run["decisions"] for run in runs)
