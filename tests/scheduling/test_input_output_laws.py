"""Laws of requests that hold for any path, ring, placement and neighbours: nothing is lost, made up or free."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scheduling.conftest import MS, add, hog
from tests.scheduling.test_input_output import Path, client, device, ring_of, server
from virtsim.scheduling.heart import Heart
from virtsim.scheduling.task import ENDED
from virtsim.scheduling.weight import group_load

times = st.integers(1, 50_000)
paths = st.builds(
    Path, before=times, kick=times, back=st.none() | times, position=st.integers(0, 50_000), transfer=times,
    interrupt=times, signal=st.integers(0, 5000), device=st.integers(0, 5000), suppress=st.booleans(),
    size=st.integers(1, 6), ways=st.integers(1, 3), batch=st.integers(1, 7), hidden=st.booleans(),
    coalesced=st.integers(1, 7), awaited=st.booleans(), lazy=st.booleans(),
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """Rings of one device and one back end, clients of each on few CPUs, and hogs beside them."""

    path: Path
    clients: list[list[int]]
    cpus: int
    hogs: int
    weight: int
    completion: int
    wake: int


plans = st.builds(
    Plan, path=paths, clients=st.lists(st.lists(st.integers(1, 12), min_size=1, max_size=3), min_size=1, max_size=2),
    cpus=st.integers(1, 3), hogs=st.integers(0, 2), weight=st.integers(10, 1000), completion=st.integers(0, 5000),
    wake=st.integers(0, 5000),
)  # fmt: skip


class World:
    """A plan at work; one more CPU has a task that keeps the run alive until all requests are through."""

    def __init__(self, plan: Plan, span: int) -> None:
        path = plan.path
        if path.lazy:
            # A driver that looks for completions only when it sends does not wait for one.
            path = replace(path, awaited=False, refill=max(1, path.size // 2))
        self.path = path
        self.heart = heart = Heart(plan.cpus + 1)
        busy = frozenset(range(plan.cpus))
        guest = heart.add_group("guest", heart.root, group_load(plan.weight), busy)
        place = max(busy)
        self.backend = server(heart, place, guest, plan.wake) if path.back is not None else None
        self.station = device(path)
        self.rings, self.clients = [], []
        for number, counts in enumerate(plan.clients):
            ring = ring_of(path, self.backend)
            ring.completion_ns = plan.completion
            self.rings.append(ring)
            for each, count in enumerate(counts):
                program = client(heart, path, ring, self.station, count)
                cpus = frozenset({(number + each) % plan.cpus})
                self.clients.append(add(heart, f"g/{number}.{each}", program, group=guest, cpus=cpus))
        self.hogs = [add(heart, f"hog/{i}", hog(), cpus=frozenset({i % plan.cpus})) for i in range(plan.hogs)]
        self.keeper = add(heart, "keeper", hog(), cpus=frozenset({plan.cpus}))
        heart.advance(span)

    def counted(self, name: str) -> int:
        """A counter of all rings together."""
        return sum(getattr(ring, name) for ring in self.rings)


@settings(max_examples=80, deadline=None)
@given(plans)
def test_no_request_is_lost_and_none_is_made_up(plan):
    world = World(plan, 2000 * MS)
    wanted = sum(sum(counts) for counts in plan.clients)
    assert all(task.state == ENDED for task in world.clients)
    assert world.counted("submitted") == world.counted("completed") == world.station.served == wanted
    assert world.station.bytes == 512 * wanted
    assert world.station.busy == 0
    assert not world.station.waiting
    assert world.counted("interrupts") + world.counted("saved_interrupts") == wanted
    for ring in world.rings:
        # What the driver has not looked at yet keeps its place in the ring, and nothing else does.
        assert ring.taken == len(ring.used)
        assert not ring.available
        assert not ring.blocked
        assert ring.times.count == ring.completed - len(ring.used)
        if world.path.awaited:
            assert not ring.used
    if world.backend is not None:
        assert world.backend.asleep
        assert not world.backend.finished
        assert world.counted("kicks") + world.counted("saved_kicks") == wanted


@settings(max_examples=80, deadline=None)
@given(plans)
def test_every_nanosecond_of_cpu_time_is_somebodys(plan):
    """Clients, back end and idle time, each from its own books, in whole nanoseconds."""
    world = World(plan, 2000 * MS)
    path, heart = world.path, world.heart
    done = world.counted("completed")
    spent = sum(task.cpu_time_ns for task in world.clients)
    told = world.counted("kicks") * path.kick + world.counted("interrupts") * path.interrupt
    assert spent == done * path.before + told - world.counted("unclaimed_ns")
    if world.backend is not None:
        least = done * (path.back + plan.completion) + world.counted("interrupts") * path.signal
        more = world.backend.task.cpu_time_ns - least
        # The device interrupts for one or more that are done; a back end that slept may have to be switched to.
        assert 0 <= more <= done * path.device + (2 * done + 1) * plan.wake
        if plan.wake == 0 and path.device:
            assert more % path.device == 0
    idle = sum(c.idle_ns + (heart.now_ns - c.idle_since_ns if c.current is None else 0) for c in heart.cpus)
    assert sum(task.cpu_time_ns for task in heart.tasks) + idle == len(heart.cpus) * heart.now_ns


@settings(max_examples=60, deadline=None)
@given(paths, st.integers(1, 40), st.booleans())
def test_nothing_is_done_faster_than_its_slowest_stage(path, slices, by_bus):
    """Laden with twice as many clients as fit, at any time: no device, no way of it and no back end beyond its time."""
    slow = {"transfer": 20_000, "position": 0} if by_bus else {"transfer": 1, "position": 40_000}
    path = replace(path, before=100, kick=100, interrupt=100, size=6, awaited=True, lazy=False, **slow)
    world = World(Plan(path, [[0] * 12], 3, 0, 100, 0, 0), slices * MS // 8)
    now, done = world.heart.now_ns, world.station.served
    assert done * path.transfer <= now
    assert done * path.position <= path.ways * now
    if path.back is not None:
        assert world.counted("completed") * path.back <= world.backend.task.cpu_time_ns <= now
    assert 0 <= world.counted("submitted") - world.counted("completed") <= path.size


@settings(max_examples=60, deadline=None)
@given(paths, st.integers(1, 4), st.integers(1, 12))
def test_suppression_never_tells_more_often(path, clients, count):
    """The same requests with and without; each client waits, on a CPU of its own, so that both do the same."""
    told = []
    for suppress in (True, False):
        plan = Plan(
            replace(path, suppress=suppress, awaited=True, lazy=False), [[count] * clients], clients, 0, 100, 0, 0
        )
        world = World(plan, 500 * MS)
        told.append(world.counted("kicks"))
        assert world.counted("kicks") + world.counted("interrupts") <= 2 * clients * count
    assert told[0] <= told[1] == (0 if path.back is None else clients * count)
