"""Storeys: exact timelines by hand, the bare machine's timeline where a hypervisor is free, conservation."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scheduling.conftest import MS, add, hog, job
from tests.scheduling.streams import COSTS, PAIRS, _loop
from tests.scheduling.test_laws import Plan, plans, populate
from tests.scheduling.towers import Building, build, ideal, put_on
from virtsim.scheduling.door import Door
from virtsim.scheduling.heart import Heart
from virtsim.scheduling.program import Code, Program
from virtsim.scheduling.settings import Hypervisor, SchedulingCosts
from virtsim.scheduling.storey import Storey
from virtsim.scheduling.task import BLOCKED, RUNNABLE
from virtsim.scheduling.tower import Tower
from virtsim.scheduling.vcpu_states import BUSY, IDLE, OVERHEAD, STEAL
from virtsim.scheduling.weight import NICE_0_LOAD

US = 1_000
PAIR = st.tuples(st.sampled_from(sorted(PAIRS)), st.integers(50_000, 3 * MS), st.integers(0, 3))
# Whatever a native heart does with randomness, a guest's does with the same.
IDEAL_COSTS = SchedulingCosts(**{**COSTS.__dict__, "stolen_share": 0.0})


def watch(heart: Heart) -> list[object]:
    seen: list[object] = []
    heart.on_switch = lambda time, cpu, old, new: seen.append((time, cpu, old and old.name, new and new.name))
    heart.on_wakeup = lambda time, cpu, task: seen.append((time, cpu, task.name))
    heart.on_throttle = lambda since, until, cpu, group: seen.append((since, until, cpu, group.name))
    heart.on_task_throttle = lambda since, until, task: seen.append((since, until, task.name))
    return seen


@settings(max_examples=60)
@given(cpus=st.integers(1, 3), data=st.data(), quota=st.booleans(), priced=st.booleans())
def test_on_a_hypervisor_that_costs_nothing_a_guest_has_the_bare_machines_timeline(cpus, data, quota, priced):
    chosen = data.draw(plans(cpus))
    pairs = data.draw(st.lists(PAIR, max_size=3))
    costs = IDEAL_COSTS if priced else SchedulingCosts()
    bare = Heart(cpus, costs=costs, tick_phase_ns=1_234_567, seed=9)
    tower, guest = ideal(cpus, costs)
    seen = [watch(bare), watch(guest)]
    for heart in (bare, guest):
        populate(heart, chosen, quota)
        for place, (kind, run_ns, group) in enumerate(pairs):
            for one, program in enumerate(PAIRS[kind](heart, run_ns)):
                add(heart, f"{kind}{place}.{one}", program, group=heart.groups[group])
    bare.advance(150 * MS)
    tower.advance(150 * MS)
    assert seen[1] == seen[0]
    assert [(t.cpu_time_ns, t.run_delay_ns, t.state, t.burst_ns) for t in guest.tasks] == [
        (t.cpu_time_ns, t.run_delay_ns, t.state, t.burst_ns) for t in bare.tasks
    ]
    for vcpu in guest.vcpus:
        assert vcpu.spent_ns[STEAL] == vcpu.run_delay_ns == 0
        # With prices: the guest's own latencies, in which it has its CPU but runs no task.
        assert priced or vcpu.spent_ns[OVERHEAD] == 0


def test_a_vcpu_halts_again_when_the_task_that_woke_is_throttled():
    """A hog uses up its group's 7 ms of 20 ms; a job of the group that wakes meanwhile finds nothing to run."""
    tower, guest = ideal(1, SchedulingCosts())
    chosen = [Plan("hog", 50, 1000, 0, 1, frozenset({0})), Plan("job", 50, 1000, 0, 1, frozenset({0}))]
    populate(guest, chosen, quota=True)
    tower.advance(150 * MS)
    vcpu = guest.vcpus[0]
    assert vcpu.spent_ns[OVERHEAD] == 0
    assert vcpu.spent_ns[BUSY] == sum(task.cpu_time_ns for task in guest.tasks) < 75 * MS


def buildings() -> st.SearchStrategy[Building]:
    pair = st.tuples(
        st.sampled_from(["drawn", "hog", "lock", "pipe", "spin", "spin"]),
        st.integers(50_000, 3 * MS),
        st.integers(0, 3),
    )
    guest = st.tuples(st.integers(1, 3), st.integers(1, 3), plans(2), st.lists(pair, max_size=3))
    return st.builds(
        Building,
        cpus=st.integers(1, 3),
        guests=st.lists(guest, min_size=1, max_size=3),
        spinning=st.sampled_from(["plain", "ple", "pv"]),
        fair=st.booleans(),
        poll_ns=st.sampled_from([0, 200_000]),
        span_ns=st.just(120 * MS),
    )


@settings(max_examples=60)
@given(buildings())
def test_busy_idle_overhead_and_steal_are_the_capacity_at_every_level(building):
    """Exactly, and each from the books of another: tasks and groups above, the vCPU as a task below."""
    tower = build(building)
    for part in (1, 2, 3):
        tower.advance(building.span_ns * part // 3)
        now = tower.now_ns
        for storey in tower.storeys:
            used = sum(task.cpu_time_ns for task in storey.tasks)
            assert used == storey.root.cpu_time_ns
            if not storey.vcpus:
                idle = sum(cpu.idle_ns + (now - cpu.idle_since_ns if cpu.current is None else 0) for cpu in storey.cpus)
                assert used + idle == now * len(storey.cpus)
                continue
            assert used == sum(vcpu.spent_ns[BUSY] for vcpu in storey.vcpus)
            for vcpu in storey.vcpus:
                assert sum(vcpu.spent_ns) == now
                assert all(part >= 0 for part in vcpu.spent_ns)
                assert vcpu.cpu_time_ns == vcpu.spent_ns[BUSY] + vcpu.spent_ns[OVERHEAD]
                if not vcpu.below.vcpus:
                    waiting = now - vcpu.since_ns if vcpu.state == RUNNABLE else 0
                    assert vcpu.run_delay_ns + waiting == vcpu.spent_ns[STEAL]


def test_two_guests_on_one_cpu_take_turns_and_each_sees_the_others_turns_as_steal():
    """Equal weights, base slices of 3 ms, ticks every 4 ms below: turns of 4 ms, as two plain tasks would have."""
    tower, guests = side_by_side(2, 1)
    for guest in guests:
        add(guest, "hog", hog())
    tower.advance(80 * MS)
    for guest in guests:
        spent = guest.vcpus[0].spent_ns
        assert spent[BUSY] == spent[STEAL] == 40 * MS
        assert guest.tasks[0].cpu_time_ns == 40 * MS
        # It waited only for the first turn: after that its own kernel thinks that it always ran.
        assert guest.tasks[0].run_delay_ns == guest.tasks[0].start_ns + (0 if guest is guests[0] else 4 * MS)


def side_by_side(count: int, cpus: int, hypervisor: Hypervisor | None = None, vcpus: int = 1):
    ground = Storey(cpus)
    guests = [Storey(vcpus, tick_phase_ns=1) for _ in range(count)]
    for number, guest in enumerate(guests):
        pins = [frozenset(range(cpus))] * vcpus
        put_on(ground, guest, hypervisor or Hypervisor(), pins, f"g{number}")
    return Tower([ground, *guests]), guests


def test_a_halted_guest_pays_for_leaving_and_entering():
    """1 ms of work every 10 ms; each halt costs 2 us, without polling: 10 halts in 100 ms, the last one open."""
    tower, (guest,) = side_by_side(1, 1, Hypervisor(halt_ns=2 * US))
    add(guest, "job", job(1 * MS, 10 * MS))
    tower.advance(105 * MS)
    (vcpu,) = guest.vcpus
    assert guest.tasks[0].cpu_time_ns == 10 * MS
    assert vcpu.halts == 11  # before the first round, too
    assert vcpu.spent_ns[OVERHEAD] == 11 * 2 * US
    assert vcpu.spent_ns[STEAL] == 0
    assert vcpu.cpu_time_ns == 10 * MS + 22 * US


@pytest.mark.parametrize(("pause_ns", "expected"), [(50 * US, 80 * US), (400 * US, 0), (900 * US, 0)])
def test_polling_grows_while_pauses_are_short(pause_ns, expected):
    """Pauses of 50 us: 0, 10, 20, 40, 80 us; then polling succeeds and it stays. Pauses over the limit: no polling."""
    tower, (guest,) = side_by_side(1, 1, Hypervisor(halt_ns=1 * US, poll_ns=200 * US))
    program = _loop((Code.CPU, 30 * US, 0), (Code.SLEEP, pause_ns, 0))
    add(guest, "napper", program, slack_ns=0)
    tower.advance(20 * MS)
    (vcpu,) = guest.vcpus
    assert vcpu.poll_ns == expected
    assert (vcpu.polled > 0) == (expected > 0)
    if expected:
        assert vcpu.spent_ns[IDLE] < 1 * MS  # while it grew


def test_polling_stops_for_whoever_else_wants_the_cpu():
    tower, guests = side_by_side(2, 1, Hypervisor(halt_ns=1 * US, poll_ns=200 * US))
    add(guests[0], "napper", _loop((Code.CPU, 30 * US, 0), (Code.SLEEP, 50 * US, 0)), slack_ns=0)
    add(guests[1], "hog", hog())
    tower.advance(100 * MS)
    assert guests[0].vcpus[0].poll_time_ns == 0
    assert guests[1].vcpus[0].spent_ns[STEAL] > 0


def test_the_holder_of_a_spinlock_that_does_not_run_keeps_others_spinning():
    """Two vCPUs on one CPU: while the holder waits for it, the other spins through its turn, and no work is done."""
    results = {}
    for spinning in ("plain", "ple", "pv"):
        tower, (guest,) = side_by_side(1, 1, Hypervisor(spinning=spinning), vcpus=2)
        lock = guest.add_spinlock()
        for number in range(2):
            program = _loop(
                (Code.SPIN_LOCK, lock, 0),
                (Code.CPU, 730 * US, 0),
                (Code.SPIN_UNLOCK, lock, 0),
                (Code.CPU, 110 * US, 0),
                (Code.COUNT, 0, 1),
            )
            add(guest, f"t{number}", program, cpus=frozenset({number}))
        tower.advance(1_000 * MS)
        results[spinning] = (sum(task.operations[0] for task in guest.tasks), guest.spin_ns)
        assert sum(vcpu.yields for vcpu in guest.vcpus) > 0 or spinning != "ple"
    assert results["plain"][1] > 300 * MS
    assert results["ple"][1] < 100 * MS
    assert results["pv"][1] < 100 * MS
    assert results["plain"][0] < results["ple"][0]
    assert results["plain"][0] < results["pv"][0]


def test_the_holder_of_a_spinlock_is_not_preempted_by_its_own_kernel():
    tower, (guest,) = side_by_side(1, 1)
    lock = guest.add_spinlock()
    long = Program()
    long.emit(Code.SPIN_LOCK, lock)
    long.emit(Code.CPU, 50 * MS)
    long.emit(Code.SPIN_UNLOCK, lock)
    long.emit(Code.CPU, 50 * MS)
    long.emit(Code.EXIT)
    seen = watch(guest)
    add(guest, "long", long)
    add(guest, "hog", hog())
    tower.advance(60 * MS)
    switches = [entry for entry in seen if len(entry) == 4]
    assert switches[0] == (0, 0, None, "long")
    assert switches[1][0] == 50 * MS
    assert switches[1][3] == "hog"


def test_a_request_goes_down_to_a_back_end_and_its_answer_comes_up_as_an_interrupt():
    """The guest asks (1 us), the back end works 30 us on another CPU, its interrupt costs 4 us; a halt takes 2."""
    ground, guest = Storey(2), Storey(1)
    put_on(ground, guest, Hypervisor(halt_ns=2 * US), [frozenset({0})])
    requests, answers = ground.add_semaphore(), guest.add_semaphore()
    down = guest.add_door(Door(ground, requests))
    up = ground.add_door(Door(guest, answers, 0, 4 * US))
    asker = Program()
    asker.emit(Code.CPU, 1 * US)
    asker.emit(Code.NOTIFY, down)
    asker.emit(Code.WAIT, answers)
    asker.emit(Code.CPU, 10 * US)
    asker.emit(Code.EXIT)
    worker = _loop((Code.WAIT, requests, 0), (Code.CPU, 30 * US, 0), (Code.NOTIFY, up, 0))
    front = add(guest, "front", asker)
    add(ground, "back", worker, cpus=frozenset({1}))
    tower = Tower([ground, guest])
    tower.advance(10 * MS)
    assert front.end_ns == (1 + 30 + 4 + 10) * US
    (vcpu,) = guest.vcpus
    assert vcpu.spent_ns[IDLE] >= 28 * US
    assert ground.tasks[1].state == BLOCKED


def test_interrupts_wait_for_a_vcpu_that_does_not_run():
    """A timer due in the other guest's turn is served at the start of the own one."""
    tower, guests = side_by_side(2, 1)
    add(guests[0], "hog", hog())
    add(guests[0], "job", job(10 * US, 10 * MS))
    add(guests[1], "hog", hog())
    late = []
    guests[0].on_wakeup = lambda time, cpu, task: late.append(time)
    tower.advance(200 * MS)
    running = []
    assert late
    assert len([time for time in late if time % (10 * MS) > 50 * US]) > 3, running


def test_nested_guests_stand_still_together():
    """A hog on a guest on a guest, beside one on the ground: half the time each; both levels see the steal."""
    ground, middle, top = Storey(1), Storey(1), Storey(1)
    put_on(ground, middle, Hypervisor(), [frozenset({0})], "middle")
    put_on(middle, top, Hypervisor(), [frozenset({0})], "top")
    inner = add(top, "inner", hog())
    outer = add(ground, "outer", hog())
    Tower([ground, middle, top]).advance(80 * MS)
    assert inner.cpu_time_ns == outer.cpu_time_ns == 40 * MS
    assert list(middle.vcpus[0].spent_ns) == [40 * MS, 0, 40 * MS, 0]
    assert list(top.vcpus[0].spent_ns) == [40 * MS, 0, 40 * MS, 0]
    assert ground.tasks[0].load == NICE_0_LOAD
