"""Devices of guests that have virtual CPUs: laws on every stack, driver domains, rings, and what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from virtsim.core import variant
from virtsim.core.errors import SpecError
from virtsim.machine import simulate
from virtsim.platform.host import reference_card
from virtsim.scenario.driver_domain import DriverDomain
from virtsim.scenario.guest import Guest, VirtualMachine
from virtsim.scenario.scenario import Scenario
from virtsim.scheduling.settings import SchedulingCosts
from virtsim.workload.builders import repeat, spin
from virtsim.workload.operations import Compute, DiskRead, DiskWrite, PacketCall, PacketSend, Repeat
from virtsim.workload.workload import Task, Workload

CARD = reference_card()
STACKS = (
    "kvm", "kvm-user-devices", "kvm-emulated-devices", "kvm-passthrough", "kvm-nested", "container-in-kvm", "xen-pv",
    "xen-hvm", "hosted-bt", "tcg",
)  # fmt: skip
OPERATIONS = [DiskRead(), DiskWrite(), PacketSend(), PacketCall(remote="10us")]


def asking(stack="kvm", operation=None, count=None, tasks=1, vcpus=1, name="g", **more):
    workload = repeat(operation or DiskRead(), count, tasks)
    return Guest(name=name, stack=stack, vcpus=vcpus, workload=workload, **more)


def computing(stack="kvm", number=0, vcpus=1, **more):
    return Guest(name=f"hog{number}", stack=stack, vcpus=vcpus, workload=spin(vcpus), **more)


def run_of(*guests, cpus="0-1", duration="20ms", **more):
    return simulate(Scenario(guests=list(guests), duration=duration, cpus=cpus, **more), host=CARD, seed=6)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("stack", STACKS)
def test_nothing_is_lost_and_all_time_is_counted(stack, operation):
    """Little's law for one guest of three tasks: requests under way at a time are at most the tasks, or the ring."""
    guests = [asking(stack, operation, tasks=3, vcpus=2), computing(stack)]
    run = run_of(*guests)
    for guest in run.guests:
        for v in guest.vcpus or ():
            assert v.busy_time_ns + v.overhead_time_ns + v.steal_time_ns + v.idle_time_ns == run.duration_ns
            assert min(v.busy_time_ns, v.overhead_time_ns, v.steal_time_ns, v.idle_time_ns) >= 0
    for record in run.devices:
        if "io_submitted" in record.values:
            under_way = record.values["io_submitted"] - record.values["io_completed"]
            assert 0 <= under_way <= 1024
            assert record.values["io_completed"] > 5
    assert run.digest == run_of(*guests).digest


@pytest.mark.parametrize("stack", STACKS)
def test_littles_law(stack):
    """Tasks that do nothing but read: their number is their rate times their time, from different counters."""
    run = run_of(asking(stack, DiskRead(), tasks=4, vcpus=2), duration="100ms")
    rate = run.value("g/disk", "io_completed") / run.duration_ns
    waits = [record.histogram for record in run.latencies if record.kind == "io_latency"]
    mean_ns = sum(h.mean_ns * h.count for h in waits) / sum(h.count for h in waits)
    assert rate * mean_ns == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize("operation", [DiskRead(), PacketCall(remote="10us")])
def test_on_an_ideal_machine_every_guest_has_the_containers_timeline(operation, monkeypatch):
    """Without prices and delays: a task that computes and asks, once on the host's CPUs and once on a vCPU."""
    monkeypatch.setattr("virtsim.machine.builder._scheduling_costs", lambda card: SchedulingCosts())
    ideal = CARD.scaled(0.0).with_prices({"compute": CARD.prices["compute"]})
    body = [Compute(work="37us"), operation]
    work = Workload(tasks=[Task(name="t", program=[Repeat(body=body, count=100)])])
    found = []
    # Emulation runs more instructions, whatever they cost.
    stacks = [stack for stack in STACKS if stack != "tcg"]
    for stack in ("container", *stacks):
        guest = Guest(name="g", stack=stack, vcpus=1 if found else None, workload=work)
        if found:
            guest = guest.replace(machine=VirtualMachine(halt_poll=0))
        run = simulate(Scenario(guests=[guest], duration="50ms", cpus="0-1"), host=ideal, seed=6)
        (task,) = (record for record in run.tasks if record.task == "t")
        assert task.outcome == "finished"
        found.append((task, run.latencies))
    for stack, one in zip(stacks, found[1:], strict=True):
        assert one == found[0], stack


def test_a_guest_that_waits_for_its_cpu_waits_for_its_interrupts():
    """A read takes much longer beside a computing guest on the same CPU, whose time is then steal."""
    alone = run_of(asking(), cpus="0", duration="400ms")
    beside = run_of(asking(cpu_weight=10), *(computing(number=i) for i in range(3)), cpus="0", duration="400ms")
    assert beside.value("g/repeat", "io_latency_mean") > 3 * alone.value("g/repeat", "io_latency_mean")
    assert beside.value("g", "steal_time") > 0


def test_a_driver_domain_has_vcpus_that_are_scheduled_by_weight():
    """Xen's credit scheduler, eight computing machines on one CPU: a heavy driver domain serves its guest better."""
    machine = VirtualMachine(scheduler="credit")
    guests = [asking("xen-pv", machine=machine)]
    guests += [computing("xen-pv", i, machine=machine) for i in range(8)]
    rates = []
    for weight in (100, 2000):
        run = run_of(*guests, cpus="0", duration="2s", driver_domain=DriverDomain(cpu_weight=weight))
        (domain,) = (guest for guest in run.guests if guest.guest == "driver-domain")
        (v,) = domain.vcpus
        assert v.busy_time_ns + v.overhead_time_ns + v.steal_time_ns + v.idle_time_ns == run.duration_ns
        assert v.busy_time_ns == run.value("driver-domain/back-end-g", "cpu_time")
        rates.append(run.value("g/disk", "io_completed"))
    print(rates)
    assert rates[1] > 1.2 * rates[0]


def test_rings_are_parameters_of_the_guest():
    small = run_of(asking(operation=PacketSend(), stack_parameters={"virtio": {"ring": 4}}))
    assert small.value("g/nic-out", "io_submitted") - small.value("g/nic-out", "io_completed") <= 4
    told = run_of(asking(operation=PacketSend(), stack_parameters={"virtio": {"suppression": 0}}))
    assert told.value("g/nic-out", "saved_kicks") == 0
    usual = run_of(asking(operation=PacketSend()))
    assert usual.value("g/nic-out", "saved_kicks") > 0


@pytest.mark.parametrize(
    ("guest", "more", "message"),
    [
        ({"stack_parameters": {"virtoi": {"ring": 4}}}, {}, r"stack_parameters.*no layer is called 'virtoi'"),
        ({"stack_parameters": {"virtio": {"rong": 4}}}, {}, "rong"),
        ({"machine": VirtualMachine(interrupt_vcpu=1)}, {}, r"machine.interrupt_vcpu.*0 to 0"),
        ({"machine": VirtualMachine(scheduler="gang")}, {"driver_domain": DriverDomain(cpu_weight=5)}, "'gang' has no"),
        ({}, {"driver_domain": DriverDomain.from_builtins({"cpus": "7"})}, "driver_domain.cpus"),
    ],
)
def test_what_there_is_not_is_refused(guest, more, message):
    with pytest.raises(SpecError, match=message):
        run_of(asking(**guest), **more)


@pytest.mark.needs("compiled heart")
@pytest.mark.parametrize("stack", ["kvm", "xen-pv", "kvm-nested"])
def test_both_forms_of_the_heart_give_the_same_run(stack):
    code = (
        "from tests.machine.test_devices_of_machines import *\n"
        f"print(run_of(asking({stack!r}, PacketCall(remote='10us'), tasks=3, vcpus=2), computing({stack!r})).digest)"
    )
    digests = set()
    for interpreted in ("0", "1"):
        environment = os.environ | {variant.ENVIRONMENT: interpreted}
        root = Path(__file__).resolve().parents[2]
        found = subprocess.run([sys.executable, "-c", code], env=environment, cwd=root, capture_output=True, check=True)
        digests.add(found.stdout)
    assert len(digests) == 1
