"""Requests of guests on virtual CPUs: exact timelines, the bare machine's where a hypervisor is free, nothing lost."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scheduling.conftest import MS, add, hog
from tests.scheduling.test_input_output import Path, client, device, ring_of, server
from tests.scheduling.towers import COSTS, put_on
from virtsim.scheduling.heart import Heart
from virtsim.scheduling.program import Code, Program
from virtsim.scheduling.settings import Hypervisor
from virtsim.scheduling.storey import Storey
from virtsim.scheduling.task import ENDED
from virtsim.scheduling.tower import Tower
from virtsim.scheduling.vcpu_states import BUSY, IDLE, OVERHEAD, STEAL

#: Submitted at 1000, told at 1500, at the device at 3500, done at 6500, seen at 7200.
PATH = Path(before=1000, kick=500, back=2000, transfer=3000, interrupt=700)


def guest_on(ground: Storey, pins: list[int], hypervisor: Hypervisor | None = None, name: str = "g") -> Storey:
    """A guest whose vCPUs stay where they are pinned, and stand back for anything else there."""
    guest = Storey(len(pins), tick_phase_ns=1)
    put_on(ground, guest, hypervisor or Hypervisor(), [frozenset({cpu}) for cpu in pins], name)
    for vcpu in guest.vcpus:
        vcpu.idle_policy = True
    return guest


def busy(ground: Storey, cpu: int, since: int, span: int) -> None:
    """Something else that has a CPU for a while."""
    program = Program()
    program.cpu(span)
    program.emit(Code.EXIT)
    add(ground, "busy", program, start=since, cpus=frozenset({cpu}))


def asked(ground: Storey, guest: Storey, path: Path = PATH, count: int = 1, back_end_cpu: int = 1):
    """One task of the guest, on its first vCPU, that makes requests."""
    backend = None if path.back is None else server(ground, back_end_cpu)
    ring = ring_of(path, backend)
    return add(guest, "g/0", client(guest, path, ring, device(path), count), cpus=frozenset({0})), ring


def test_a_request_that_meets_nobody_takes_the_sum_of_its_stages():
    """The vCPU halts at 1500, for 2 us of overhead, and has blocked by the time of the interrupt at 6500."""
    ground = Storey(2)
    guest = guest_on(ground, [0], Hypervisor(halt_ns=2000))
    task, ring = asked(ground, guest)
    Tower([ground, guest]).advance(MS)
    assert (task.end_ns, task.cpu_time_ns) == (7200, 2200)
    spent = guest.vcpus[0].spent_ns
    assert (spent[BUSY], spent[OVERHEAD], spent[STEAL], spent[IDLE]) == (2200, 2000, 0, 3000)
    assert (ring.kicks, ring.interrupts, ring.saved_interrupts) == (1, 1, 0)
    assert ring.backend.task.cpu_time_ns == 2000


def test_an_interrupt_waits_until_its_vcpu_has_a_cpu():
    """Something else has the CPU from 4000 to 54,000: the interrupt of 6500 is taken after that."""
    ground = Storey(2)
    guest = guest_on(ground, [0], Hypervisor(halt_ns=2000))
    task, _ = asked(ground, guest)
    busy(ground, 0, 4000, 50_000)
    Tower([ground, guest]).advance(MS)
    assert task.end_ns == 54_700
    assert guest.vcpus[0].spent_ns[STEAL] == 54_000 - 6500
    assert task.cpu_time_ns == 2200


def test_an_interrupt_to_another_vcpu_waits_for_that_one():
    """The task's vCPU has a CPU of its own, but the interrupt goes to one that has to wait until 54,000."""
    ground = Storey(3)
    guest = guest_on(ground, [0, 2])
    guest.interrupt_vcpu = 1
    task, _ = asked(ground, guest)
    busy(ground, 2, 4000, 50_000)
    Tower([ground, guest]).advance(MS)
    assert task.end_ns == 54_700
    assert guest.vcpus[0].spent_ns[STEAL] == 0
    assert guest.vcpus[1].spent_ns[STEAL] == 54_000 - 6500


def test_a_back_end_that_waits_for_its_cpu_delays_the_request():
    """Its CPU is taken until 50,000 by a task that is not preempted: 2000, the device's 3000 and 700 follow."""
    ground = Storey(2)
    guest = guest_on(ground, [0])
    task, ring = asked(ground, guest)
    ring.backend.task.idle_policy = True
    busy(ground, 1, 0, 50_000)
    Tower([ground, guest]).advance(MS)
    assert task.end_ns == 50_000 + 2000 + 3000 + 700


def test_a_device_that_the_guest_reaches_itself_interrupts_its_vcpu():
    ground = Storey(1)
    guest = guest_on(ground, [0])
    path = replace(PATH, back=None)
    task, ring = asked(ground, guest, path, count=3)
    Tower([ground, guest]).advance(MS)
    assert task.end_ns == 3 * path.sum == 3 * 4700
    assert ring.interrupts == 3


def test_completions_while_an_interrupt_waits_are_seen_with_it():
    """Two tasks, one bus: done at 6500 and 9500, while the vCPU is away until 54,000. One interrupt tells of both."""
    ground = Storey(2)
    guest = guest_on(ground, [0])
    backend, station = server(ground, 1), device(PATH)
    ring = ring_of(PATH, backend)
    tasks = [add(guest, f"g/{i}", client(guest, PATH, ring, station, 1)) for i in range(2)]
    busy(ground, 0, 4000, 50_000)
    Tower([ground, guest]).advance(MS)
    assert (ring.interrupts, ring.saved_interrupts) == (1, 1)
    assert min(task.end_ns for task in tasks) == 54_700
    assert max(task.end_ns for task in tasks) == 54_700


def test_a_back_end_on_a_driver_domains_vcpu_is_scheduled_twice():
    """Its vCPU waits until 50,000 for its CPU, then the back end runs, and again when the device is done."""
    ground = Storey(2)
    guest, domain = guest_on(ground, [0]), guest_on(ground, [1], name="dom0")
    ring = ring_of(PATH, server(domain, 0))
    task = add(guest, "g/0", client(guest, PATH, ring, device(PATH), 1), cpus=frozenset({0}))
    busy(ground, 1, 1000, 49_000)
    Tower([ground, guest, domain]).advance(MS)
    assert task.end_ns == 50_000 + 2000 + 3000 + 700
    assert domain.vcpus[0].spent_ns[STEAL] == 50_000 - 1500
    assert domain.vcpus[0].spent_ns[BUSY] == 2000


times = st.integers(1, 50_000)
paths = st.builds(
    Path, before=times, kick=times, back=st.none() | times, position=st.integers(0, 50_000), transfer=times,
    interrupt=times, signal=st.integers(0, 5000), device=st.integers(0, 5000), suppress=st.booleans(),
    size=st.integers(1, 6), ways=st.integers(1, 3), batch=st.integers(1, 7), hidden=st.booleans(),
    coalesced=st.integers(1, 7),
)  # fmt: skip


def clients_on(heart, path, ring, counts, cpus):
    station = device(path)
    return [
        add(heart, f"g/{i}", client(heart, path, ring, station, count), cpus=frozenset({i % cpus}))
        for i, count in enumerate(counts)
    ]


@settings(max_examples=60, deadline=None)
@given(paths, st.integers(1, 30))
def test_one_at_a_time_on_a_hypervisor_that_costs_nothing_has_the_bare_timeline(path, count):
    bare = Heart(3)
    backend = server(bare, 1) if path.back is not None else None
    rings = [ring_of(path, backend)]
    tasks = clients_on(bare, path, rings[0], [count], 1)
    bare.advance(100 * MS)
    ground = Storey(3)
    guest = guest_on(ground, [0])
    rings.append(ring_of(path, server(ground, 1) if path.back is not None else None))
    tasks += clients_on(guest, path, rings[1], [count], 1)
    Tower([ground, guest]).advance(100 * MS)
    assert tasks[0].end_ns == tasks[1].end_ns == count * path.sum
    assert tasks[0].cpu_time_ns == tasks[1].cpu_time_ns
    assert tasks[0].histograms == tasks[1].histograms
    for name in ("submitted", "completed", "kicks", "saved_kicks", "interrupts", "saved_interrupts", "unclaimed_ns"):
        assert getattr(rings[0], name) == getattr(rings[1], name)


guests = st.lists(
    st.tuples(st.integers(1, 2), st.lists(st.integers(1, 12), min_size=1, max_size=3), st.integers(0, 2)),
    min_size=1, max_size=3,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(paths, guests, st.integers(1, 2), st.booleans(), st.booleans(), st.sampled_from([-1, 0]), st.booleans())
def test_over_committed_guests_lose_no_request_and_no_time(
    path, guests, cpus, priced, domained, interrupt_vcpu, nested
):
    """Guests with hogs beside their clients on few CPUs, the back ends on the ground or on a driver domain's vCPU."""
    ground = Storey(cpus, costs=COSTS if priced else None, tick_phase_ns=345_678)
    hypervisor = Hypervisor(halt_ns=2300, poll_ns=200_000 if priced else 0)
    everywhere = frozenset(range(cpus))
    storeys, rings, clients = [ground], [], []
    domain = Storey(1, costs=ground.costs, tick_phase_ns=3)
    if domained:
        put_on(ground, domain, hypervisor, [everywhere], "dom0")
    station = device(path)
    for number, (vcpus, counts, hogs) in enumerate(guests):
        below, pins = ground, [everywhere] * vcpus
        for level in range(2 if nested else 1):
            guest = Storey(vcpus, costs=ground.costs, tick_phase_ns=number + 1, tick_charge_ns=900 * priced)
            guest.interrupt_vcpu = interrupt_vcpu
            put_on(below, guest, hypervisor, pins, f"g{number}.{level}")
            storeys.append(guest)
            at, below, pins = below, guest, [frozenset({cpu}) for cpu in range(vcpus)]
        serving = domain if domained else at
        ring = ring_of(path, server(serving, 0) if path.back is not None else None)
        rings.append(ring)
        for place, count in enumerate(counts):
            program = client(guest, path, ring, station, count)
            clients.append(add(guest, f"g{number}/{place}", program, cpus=frozenset({place % vcpus})))
        for place in range(hogs):
            add(guest, f"hog{number}/{place}", hog(), cpus=frozenset({place % vcpus}))
    add(ground, "keeper", hog())
    tower = Tower([*storeys, domain] if domained else storeys)
    tower.advance(4000 * MS)
    wanted = sum(sum(counts) for _, counts, _ in guests)
    assert all(task.state == ENDED for task in clients)
    assert sum(ring.submitted for ring in rings) == sum(ring.completed for ring in rings) == station.served == wanted
    assert sum(ring.interrupts + ring.saved_interrupts for ring in rings) == wanted
    assert not any(ring.interrupting or ring.used or ring.blocked for ring in rings)
    for storey in tower.storeys[1:]:
        assert sum(task.cpu_time_ns for task in storey.tasks) == sum(vcpu.spent_ns[BUSY] for vcpu in storey.vcpus)
        for vcpu in storey.vcpus:
            assert sum(vcpu.spent_ns) == tower.now_ns
            assert vcpu.cpu_time_ns == vcpu.spent_ns[BUSY] + vcpu.spent_ns[OVERHEAD]
    idle = sum(c.idle_ns + (tower.now_ns - c.idle_since_ns if c.current is None else 0) for c in ground.cpus)
    assert sum(task.cpu_time_ns for task in ground.tasks) + idle == cpus * tower.now_ns
    if not priced:
        # Without prices of scheduling, what clients used is what the stages cost.
        told = sum(ring.kicks for ring in rings) * (0 if path.back is None else path.kick)
        told += sum(ring.interrupts for ring in rings) * path.interrupt - sum(ring.unclaimed_ns for ring in rings)
        assert sum(task.cpu_time_ns for task in clients) == wanted * path.before + told
