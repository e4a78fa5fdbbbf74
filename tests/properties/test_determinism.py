"""The same seed gives the same run, in any process; and streams are common where they should be."""

import os
import subprocess
import sys
import warnings

import pytest

from virtsim.core.streams import Streams
from virtsim.experiment.replicate import replicate
from virtsim.machine import simulate
from virtsim.scenario.guest import Group, Guest
from virtsim.scenario.scenario import Scenario
from virtsim.workload.builders import periodic, ping_pong, request_server, spin, syscall_loop

HOST = "epyc-guest-linux-6.18"
CODE = """
import sys, warnings
warnings.simplefilter("ignore")
from virtsim.core.streams import Streams
from virtsim.machine import simulate
from virtsim.scenario.scenario import Scenario
scenario = Scenario.load(sys.argv[1])
print(*(simulate(scenario, seed=7, replication=r, timeline=True).digest for r in range(2)))
print(Streams(7, 3).seed64("guests.web", "arrivals"), Streams(7).generator("a", "b").integers(2**60))
"""


@pytest.fixture(scope="module")
def scenario():
    """A little of everything that the model draws, counts or sorts."""
    return Scenario(
        host=HOST,
        groups=[Group(name="pod", cpu_max="60%")],
        guests=[
            Guest(name="web", workload=request_server("200/s", "exponential(1ms)", workers=2), group="pod"),
            Guest(name="batch", workload=spin(3), cpu_weight=50, cpu_max="50ms/100ms"),
            Guest(name="tick", workload=periodic("lognormal(500us, 0.7)", "10ms")),
            Guest(name="talk", workload=ping_pong(2000)),
            Guest(name="calls", workload=syscall_loop(20_000), group="pod"),
        ],
        duration="600ms",
        cpus="0-1",
    )


def in_another_process(path, **environment):
    result = subprocess.run(
        [sys.executable, "-c", CODE, str(path)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_processes_and_hash_seeds_do_not_matter(scenario, tmp_path):
    path = tmp_path / "scenario.toml"
    scenario.save(path)
    runs = [simulate(scenario, seed=7, replication=r, timeline=True).digest for r in range(2)]
    streams = Streams(7, 3).seed64("guests.web", "arrivals"), Streams(7).generator("a", "b").integers(2**60)
    here = f"{' '.join(runs)}\n{streams[0]} {streams[1]}\n"
    for hash_seed in ("0", "1", "4711"):
        assert in_another_process(path, PYTHONHASHSEED=hash_seed) == here
    assert in_another_process(path, PYTHONOPTIMIZE="1", LC_ALL="C", TZ="Asia/Tokyo") == here


def test_one_worker_or_many_give_the_same_runs_of_the_machine(scenario):
    one, two = (replicate(scenario, 4, seed=7, workers=workers, timeline=True) for workers in (1, 2))
    assert [run.digest for run in one] == [run.digest for run in two]
    assert len({run.digest for run in one}) == 4


def test_runs_of_the_machine_survive_the_disk(scenario, tmp_path):
    runs = replicate(scenario, 2, seed=7, timeline=True, folder=tmp_path)
    again = replicate(scenario, 2, seed=7, timeline=True, folder=tmp_path)
    assert again.digest == runs.digest
    assert list(again) == list(runs)


@pytest.mark.parametrize("change", ["another guest", "another weight", "longer"])
def test_arrivals_do_not_depend_on_what_else_is_there(scenario, change):
    """Common random numbers: the requests that web's servers take arrive at the same nanoseconds."""
    guests = list(scenario.guests)
    if change == "another guest":
        changed = scenario.replace(guests=[Guest(name="new", workload=spin()), *guests])
    elif change == "another weight":
        changed = scenario.replace(guests=[guests[0].replace(cpu_weight=400), *guests[1:]])
    else:
        changed = scenario.replace(duration=700_000_000)
    # Near the end it depends on the others which requests are still in service, so the last fifth is left out.
    horizon_ns = min(scenario.duration, changed.duration) * 4 // 5
    before, after = (
        sorted(request.arrival_ns for request in simulate(s, seed=7).requests if request.arrival_ns < horizon_ns)
        for s in (scenario, changed)
    )
    assert len(before) > 20
    assert before == after


def test_replications_have_other_arrivals(scenario):
    first, second = (simulate(scenario, seed=7, replication=r).requests for r in range(2))
    assert [request.arrival_ns for request in first] != [request.arrival_ns for request in second]


def test_nothing_is_drawn_from_a_global_generator(scenario):
    import random

    import numpy as np

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
        simulate(scenario, seed=7)
        assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # noqa: NPY002
