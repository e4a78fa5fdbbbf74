"""Operations on devices, on every stack: stages add up, nothing is lost, notifications are left out under load."""

from __future__ import annotations

import pytest

from virtsim.core.data import card_names
from virtsim.core.errors import SpecError
from virtsim.machine import simulate
from virtsim.machine.devices import PartTimes
from virtsim.platform.expand import expand
from virtsim.platform.host import Devices, reference_card
from virtsim.platform.paths import io_parts
from virtsim.platform.stack import load_stack
from virtsim.scenario.guest import Guest
from virtsim.scenario.scenario import Scenario
from virtsim.scheduling.settings import SchedulingCosts
from virtsim.workload.builders import repeat, spin
from virtsim.workload.operations import DiskRead, DiskWrite, PacketCall, PacketSend

CARD = reference_card()
STACKS = (
    "native", "container", "container-docker", "kvm", "kvm-user-devices", "kvm-emulated-devices", "kvm-passthrough",
    "xen-pv",
)  # fmt: skip


def run_on(stack, operation, count=None, tasks=1, host=CARD, duration="20ms", cpus="0-1", extra=()):
    guest = Guest(name="g", stack=stack, workload=repeat(operation, count, tasks))
    return simulate(Scenario(guests=[guest, *extra], duration=duration, cpus=cpus), host=host)


@pytest.fixture
def free_scheduler(monkeypatch):
    """A scheduler whose own doings cost nothing, so that what is left are the stages."""
    monkeypatch.setattr("virtsim.machine.builder._scheduling_costs", lambda card: SchedulingCosts())


@pytest.mark.parametrize("event", ["file_io", "packet_send", "packet_receive"])
@pytest.mark.parametrize("stack", card_names("stacks"))
def test_the_parts_together_are_the_expansion(stack, event):
    totals = expand(event, load_stack(stack), 1000).totals
    parts = io_parts(event, load_stack(stack), 1000).totals
    assert parts == pytest.approx(dict(totals))


@pytest.mark.parametrize("stack", STACKS)
def test_a_lone_read_takes_the_sum_of_its_stages(stack, free_scheduler):
    run = run_on(stack, DiskRead(size=4096), count=10)
    times = PartTimes.of(io_parts("file_io", load_stack(stack), 4096), CARD)
    step = round(CARD.price("runner_step"))
    cpu = step + times.submit + times.kick + times.interrupt + times.request + 2 * times.wake + times.device
    latency = run.latencies[0].histogram
    # The bus of 2 GB/s takes 2048 ns for 4 KiB. A driver domain's first sleep is before the first request.
    assert latency.max_ns == latency.min_ns == cpu + times.signal + 55_000 + 2048
    assert latency.count == 10


@pytest.mark.parametrize("operation", [DiskRead(), DiskWrite(), PacketSend(), PacketCall(remote="10us")])
@pytest.mark.parametrize("stack", STACKS)
def test_every_request_is_done_or_under_way(stack, operation):
    run = run_on(stack, operation, tasks=3)
    for record in run.devices:
        if "io_submitted" in record.values:
            under_way = record.values["io_submitted"] - record.values["io_completed"]
            assert 0 <= under_way <= 1023
            assert record.values["io_completed"] > 10
        else:
            assert 0 < record.values["device_utilisation"] <= 1
    assert run.digest == run_on(stack, operation, tasks=3).digest


@pytest.mark.parametrize("operation", [DiskRead(), DiskWrite(), PacketSend(), PacketCall(remote="10us")])
def test_on_an_ideal_machine_every_stack_is_native(operation, free_scheduler):
    """No price, no difference: the same requests done, after the same times."""
    ideal = CARD.scaled(0.0).with_prices({"runner_step": CARD.prices["runner_step"]})
    found = set()
    for stack in STACKS:
        run = run_on(stack, operation, count=200, host=ideal)
        task = next(t for t in run.tasks if t.task == "repeat")
        found.add((task.end_ns, task.cpu_time_ns) if not isinstance(operation, DiskWrite) else task.cpu_time_ns)
    assert len(found) == 1


def test_kicks_are_left_out_while_the_back_end_works():
    loaded = run_on("kvm", PacketSend(size=64))
    lone = run_on("kvm", PacketCall(size=64, remote="100us"))
    assert loaded.value("g/nic-out", "saved_kicks") > 10 * loaded.value("g/nic-out", "kicks")
    assert lone.value("g/nic-out", "saved_kicks") == 0
    assert lone.value("g/nic-in", "interrupts") == lone.value("g/nic-in", "io_completed")


def test_the_back_ends_cpu_time_is_its_guests():
    run = run_on("kvm", DiskRead())
    assert run.value("g", "cpu_time") == run.value("g/repeat", "cpu_time") + run.value("g/vhost-worker", "cpu_time")
    xen = run_on("xen-pv", DiskRead())
    assert xen.value("driver-domain", "cpu_time") == xen.value("driver-domain/vcpu", "cpu_time") > 0


@pytest.mark.parametrize("stack", ["kvm", "kvm-user-devices"])
def test_an_answer_is_work_of_the_back_end_as_well(stack, free_scheduler):
    """Calls one at a time: the back end spends its part of each way, and nothing else."""
    run = run_on(stack, PacketCall(size=64, answer=64, remote="100us"), count=10)
    parts = [PartTimes.of(io_parts(f"packet_{way}", load_stack(stack), 64), CARD) for way in ("send", "receive")]
    assert all(times.request > 0 for times in parts)
    (spent,) = (task.cpu_time_ns for task in run.tasks if task.task != "repeat")
    # Each message has an interrupt of the device, each answer one for the guest; none for what was sent.
    assert spent == 10 * (sum(times.request + times.device for times in parts) + parts[1].signal)


def test_a_guest_of_low_weight_beside_hogs_waits_for_its_back_end():
    light = Guest(name="g", stack="kvm", cpu_weight=1, workload=repeat(DiskRead()))
    alone = simulate(Scenario(guests=[light], duration="400ms", cpus="0"), host=CARD)
    hogs = Guest(name="hogs", workload=spin(3), cpu_weight=1000)
    beside = simulate(Scenario(guests=[light, hogs], duration="400ms", cpus="0"), host=CARD)
    assert beside.value("g/repeat", "io_latency_mean") > 5 * alone.value("g/repeat", "io_latency_mean")


def test_a_host_without_the_device_is_refused():
    bare = CARD.replace(devices=Devices())
    with pytest.raises(SpecError, match=r"devices\.disk: this host's card describes no disk"):
        run_on("kvm", DiskRead(), host=bare)
    with pytest.raises(SpecError, match=r"devices\.nic"):
        run_on("kvm", PacketSend(), host=bare)
