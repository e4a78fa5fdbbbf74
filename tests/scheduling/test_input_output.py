"""Rings, back ends and devices: exact timelines and closed forms, in whole nanoseconds."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scheduling.conftest import MS, add, hog
from virtsim.scheduling.devices import BackEnd, Port, Ring, Station
from virtsim.scheduling.heart import Heart
from virtsim.scheduling.program import Code, Program, Sampler
from virtsim.scheduling.task import Task
from virtsim.scheduling.weight import NICE_0_LOAD, group_load
from virtsim.workload.draw import Draw


@dataclass(frozen=True)
class Path:
    """Stage costs, ns; ``back`` is the back end's, None for a driver that reaches the device itself."""

    before: int = 1000
    kick: int = 500
    back: int | None = 2000
    position: int = 0
    transfer: int = 3000
    interrupt: int = 700
    signal: int = 0
    device: int = 0
    size: int = 64
    ways: int = 1
    suppress: bool = True
    awaited: bool = True
    lazy: bool = False
    refill: int = 1
    batch: int = 1
    hidden: bool = False
    coalesced: int = 1

    @property
    def sum(self) -> int:
        """All stages of one request, one after the other."""
        back = 0 if self.back is None else self.kick + self.back + self.signal + self.device
        return self.before + back + self.position + self.transfer + self.interrupt


def device(path):
    return Station("disk", path.ways)


def server(heart, cpu=1, group=None, wake_ns=0, load=NICE_0_LOAD):
    """A back end on a CPU."""
    backend = BackEnd(wake_ns)
    task = Task("g/worker", group or heart.root, load, Program(), frozenset({cpu}), heart.kernel.base_slice_ns)
    heart.add_back_end(backend, task, cpu)
    return backend


def ring_of(path, backend=None):
    batches = (path.batch, path.hidden, path.coalesced)
    ring = Ring("g", path.size, backend, path.suppress, path.lazy, path.refill, *batches)
    ring.interrupt_ns, ring.signal_ns, ring.device_ns = path.interrupt, path.signal, path.device
    return ring


def client(heart, path, ring, station, count=0, think=0, after=0):
    """A task that makes requests, and computes ``after``; histogram 0 is what it waited for each."""
    samplers = [Sampler(Draw("constant", (path.position,)), 1)] if path.position else []
    port = heart.add_port(
        Port(ring, station, path.transfer, 512, samplers, awaited=path.awaited, backend_ns=path.back or 0)
    )
    program = Program()
    counter, since = program.slot(), program.slot()
    program.emit(Code.LOOP_BEGIN, count, counter)
    top = program.emit(Code.PERIODIC_BEGIN, 0, since)
    program.cpu(path.before)
    program.emit(Code.SUBMIT, port)
    if path.back is not None:
        tell(program, Code.JUMP_UNLESS_KICK, path, port)
    if path.awaited:
        program.emit(Code.AWAIT, port)
    program.emit(Code.RECORD_SINCE, 0, since)
    program.cpu(think)
    program.emit(Code.LOOP_END, top, counter)
    if path.back is not None:
        tell(program, Code.JUMP_UNLESS_PUSH, path, port)
    program.cpu(after)
    program.emit(Code.EXIT)
    return program


def tell(program, unless, path, port):
    """A kick, where somebody has to be told."""
    skip = program.emit(unless, 0, port)
    program.cpu(path.kick)
    program.emit(Code.KICK, port)
    program.land(skip)


def run(path, clients=1, count=10, span=10 * MS, cpus=None, think=0, after=0):
    """Clients, each on a CPU of its own; the back end on the last one."""
    heart = Heart(cpus or clients + 1)
    backend = server(heart, clients) if path.back is not None else None
    ring, station = ring_of(path, backend), device(path)
    tasks = [
        add(heart, f"g/{i}", client(heart, path, ring, station, count, think, after), cpus=frozenset({i}))
        for i in range(clients)
    ]
    heart.advance(span)
    return heart, ring, station, tasks, backend


times = st.integers(1, 50_000)
paths = st.builds(
    Path, before=times, kick=times, back=st.none() | times, position=st.integers(0, 50_000), transfer=times,
    interrupt=times, signal=st.integers(0, 5000), device=st.integers(0, 5000), suppress=st.booleans(),
    batch=st.integers(1, 9), hidden=st.booleans(), coalesced=st.integers(1, 9),
)  # fmt: skip


@given(paths, st.integers(1, 20))
def test_one_request_at_a_time_takes_the_sum_of_its_stages(path, count):
    """A tandem at low load: every request waits nowhere, so its time is the sum, to the nanosecond."""
    heart, ring, station, (task,), backend = run(path, count=count)
    histogram = task.histograms[0]
    expected = path.sum
    assert (histogram.count, histogram.min_ns, histogram.max_ns) == (count, expected, expected)
    assert task.end_ns == heart.now_ns == count * expected
    kick = path.kick if path.back is not None else 0
    assert task.cpu_time_ns == count * (path.before + kick + path.interrupt)
    if backend is not None:
        assert backend.task.cpu_time_ns == count * (path.back + path.signal + path.device)
        assert (ring.kicks, ring.saved_kicks) == (count, 0)
    assert (ring.interrupts, ring.saved_interrupts) == (count, 0)
    assert station.bus_busy_ns == count * path.transfer
    assert (ring.submitted, ring.completed, ring.taken) == (count, count, 0)


@given(st.integers(1, 6), st.integers(1, 20), st.integers(100, 4000), st.integers(100, 60_000))
def test_clients_of_one_bus_are_a_closed_network_of_deterministic_stages(clients, before, transfer, interrupt):
    """Exact for deterministic stages: a cycle takes max(sum of stages, clients times the bus's)."""
    path = Path(before=before, back=None, transfer=transfer, interrupt=interrupt)
    span = 200 * path.sum + 100 * clients * transfer
    _, ring, station, tasks, _ = run(path, clients, count=0, span=span)
    cycle = max(path.sum, clients * transfer)
    for task in tasks:
        assert abs(task.histograms[0].count - span // cycle) <= 2
        assert task.histograms[0].max_ns <= max(path.sum, clients * transfer) + transfer * clients
    assert ring.submitted - ring.completed <= clients
    assert station.served == ring.completed


@given(st.integers(1, 8), st.integers(1, 8))
def test_ways_in_parallel_saturate_at_ways_over_positioning(clients, ways):
    path = Path(before=10, back=None, position=20_000, transfer=10, interrupt=10, ways=ways)
    span = 4 * MS
    _, _, station, _, _ = run(path, clients, count=0, span=span)
    rate = min(clients / path.sum, ways / (path.position + path.transfer))
    assert station.served == pytest.approx(rate * span, abs=2 * clients, rel=0.01)


def test_the_slowest_stage_is_the_throughput():
    """A sender that never waits, and a back end that is slower than both: one over the back end's time."""
    path = Path(before=1000, kick=500, back=5000, transfer=2000, awaited=False, lazy=True)
    _, ring, station, _, backend = run(path, count=0)
    assert station.served == (10 * MS - path.before - path.kick - path.transfer) // path.back
    assert backend.task.cpu_time_ns == pytest.approx(10 * MS, abs=path.back)
    assert ring.taken == path.size, "the ring is full"
    assert ring.blocked, "and its sender waits"


def test_kicks_and_interrupts_are_left_out_under_load_and_not_when_idle():
    busy = Path(before=1000, kick=500, back=5000, transfer=2000, awaited=False, lazy=True, refill=48)
    idle = run(busy, count=100, span=100 * MS, think=20_000)[1]
    assert (idle.submitted, idle.kicks, idle.saved_kicks) == (100, 100, 0)
    loaded = run(busy, count=0)[1]
    assert loaded.kicks == 1, "the back end never sleeps again"
    assert loaded.interrupts <= loaded.completed // 40, "the sender is told when three quarters of the ring are free"
    always = Path(**{**busy.__dict__, "suppress": False})
    told = run(always, count=0)[1]
    assert (told.kicks, told.saved_kicks) == (told.submitted, 0)
    assert told.interrupts > 10 * loaded.interrupts


def test_a_full_ring_blocks_its_sender_exact_timeline():
    """Ring of 2, device of 3000: sent at 100, 200, then one slot at a time, when the driver has been told."""
    path = Path(before=100, back=None, transfer=3000, interrupt=50, size=2, awaited=False, lazy=True)
    _, ring, _, (task,), _ = run(path, count=4, span=MS)
    # The third finds the ring full at 300 and is told at 3100: 50 for the interrupt, and it is in at 3150; the
    # fourth is told at 6100, and in at 6150.
    assert task.end_ns == 6150
    histogram = task.histograms[0]
    assert (histogram.min_ns, histogram.max_ns, histogram.sum_ns) == (100, 3000, 6150)
    assert (ring.interrupts, ring.submitted) == (2, 4)


def test_a_starved_back_end_makes_its_guest_wait():
    """The back end shares its CPU with hogs, in a group of low weight; the same timeline as if it were slow."""
    path = Path(before=1000, kick=500, back=2000, transfer=3000)
    waited = []
    for weight in (100, 1):
        heart = Heart(2)
        group = heart.add_group("vm", heart.root, group_load(weight), frozenset({0, 1}))
        hogs = heart.add_group("hogs", heart.root, group_load(100), frozenset({1}))
        ring = ring_of(path, server(heart, 1, group))
        task = add(heart, "vm/0", client(heart, path, ring, device(path)), group=group, cpus=frozenset({0}))
        for i in range(3):
            add(heart, f"hogs/{i}", hog(), group=hogs, cpus=frozenset({1}))
        heart.advance(2000 * MS)
        waited.append(task.histograms[0])
        assert sum(t.cpu_time_ns for t in heart.tasks) + sum(c.idle_ns for c in heart.cpus) <= 2 * 2000 * MS
    assert waited[1].mean_ns > 3 * waited[0].mean_ns > 3 * path.sum


def test_a_back_end_that_shares_its_guests_cpu_runs_when_that_waits():
    """One CPU: the kick only makes the worker runnable; exact timeline of one request."""
    path = Path(before=1000, kick=500, back=2000, transfer=3000, interrupt=700)
    heart = Heart(1)
    ring = ring_of(path, server(heart, 0))
    task = add(heart, "g/0", client(heart, path, ring, device(path), count=3))
    heart.advance(MS)
    assert task.end_ns == 3 * path.sum
    assert task.cpu_time_ns == 3 * 2200


@settings(max_examples=60)
@given(paths, st.integers(1, 5), st.integers(1, 4), st.booleans(), st.integers(0, 20_000))
def test_every_request_is_done_or_under_way(path, clients, size, awaited, think):
    path = Path(**{**path.__dict__, "size": size, "awaited": awaited, "lazy": not awaited, "refill": max(1, size // 2)})
    heart, ring, station, _, backend = run(path, clients, count=0, span=3 * MS, think=think)
    hand = int(backend is not None and backend.hand is not None and not backend.asleep)
    assert 0 <= ring.submitted - ring.completed <= size
    assert ring.taken <= size
    assert ring.taken == ring.submitted - ring.completed + len(ring.used)
    waiting = len(ring.available) + (len(backend.finished) if backend else 0)
    assert ring.submitted - ring.completed <= waiting + hand + station.busy + len(station.waiting) + size
    assert ring.completed == ring.interrupts + ring.saved_interrupts or (backend is not None and backend.phase == 2)
    capacity = len(heart.cpus) * heart.now_ns
    idle = sum(c.idle_ns + (heart.now_ns - c.idle_since_ns if c.current is None else 0) for c in heart.cpus)
    assert sum(t.cpu_time_ns for t in heart.tasks) + idle == capacity
    if path.back is not None:
        assert ring.kicks + ring.saved_kicks == pytest.approx(ring.submitted, abs=clients)


def test_an_answer_comes_back_over_its_own_ring():
    """A call over a network: out, the remote's time, back in, one after the other."""
    heart = Heart(2)
    backend = server(heart, 1)
    out, back = Ring("tx", 16, backend, lazy=True), Ring("rx", 16, backend)
    back.interrupt_ns, back.completion_ns = 700, 900
    answer = Port(back, Station("in"), 400, 60)
    port = heart.add_port(
        Port(out, Station("out"), 600, 60, backend_ns=2000, awaited=False, answer=answer, remote_ns=9000)
    )
    program = Program()
    program.cpu(1000)
    program.emit(Code.SUBMIT, port)
    program.emit(Code.JUMP_UNLESS_KICK, 4, port)
    program.emit(Code.KICK, port)
    program.emit(Code.AWAIT, port)
    program.emit(Code.EXIT)
    task = add(heart, "g/0", program, cpus=frozenset({0}))
    heart.advance(MS)
    assert task.end_ns == 1000 + 2000 + 600 + 9000 + 400 + 900 + 700


# -- batches ------------------------------------------------------------------------------------------------------

#: Sent at 1000, 2000, ...; nobody waits for a completion.
SENT = Path(before=1000, kick=500, back=2000, transfer=3000, interrupt=700, awaited=False, suppress=False)


@pytest.mark.parametrize("hidden", [False, True])
def test_a_batch_is_one_kick_and_one_interrupt_exact_timeline(hidden):
    """Put in at 1000, 2000, 3000, told at 3500; served until 9500; over the bus at 8500, 11,500, 14,500."""
    path = Path(**{**SENT.__dict__, "batch": 3, "coalesced": 3, "hidden": hidden})
    _, ring, _, (task,), backend = run(path, count=3, after=20_000)
    assert (ring.kicks, ring.saved_kicks, ring.interrupts, ring.saved_interrupts) == (1, 2, 1, 2)
    assert task.end_ns == 3500 + 20_000 + 700
    assert (ring.times.count, ring.times.min_ns, ring.times.max_ns) == (3, 14_500 - 3000, 14_500 - 1000)
    assert backend.task.cpu_time_ns == 3 * 2000
    single = run(SENT, count=3, after=20_000)
    assert (single[1].kicks, single[1].interrupts) == (3, 3)
    assert single[3][0].cpu_time_ns - task.cpu_time_ns == 2 * (500 + 700)


@pytest.mark.parametrize(("hidden", "kicks", "last"), [(False, 1, 11_000), (True, 2, 13_000)])
def test_a_back_end_at_work_sees_virtios_requests_before_their_kick_and_xens_not(hidden, kicks, last):
    """Two batches, put in every 1500 from 1500 and told at 5000 and by 10,000; each takes the back end 1000.

    Done with the first at 8000 it goes on with what lies there, or sleeps until it is told of the whole batch.
    """
    more = {"before": 1500, "back": 1000, "transfer": 1, "batch": 3, "hidden": hidden, "suppress": True, "lazy": True}
    _, ring, station, _, _ = run(Path(**{**SENT.__dict__, **more}), count=6, after=MS)
    assert (ring.kicks, ring.saved_kicks) == (kicks, 6 - kicks)
    assert station.bus_free_ns == last + 1


def test_what_is_left_of_a_batch_is_told_before_its_task_ends():
    path = Path(**{**SENT.__dict__, "batch": 4, "coalesced": 4})
    _, ring, _, (task,), _ = run(path, count=6, after=50_000)
    # Told of four at 4500, of two at 7000; the back end has them all by 4500 + 6 * 2000.
    assert (ring.kicks, ring.saved_kicks) == (2, 4)
    # The bus has carried four at 6500 + 4 * 3000, and the last two at 24,500.
    assert (ring.interrupts, ring.saved_interrupts) == (2, 4)
    assert task.end_ns == 7000 + 50_000 + 2 * 700
    assert ring.times.max_ns == 24_500 - 5500


def test_a_full_ring_ends_a_batch():
    path = Path(**{**SENT.__dict__, "batch": 64, "coalesced": 64, "size": 4, "lazy": True})
    _, ring, _, _, _ = run(path, count=16, after=MS)
    assert (ring.kicks, ring.interrupts) == (4, 4)


def test_who_waits_tells_at_once_whatever_the_batch():
    """A reader beside a writer on one ring: each read takes what is held back with it."""
    path = Path(**{**SENT.__dict__, "awaited": True, "batch": 8, "coalesced": 8})
    _, ring, _, (task,), _ = run(path, count=5)
    assert task.end_ns == 5 * path.sum
    assert (ring.kicks, ring.interrupts) == (5, 5)


@pytest.mark.parametrize(("coalesced", "ends"), [(1, [4, 7, 10, 13]), (2, [7, 7, 13, 13]), (3, [10, 10, 10, 13])])
def test_a_device_interrupts_for_several_completions_or_when_nothing_follows(coalesced, ends):
    """Four readers ask at 1000; the bus is done with each 3000 later; a handler takes 700."""
    path = Path(back=None, coalesced=coalesced)
    _, ring, _, tasks, _ = run(path, 4, count=1)
    assert sorted(task.end_ns for task in tasks) == [1000 * end + 700 for end in ends]
    assert ring.interrupts == len(set(ends))
    assert sum(task.cpu_time_ns for task in tasks) == 4 * 1000 + len(set(ends)) * 700


def test_a_driver_domain_is_interrupted_by_its_device_once_for_a_group():
    path = Path(**{**SENT.__dict__, "batch": 4, "coalesced": 4, "device": 300, "signal": 200, "hidden": True})
    _, ring, _, _, backend = run(path, count=8, after=MS)
    assert (ring.kicks, ring.interrupts) == (2, 2)
    assert backend.task.cpu_time_ns == 8 * 2000 + 2 * (300 + 200)


@given(st.integers(2, 40), st.integers(1, 12), st.booleans(), st.integers(500, 5000), st.integers(100, 5000))
def test_always_told_a_batch_of_b_is_one_notification_in_b(batch, rounds, hidden, back, transfer):
    more = {"batch": batch, "coalesced": batch, "hidden": hidden, "back": back, "transfer": transfer, "size": 1024}
    _, ring, _, (task,), _ = run(Path(**{**SENT.__dict__, **more}), count=rounds * batch, after=10 * MS, span=100 * MS)
    assert ring.kicks == rounds
    assert ring.kicks + ring.saved_kicks == ring.submitted == rounds * batch
    # A back end that is faster than its sender has nothing more to come now and then, and tells of fewer.
    assert ring.interrupts == rounds if back > 3000 else ring.interrupts >= rounds
    assert task.cpu_time_ns == ring.submitted * 1000 + ring.kicks * 500 + ring.interrupts * 700 + 10 * MS
