"""Operations on devices, on every stack: stages add up, nothing is lost, notifications are left out under load."""

from __future__ import annotations

import pytest

from virtsim.core.data import card_names
from virtsim.core.errors import SpecError
from virtsim.machine import simulate
from virtsim.machine.devices import PartTimes
from virtsim.platform.devices import Devices
from virtsim.platform.expand import expand, price
from virtsim.platform.host import BARE_ONLY, load_host, reference_card
from virtsim.platform.paths import io_parts
from virtsim.platform.stack import load_stack
from virtsim.scenario.guest import Guest
from virtsim.scenario.scenario import Scenario
from virtsim.scheduling.settings import SchedulingCosts
from virtsim.workload.builders import repeat, spin
from virtsim.workload.operations import (
    Compute,
    DiskRead,
    DiskWrite,
    Exit,
    ForkWait,
    PacketCall,
    PacketSend,
    Periodic,
    Repeat,
    Sleep,
)
from virtsim.workload.workload import Task, Workload

CARD = reference_card()
#: The same with the exits of a bare machine, which are short beside a request.
BARE = CARD.with_prices({n: load_host("xeon-8269cy-linux-4.19").prices[n] for n in BARE_ONLY}, virtual="")
STACKS = (
    "native", "container", "container-docker", "kvm", "kvm-user-devices", "kvm-emulated-devices", "kvm-passthrough",
    "xen-pv",
)  # fmt: skip
INTERRUPTS = ("interrupts_per_packet", "interrupts_per_request")


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


@pytest.mark.parametrize("event", ["file_io", "packet_send", "packet_receive"])
@pytest.mark.parametrize(
    ("stack", "changes", "batch", "coalesced"),
    [
        ("kvm", {"virtio": {"batch": 8}}, 8, 8),
        ("xen-pv", {"split-driver": {"batch": 5}}, 5, 5),
        ("kvm-emulated-devices", {"emulated-device": {"batch": 3}}, 3, 3),
        ("container", {"linux": dict.fromkeys(INTERRUPTS, 0.25)}, 1, 4),
        ("kvm-passthrough", {"linux": dict.fromkeys(INTERRUPTS, 0.5)}, 1, 2),
        ("xen-pv", {"split-driver": {"batch": 6}, "linux": dict.fromkeys(INTERRUPTS, 2)}, 6, 3),
        ("native", {"linux": dict.fromkeys(INTERRUPTS, 0)}, 1, 1),
    ],
)  # fmt: skip
def test_what_a_batch_shares_is_whole_in_the_parts_and_shared_in_their_sum(stack, changes, batch, coalesced, event):
    one, many = load_stack(stack), load_stack(stack).with_parameters(changes)
    parts, whole = io_parts(event, many, 1000), io_parts(event, one, 1000)
    assert parts.totals == pytest.approx(dict(expand(event, many, 1000).totals))
    assert (parts.batch, parts.coalesced) == (batch, coalesced)
    assert parts.kick == pytest.approx(whole.kick)
    parts.request.update({name: parts.request.get(name, 0) + times for name, times in parts.pass_on.items()})
    assert parts.request == pytest.approx(whole.request)
    told = [name for name in ("interrupt", "device", "signal") if getattr(parts, name)]
    assert all(getattr(parts, name) == pytest.approx(getattr(whole, name)) for name in told)


def test_packets_sent_that_share_an_interrupt_do_so_in_the_parts():
    stack = load_stack("xen-pv").with_parameters({"linux": {"sends_per_interrupt": 5}, "split-driver": {"batch": 2}})
    found = {event: io_parts(event, stack, 64).coalesced for event in ("packet_send", "packet_receive", "file_io")}
    assert found == {"packet_send": 10, "packet_receive": 2, "file_io": 2}
    assert io_parts("packet_send", stack, 64).totals == pytest.approx(dict(expand("packet_send", stack, 64).totals))


@pytest.mark.parametrize("stack", STACKS)
def test_a_lone_read_takes_the_sum_of_its_stages(stack, free_scheduler):
    run = run_on(stack, DiskRead(size=4096), count=10)
    times = PartTimes.of(io_parts("file_io", load_stack(stack).on_host(CARD), 4096), CARD)
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


def sending(stack, layer, count, program=None, **parameters):
    """A guest without virtual CPUs that sends packets, and computes to the end."""
    body = program or [Repeat(body=[PacketSend(size=64)], count=count)]
    work = Workload(tasks=[Task(name="t", program=[*body, Compute(work="10ms")])])
    guest = Guest(name="g", stack=stack, workload=work, stack_parameters={layer: parameters})
    return simulate(Scenario(guests=[guest], duration="40ms", cpus="0-1"), host=CARD)


@pytest.mark.parametrize(
    ("stack", "layer"), [("kvm", "virtio"), ("kvm-user-devices", "virtio"), ("xen-pv", "split-driver")]
)
@pytest.mark.parametrize("batch", [1, 2, 8, 40])
def test_machine_and_expansion_agree_on_what_a_batch_costs(stack, layer, batch, free_scheduler):
    """Everybody's CPU time, told always, is that of the expansion with the notifications that were made."""
    run = sending(stack, layer, 240, batch=batch, suppression=0)
    parts = io_parts("packet_send", load_stack(stack).with_parameters({layer: {"batch": batch}}).on_host(CARD), 64)
    times = PartTimes.of(parts, CARD)
    kicks, interrupts = run.value("g/nic-out", "kicks"), run.value("g/nic-out", "interrupts")
    assert kicks == 240 // batch
    assert run.value("g/nic-out", "saved_kicks") == 240 - kicks
    assert interrupts + run.value("g/nic-out", "saved_interrupts") == 240
    step = round(CARD.price("runner_step"))
    rate = CARD.price("compute")
    sender = next(task for task in run.tasks if task.task == "t")
    asked = 240 * (step + times.submit) + kicks * times.kick + interrupts * times.interrupt
    assert sender.cpu_time_ns == asked + step + round(1e7 * rate)
    (server,) = (task for task in run.tasks if task.task != "t")
    served = server.cpu_time_ns - 240 * times.request - interrupts * (times.signal + times.device)
    if stack == "xen-pv":
        # It sees whole batches; how often it had to be switched to is the scheduler's.
        assert (served - 240 // batch * times.pass_on) % times.wake == 0
        return
    # One that catches up with its guest tells device and guest of what lies there.
    passed = served // times.pass_on if times.pass_on else 240
    assert served == passed * times.pass_on
    assert 240 // batch <= passed <= 240
    more = (passed - 240 / batch) * times.pass_on + (interrupts - 240 / batch) * (times.interrupt + times.signal)
    spent = sum(task.cpu_time_ns for task in run.tasks) - 241 * step - round(1e7 * rate)
    assert spent == pytest.approx(240 * price(parts.totals, CARD) + more, rel=1e-3)


@pytest.mark.parametrize(
    ("program", "kicks"),
    [
        ([PacketSend(), PacketSend(), Sleep(time="1ms"), PacketSend()], 2),
        ([PacketSend(), DiskRead(), PacketSend(), PacketCall(), PacketSend()], 3),
        ([PacketSend(), ForkWait(), PacketSend()], 2),
        ([Periodic(period="1ms", count=3, body=[PacketSend(), PacketSend()])], 3),
        ([PacketSend(), Compute(work="1ms"), PacketSend(), Exit()], 1),
        ([Repeat(count=9, body=[PacketSend()])], 3),
    ],
)  # fmt: skip
def test_a_batch_ends_before_its_task_sleeps_waits_or_ends(program, kicks):
    """Batches of four; what is left is told of. A call out over the same ring takes along what is held back there."""
    run = sending("kvm", "virtio", 0, program, batch=4, suppression=0)
    sent = run.value("g/nic-out", "io_submitted")
    assert run.value("g/nic-out", "kicks") == kicks
    assert run.value("g/nic-out", "saved_kicks") == sent - kicks


@pytest.mark.parametrize(
    ("stack", "layer", "parameters"),
    [
        ("native", "linux", {"interrupts_per_request": 0.25}),
        ("kvm-passthrough", "linux", {"interrupts_per_request": 0.25}),
        ("kvm-emulated-devices", "emulated-device", {"batch": 4}),
        ("kvm", "virtio", {"batch": 4}),
        ("xen-pv", "split-driver", {"batch": 4}),
    ],
)
def test_four_readers_share_an_interrupt_and_one_does_not_wait_for_more(stack, layer, parameters):
    """One at a time takes no longer; four that wait for each other's completions are told together, and later."""
    for tasks in (1, 4):
        guest = Guest(name="g", stack=stack, workload=repeat(DiskRead(), None, tasks))
        guests = [guest, guest.replace(stack_parameters={layer: parameters})]
        one, many = (simulate(Scenario(guests=[g], duration="20ms", cpus="0-1"), host=BARE) for g in guests)
        told = many.value("g/disk", "interrupts") / many.value("g/disk", "io_completed")
        assert told == pytest.approx(1 / tasks, rel=0.01)
        times = [run.value("g/disk", "io_time") for run in (one, many)]
        assert times[1] == times[0] if tasks == 1 else times[1] > times[0]


def test_the_back_ends_cpu_time_is_its_guests():
    run = run_on("kvm", DiskRead())
    assert run.value("g", "cpu_time") == run.value("g/repeat", "cpu_time") + run.value("g/vhost-worker", "cpu_time")
    xen = run_on("xen-pv", DiskRead())
    assert xen.value("driver-domain", "cpu_time") == xen.value("driver-domain/vcpu", "cpu_time") > 0


@pytest.mark.parametrize("stack", ["kvm", "kvm-user-devices"])
def test_an_answer_is_work_of_the_back_end_as_well(stack, free_scheduler):
    """Calls one at a time: the back end spends its part of each way, and nothing else."""
    run = run_on(stack, PacketCall(size=64, answer=64, remote="100us"), count=10)
    parts = [
        PartTimes.of(io_parts(f"packet_{way}", load_stack(stack).on_host(CARD), 64), CARD)
        for way in ("send", "receive")
    ]
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
