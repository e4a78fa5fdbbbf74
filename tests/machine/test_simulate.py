"""The machine as a whole: closed forms, conservation, determinism, errors."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from virtsim.core.errors import ModelError, SpecError
from virtsim.core.spec import CpuSet
from virtsim.machine import simulate
from virtsim.platform.expand import combine, price
from virtsim.platform.host import reference_card
from virtsim.platform.operations import operation_events
from virtsim.platform.stack import load_stack
from virtsim.scenario.guest import Group, Guest
from virtsim.scenario.scenario import Scenario
from virtsim.workload.builders import ping_pong, request_server, spin, syscall_loop
from virtsim.workload.operations import Compute, Repeat, Work
from virtsim.workload.workload import Task, Workload

MS = 1_000_000
CARD = reference_card()
IDEAL = CARD.with_prices({}, timing=CARD.timing)


def scenario(*guests, duration="1s", cpus="0", **rest):
    return Scenario(guests=list(guests), duration=duration, cpus=cpus, **rest)


@settings(max_examples=25)
@given(st.lists(st.integers(20, 800), min_size=2, max_size=4))
def test_saturated_guests_share_by_weight(weights):
    """Closed form: w / sum(w), to within two ticks and a request of lag."""
    guests = [Guest(name=f"g{i}", workload=spin(), cpu_weight=weight) for i, weight in enumerate(weights)]
    run = simulate(scenario(*guests, duration="4s"), host=CARD)
    shares = [(weight * 1024 + 50) // 100 for weight in weights]
    for i, share in enumerate(shares):
        fair = 4_000 * MS * share / sum(shares)
        turn = 8 * MS * (1 + max(shares) / min(shares))
        assert abs(run.value(f"g{i}", "cpu_time") - fair) <= turn
    assert sum(run.value(f"g{i}", "cpu_time") for i in range(len(weights))) == 4_000 * MS


@settings(max_examples=25)
@given(st.integers(4, 60), st.integers(20, 120), st.integers(1, 3))
def test_a_quota_gives_its_share_of_every_period(quota_ms, period_ms, tasks):
    """Closed form: quota / period of the time, at most one CPU, one quota and a tick more or less."""
    guest = Guest(name="g", workload=spin(tasks), cpu_max=f"{quota_ms}ms/{period_ms}ms")
    run = simulate(scenario(guest, duration="3s"), host=CARD)
    expected = 3_000 * min(1.0, quota_ms / period_ms)
    assert abs(run.value("g", "cpu_time") / MS - expected) <= quota_ms + 8
    if quota_ms < period_ms:
        assert abs(run.value("g", "periods") - 3_000 / period_ms) <= 2


def test_an_open_queue_is_m_g_1():
    """Pollaczek and Khinchine's mean for M/M/1 served by one task: H0, the simulated mean is the formula's.

    40 replications of 20 s at load 0.6; |z| < 4.9 fails a right model once in a million times. The service
    time is the drawn work at the host's price, and the small costs of serving are added to its mean.
    """
    rate, mean_ms = 300.0, 2.0
    card = CARD.scaled(0.0).with_prices({"compute": CARD.prices["compute"]})
    timing = card.timing.replace(timer_latency=card.timing.timer_latency.at(0.0), timer_latency_quantiles=[],
                                 idle_exit=card.timing.idle_exit.at(0.0), foreign_share=None)  # fmt: skip
    guest = Guest(name="q", workload=_no_slack(request_server(f"{rate:g}/s", f"exponential({mean_ms:g}ms)")))
    means = []
    for replication in range(40):
        run = simulate(scenario(guest, duration="20s"), host=card.replace(timing=timing), replication=replication)
        means.append(run.value("q/server", "request_latency_mean") / MS)
    service = mean_ms * CARD.price("compute")
    load = rate * service / 1000
    expected = service / (1 - load)
    mean = sum(means) / len(means)
    error = math.sqrt(sum((value - mean) ** 2 for value in means) / (len(means) - 1) / len(means))
    z = (mean - expected) / error
    print(f"mean {mean:.4f} ms, formula {expected:.4f} ms, se {error:.4f}, z = {z:.2f}, n = {len(means)}")
    assert abs(z) < 4.9
    assert error / mean < 0.03


def _no_slack(workload: Workload) -> Workload:
    tasks = [task.replace(timer_slack=1) for task in workload.tasks]
    return workload.replace(tasks=tasks)


def test_operations_of_a_loop_are_counted_even_where_it_is_cut_off():
    whole = simulate(scenario(Guest(name="g", workload=syscall_loop(100_000)), duration="10s"), host=CARD)
    cut_ns = whole.tasks[0].cpu_time_ns // 3
    cut = simulate(scenario(Guest(name="g", workload=syscall_loop(100_000)), duration=f"{cut_ns}ns"), host=CARD)
    assert whole.tasks[0].operations == {"syscall": 100_000, "repeat": 1}
    assert abs(cut.tasks[0].operations["syscall"] - 33_333) <= 50
    assert "repeat" not in cut.tasks[0].operations


@pytest.mark.parametrize("unit", ["cpuid", "pte_map", "ipi_send", "page_fault", "lmbench/fork", "instructions/vmcall"])
def test_a_unit_of_work_takes_the_cpu_time_that_its_stack_charges(unit):
    """Privileged instructions, page-table updates, signals, calls and mixes, under shadow paging."""
    body = [Work(unit=unit, times=3)]

    def taken_ns(count):
        work = Workload(tasks=[Task(name="t", program=[Repeat(body=body, count=count), *body])])
        run = simulate(scenario(Guest(name="g", stack="kvm-shadow", workload=work)), host=CARD)
        assert run.tasks[0].operations == {"work": count + 1, "repeat": 1}
        return run.value("g/t", "run_time")

    events = operation_events(body[0], spin(), CARD.topology)
    each = combine((e.times, load_stack("kvm-shadow").on_host(CARD).expand(e.event, e.size)) for e in events)
    assert taken_ns(90) - taken_ns(40) == 50 * round(price(each, CARD))


def test_a_unit_that_is_not_there_or_that_subtracts_is_refused_with_its_task():
    for unit, message in [
        ("cpuidd", "did you mean 'cpuid'"),
        ("lmbench/frok", "no mix"),
        ("vmcall", "no layer handles"),
    ]:
        work = Workload(tasks=[Task(name="t", program=[Work(unit=unit)])])
        with pytest.raises(SpecError, match=f"guest 'g', task 't': work '{unit}': .*{message}"):
            simulate(scenario(Guest(name="g", workload=work)), host=CARD)


def test_memory_that_is_virtual_twice_slows_computing_down_by_its_walks():
    """A TLB profile: 24 references of a walk instead of 4, at the published share; shadows are walked once."""
    program = [Compute(work="50ms"), Compute(work="exponential(10ms)")]

    def taken_ns(stack, misses):
        work = Workload(tasks=[Task(name="t", program=program, tlb_misses=misses)])
        return simulate(scenario(Guest(name="g", stack=stack, workload=work)), host=CARD).value("g/t", "run_time")

    alone = taken_ns("native", 0)
    assert taken_ns("kvm", 0) == taken_ns("kvm-shadow", 0) == alone
    walk = CARD.price("walk_reference") * 294.3 / 1e5 / CARD.price("compute")
    assert taken_ns("native", 294.3) / alone == pytest.approx(1 + 4 * walk, rel=1e-4)
    assert taken_ns("kvm-shadow", 294.3) == taken_ns("native", 294.3)
    assert taken_ns("kvm", 294.3) / alone == pytest.approx(1 + 24 * 0.69 * walk, rel=1e-4)


def test_a_ping_pong_switches_twice_a_round():
    run = simulate(scenario(Guest(name="g", workload=ping_pong(500)), duration="1s"), host=CARD)
    assert all(task.outcome == "finished" for task in run.tasks)
    switches = sum(task.voluntary_switches + task.involuntary_switches for task in run.tasks)
    assert 990 <= switches <= 1010


def test_the_timeline_is_the_accounts():
    guests = [Guest(name="a", workload=spin(2)), Guest(name="b", workload=spin(), cpu_max="20ms/50ms")]
    run = simulate(scenario(*guests, cpus="0-1"), host=CARD, timeline=True)
    for task in run.tasks:
        pieces = [s.end_ns - s.start_ns for s in run.slices if (s.guest, s.task) == (task.guest, task.task)]
        assert sum(pieces) == task.cpu_time_ns
    throttled_ns = sum(piece.end_ns - piece.start_ns for piece in run.throttles if piece.guest == "b")
    assert throttled_ns == run.value("b", "throttled_time") > 0
    for first, second in zip(run.slices, run.slices[1:], strict=False):
        assert first.start_ns <= second.start_ns


SOURCE = """
from virtsim.machine import simulate
from virtsim.platform.host import reference_card
from virtsim.scenario.guest import Group, Guest
from virtsim.scenario.scenario import Scenario
from virtsim.workload.builders import request_server, spin
guests = [Guest(name="a", workload=request_server("200/s", "exponential(1ms)", 2)), Guest(name="b", workload=spin(3))]
print(simulate(Scenario(guests=guests, duration="1s"), seed=11, host=reference_card()).digest)
"""


def test_the_same_seed_gives_the_same_digest_in_any_process():
    digests = set()
    for hash_seed in ("0", "1", "4711"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", SOURCE], capture_output=True, text=True, env=environment, check=True
        )
        digests.add(done.stdout.strip())
    assert len(digests) == 1


def test_another_seed_or_replication_or_phase_gives_another_run():
    guests = [Guest(name="q", workload=request_server("200/s", "exponential(1ms)")), Guest(name="h", workload=spin())]
    draws = ({}, {"seed": 1}, {"replication": 1}, {"phases": 1})
    assert len({simulate(scenario(*guests), host=CARD, **draw).digest for draw in draws}) == 4


def test_what_is_not_there_is_one_clear_error():
    guest, group = Guest(name="g", workload=spin()), Group(name="p", cpus=CpuSet([9]))
    for told, where in {
        "cpus": scenario(guest, cpus="9"),
        r"guests\[0\]\.cpus": scenario(guest.replace(cpus=CpuSet([9])), cpus=None),
        r"groups\[0\]\.cpus": scenario(guest.replace(group="p"), cpus=None, groups=[group]),
        r"guests\[0\]\.workload\.tasks\[0\]\.cpus": scenario(
            guest.replace(workload=Workload(tasks=[guest.workload.tasks[0].replace(cpus=CpuSet([9]))])), cpus=None
        ),
    }.items():
        with pytest.raises(SpecError, match=f"^{told}: .* has no CPU 9"):
            simulate(where, host=CARD)
    with pytest.raises(SpecError, match="at least 0"):
        simulate(scenario(Guest(name="g", workload=spin())), seed=-1, host=CARD)


def _above_the_fair_class(policy, **fields):
    urgent = {"name": "urgent", "program": [{"op": "compute", "work": "5s"}], "policy": policy, **fields}
    hog = {"name": "hog", "program": [{"op": "compute", "work": "5s"}]}
    data = {"name": "s", "duration": "2s", "cpus": "0", "guests": [{"name": "g", "workload": {"tasks": [urgent, hog]}}]}
    return Scenario.from_builtins(data, "s")


@pytest.mark.parametrize(
    ("policy", "fields", "share"),
    [
        ("fifo", {"priority": 10}, 0.95),
        ("rr", {"priority": 10}, 0.95),
        ("deadline", {"runtime": "3ms", "deadline": "10ms"}, 0.30),
    ],
)
def test_classes_above_the_fair_one(policy, fields, share):
    """A real-time hog leaves a twentieth, by the fair server; a deadline task has its runtime in each period."""
    run = simulate(_above_the_fair_class(policy, **fields), host=CARD)
    assert run.value("g/urgent", "cpu_time") / 2e9 == pytest.approx(share, abs=0.012)


def test_what_a_reservation_lacks_is_said():
    with pytest.raises(SpecError, match="runtime"):
        _above_the_fair_class("deadline", deadline="10ms")
    with pytest.raises(SpecError, match="only tasks of policy deadline"):
        _above_the_fair_class("other", runtime="1ms")
    with pytest.raises(ModelError, match="95 %"):
        simulate(_above_the_fair_class("deadline", runtime="10ms", deadline="10ms", count=2), host=CARD)
