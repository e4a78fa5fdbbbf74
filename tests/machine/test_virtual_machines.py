"""Virtual machines whose CPUs are scheduled twice: shares, steal, conservation, and the bare machine's timeline."""

from __future__ import annotations

import msgspec
import pytest

from virtsim.core.errors import SpecError
from virtsim.core.streams import Streams
from virtsim.machine import simulate
from virtsim.machine.builder import MachineBuilder
from virtsim.machine.circumstances import Circumstances
from virtsim.platform.host import load_host
from virtsim.scenario.guest import Guest, VirtualMachine
from virtsim.scenario.scenario import Scenario
from virtsim.workload.builders import ping_pong, request_server, spin
from virtsim.workload.operations import Compute, Repeat, Sleep, SpinLock, SpinUnlock
from virtsim.workload.workload import Task, Workload

HOST = load_host("epyc-guest-linux-6.18")
MS = 1_000_000
STACKS = ["kvm", "xen-pv", "xen-hvm", "hosted-bt", "tcg", "pvm", "kvm-nested", "container-in-kvm", "kvm-on-kvm-nested"]


def scenario(*guests, cpus="0", duration="400ms"):
    return Scenario(guests=list(guests), duration=duration, cpus=cpus)


@pytest.mark.parametrize("stack", STACKS)
def test_every_vcpu_accounts_for_the_whole_run(stack):
    guests = [Guest(name=f"g{i}", stack=stack, vcpus=2, workload=spin(3) if i else ping_pong(10**6)) for i in range(2)]
    run = simulate(scenario(*guests, cpus="0-1"), host=HOST, seed=4)
    for guest in run.guests:
        assert len(guest.vcpus) == 2
        for v in guest.vcpus:
            assert v.busy_time_ns + v.overhead_time_ns + v.steal_time_ns + v.idle_time_ns == run.duration_ns
        assert guest.cpu_time_ns == sum(v.busy_time_ns + v.overhead_time_ns for v in guest.vcpus)
    mine = [task.cpu_time_ns for task in run.tasks if task.guest == "g1"]
    if not stack.startswith("kvm-"):  # the time of a nested guest's own kernel is in its monitor's guest
        assert sum(mine) == sum(v.busy_time_ns for v in run.guests[1].vcpus)


def test_weights_and_quotas_of_a_machine_hold_for_its_vcpus():
    """Shares of 1 to 3 on one CPU, whatever runs inside; a quota of 20 % on another machine."""
    light = Guest(name="light", stack="kvm", vcpus=1, cpu_weight=100, workload=spin(5))
    heavy = Guest(name="heavy", stack="kvm", vcpus=2, cpu_weight=300, workload=spin(2))
    run = simulate(scenario(light, heavy, duration="4s"), host=HOST)
    assert run.value("light", "cpu_time") == pytest.approx(1_000 * MS, abs=40 * MS)
    assert run.value("light/vcpu0", "steal_time") == pytest.approx(3_000 * MS, abs=40 * MS)
    capped = Guest(name="capped", stack="kvm", vcpus=1, cpu_max="20ms/100ms", workload=spin(1))
    run = simulate(scenario(capped, duration="4s"), host=HOST)
    assert run.value("capped", "cpu_time") == pytest.approx(800 * MS, abs=25 * MS)
    assert run.value("capped", "steal_time") > 3_000 * MS


def ideal_host():
    """Prices and delays zero, and one CPU."""
    delays = ("timer_latency", "wakeup_same_cpu", "wakeup_idle_cpu", "idle_exit")
    timing = {n: msgspec.structs.replace(getattr(HOST.timing, n), value=0.0, low=None, high=None) for n in delays}
    timing |= {"timer_latency_quantiles": [], "idle_exit_quantiles": [], "cold": None, "foreign_share": None}
    return HOST.scaled(0.0).with_prices({"compute": HOST.prices["compute"]}).replace(
        timing=HOST.timing.replace(**timing),
        topology=HOST.topology.replace(cpus=1, threads_per_core=1, cpus_per_cache=1)
    )  # fmt: skip


@pytest.mark.parametrize("seed", [3, 4])
@pytest.mark.parametrize("stack", [name for name in STACKS if name != "tcg"])  # Emulation runs more instructions.
def test_an_ideal_machine_of_its_own_has_the_bare_timeline(stack, seed):
    """One guest with a vCPU for the only CPU, as on a bare machine whose tick comes when the guest's does.

    Kernels draw the phases of their ticks each for itself, since they were not booted at the same instant. A tick is
    when a kernel looks at its tasks: another phase is another timeline on two bare machines, too.
    """
    host, work = ideal_host(), request_server(rate="300/s", service="1ms", workers=2)
    virtual = scenario(
        Guest(name="g", stack=stack, vcpus=1, workload=work, machine=VirtualMachine(halt_poll=0)), duration="1s"
    )
    (*_, kernel) = MachineBuilder(virtual, host, Streams(seed)).storeys["g"]
    known = Circumstances(tick_passed_ns=host.kernel.tick_ns - kernel.tick_phase_ns)
    bare = simulate(scenario(Guest(name="g", workload=work), duration="1s"), host=host, seed=seed, circumstances=known)
    layered = simulate(virtual, host=host, seed=seed)
    assert bare.requests
    assert [msgspec.to_builtins(r) for r in (*layered.tasks, *layered.requests, *layered.latencies)] == [
        msgspec.to_builtins(r) for r in (*bare.tasks, *bare.requests, *bare.latencies)
    ]


def test_a_run_is_repeatable():
    guests = [Guest(name=f"g{i}", stack="kvm", vcpus=2, workload=ping_pong(10**6)) for i in range(3)]
    one, two = (simulate(scenario(*guests, cpus="0-1"), host=HOST, seed=7) for _ in range(2))
    assert one.digest == two.digest


def test_vcpus_are_refused_where_there_are_none():
    guest = Guest(name="g", stack="container", vcpus=2, workload=spin())
    with pytest.raises(SpecError, match=r"guests\[0\].vcpus: stack 'container' has no virtual CPUs"):
        simulate(scenario(guest), host=HOST)


def locked(held="5us", free="15us"):
    """A round under the kernel's lock, again and again."""
    body = [SpinLock(name="k"), Compute(work=held), SpinUnlock(name="k"), Compute(work=free)]
    return Task(name="cpu", count=2, program=[Repeat(body=body)])


def crowd(scheduler=None, spinning="pv", stack="kvm", guests=2, **limits):
    machine = VirtualMachine(scheduler=scheduler, spinning=spinning)
    return [
        Guest(name=f"g{i}", stack=stack, vcpus=2, machine=machine, workload=Workload(tasks=[locked()]), **limits)
        for i in range(guests)
    ]


@pytest.mark.parametrize("scheduler", ["fair", "credit", "credit2", "bvt", "gang"])
@pytest.mark.parametrize("spinning", ["plain", "ple", "pv"])
def test_locks_and_schedulers_leave_no_time_uncounted(scheduler, spinning):
    run = simulate(scenario(*crowd(scheduler, spinning), cpus="0-1", duration="200ms"), host=HOST, seed=2)
    for guest in run.guests:
        for v in guest.vcpus:
            assert v.busy_time_ns + v.overhead_time_ns + v.steal_time_ns + v.idle_time_ns == run.duration_ns
    counts = [(task.operations.get("spin_lock", 0), task.operations.get("spin_unlock", 0)) for task in run.tasks]
    assert all(0 <= taken - released <= 1 for taken, released in counts)
    assert sum(released for _, released in counts) > 1000


def rounds(*arguments, **options):
    run = simulate(scenario(*crowd(*arguments, **options), cpus="0-1", duration="400ms"), host=HOST, seed=3)
    return sum(task.operations["spin_unlock"] for task in run.tasks)


def test_a_kernel_lock_whose_holder_is_away_costs_more_than_the_share():
    """Two guests of two vCPUs on two CPUs do less than one alone; more co-scheduled, with locks that halt, or
    with pause-loop exits, even where the first yield of a turn brought nothing."""
    alone, plain = rounds(spinning="plain", guests=1), rounds(spinning="plain")
    exiting, halting, together = rounds(spinning="ple"), rounds(spinning="pv"), rounds("gang", "plain")
    assert plain < 0.95 * alone
    assert exiting > plain
    assert halting > plain
    assert together > plain


@pytest.mark.parametrize("scheduler", ["credit", "credit2"])
def test_weights_and_caps_of_domains_hold(scheduler):
    """On one CPU, machines of weights 1 to 3 share what a machine with a cap of 20 % leaves."""
    machine = VirtualMachine(scheduler=scheduler)
    guests = [
        Guest(name=name, stack="xen-pv", vcpus=1, machine=machine, workload=spin(1), **limits)
        for name, limits in (("a", {"cpu_weight": 100}), ("b", {"cpu_weight": 300}), ("c", {"cpu_max": "20ms/100ms"}))
    ]
    run = simulate(scenario(*guests, duration="6s"), host=HOST, seed=1)
    a, b, c = (guest.cpu_time_ns / run.duration_ns for guest in run.guests)
    assert c == pytest.approx(0.2, abs=0.02)
    assert b / a == pytest.approx(3, rel=0.15)
    assert a + b + c == pytest.approx(1, abs=0.01)


def test_xen_has_its_own_scheduler_by_default():
    """On a Xen stack as with credit2, on KVM as in the fair class."""
    for stack, name in (("xen-pv", "credit2"), ("kvm", "fair")):
        runs = [
            simulate(scenario(*crowd(scheduler, stack=stack), cpus="0-1", duration="50ms"), host=HOST, seed=5)
            for scheduler in (None, name)
        ]
        assert runs[0].tasks == runs[1].tasks


@pytest.mark.parametrize(
    ("guests", "message"),
    [
        ([*crowd("credit"), msgspec.structs.replace(crowd()[0], name="x")], "a host has one for all vCPUs"),
        (crowd("gang", cpu_weight=200), "'gang' has no weights"),
        (crowd("bvt", cpu_max="20ms/100ms"), "'bvt' has no caps"),
        (crowd("credit", cpu_max="20ms/100ms", cpu_burst="1ms"), "leave out cpu_burst"),
    ],
)
def test_what_a_scheduler_cannot_do_is_refused(guests, message):
    with pytest.raises(SpecError, match=message):
        simulate(scenario(*guests, duration="10ms"), host=HOST)


def test_nobody_waits_with_a_spinlock():
    body = [SpinLock(name="k"), Sleep(time="1ms"), SpinUnlock(name="k")]
    with pytest.raises(SpecError, match="sleep may wait, which nobody may while holding a spinlock"):
        Workload(tasks=[Task(name="t", program=[Repeat(body=body)])])
