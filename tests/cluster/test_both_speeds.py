"""The reference's search for hosts does the same compiled and interpreted, to the bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from virtsim.cluster import Quirks
from virtsim.cluster.cloudsim import Benchmark
from virtsim.core import variant

ROOT = Path(__file__).resolve().parents[2]
POLICIES = ("thr-mmt", "lr-mmt", "mad-mmt", "lrr-mu")
CAREFUL = Quirks(memory_ignored=False, stale_power=False)


def totals() -> dict[str, dict[str, float]]:
    """Figures of a day with 60 hosts and 90 VMs, with all quirks and without those that the search looks at."""
    use = np.random.Generator(np.random.PCG64(1)).beta(0.5, 2.5, (90, 288))
    return {
        f"{policy} {quirks}": Benchmark(use, policy, hosts=60, quirks=quirks).run().totals
        for policy in POLICIES
        for quirks in (Quirks(), CAREFUL)
    }


@pytest.mark.needs("compiled heart")
def test_totals_are_the_same_at_both_speeds() -> None:
    script = "import json; from tests.cluster.test_both_speeds import totals; print(json.dumps(totals()))"
    environment = os.environ | {variant.ENVIRONMENT: "1"}
    slow = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, check=True)
    ours = totals()
    assert json.loads(slow.stdout) == ours
    assert all(figures["migrations"] > 0 for figures in ours.values())
