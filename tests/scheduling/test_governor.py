"""Frequencies that follow the load: averages, the governor's choices, and what they do to running tasks."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scheduling.conftest import MS, add, hog, job
from tests.scheduling.streams import Case, happenings
from tests.scheduling.test_laws import KERNELS, plans
from virtsim.core.errors import ModelError
from virtsim.scheduling.heart import Heart
from virtsim.scheduling.layout import Layout
from virtsim.scheduling.policies.deadline import Deadline, Server
from virtsim.scheduling.policies.realtime import Priority, RealTime
from virtsim.scheduling.program import Code, Program
from virtsim.scheduling.settings import Frequencies, Kernel, SchedulingCosts
from virtsim.scheduling.states import MOST, PERIOD
from virtsim.scheduling.utilisation import Utilisation, decayed

MHZ = 1_000_000
#: From 0.8 to 2 GHz, where work takes as long as it says.
RANGE = Frequencies(800 * MHZ, 2000 * MHZ, 2000 * MHZ)


def governed(frequencies: Frequencies, *heart: object, **options: object) -> Heart:
    made = Heart(*heart, **options)  # type: ignore[arg-type]
    made.govern(frequencies)
    return made


def work(run_ns: int) -> Program:
    program = Program()
    program.emit(Code.CPU, run_ns)
    program.emit(Code.EXIT)
    return program


def changes(heart: Heart, until_ns: int, domain: int = 0) -> list[tuple[int, int]]:
    """(time, MHz) of each change of a domain's frequency, followed event by event."""
    seen = [(0, heart.governor.domains[domain].frequency_hz // MHZ)]
    while (due_ns := heart.next_event_ns()) is not None and due_ns <= until_ns:
        heart.advance(due_ns)
        mhz = heart.governor.domains[domain].frequency_hz // MHZ
        if mhz != seen[-1][1]:
            seen.append((heart.now_ns, mhz))
        if not heart.live_tasks:
            break
    return seen


@st.composite
def frequencies(draw: st.DrawFn) -> Frequencies:
    """Frequencies of all kinds, around a nominal one of 2 GHz."""
    points = draw(st.lists(st.integers(200, 6000), min_size=1, max_size=5, unique=True).map(sorted))
    return Frequencies(
        points[0] * MHZ,
        points[-1] * MHZ,
        2000 * MHZ,
        points_hz=tuple(point * MHZ for point in points) if draw(st.booleans()) else (),
        rate_limit_ns=draw(st.sampled_from([0, 500_000, MS, 10 * MS])),
        latency_ns=draw(st.sampled_from([0, 20_000, 3 * MS])),
    )


# -- averages ----------------------------------------------------------------------------------------------------


def test_the_series_is_the_kernels():
    """``LOAD_AVG_MAX``, and that 32 periods halve."""
    assert MOST == decayed(MOST, 1) + PERIOD == 47742
    assert [decayed(1 << 20, n) for n in (32, 64, 32 * 20, 32 * 63)] == [(1 << 19) - 1, (1 << 18) - 1, 0, 0]


@given(spells=st.lists(st.tuples(st.booleans(), st.integers(0, 80 * MS)), min_size=1, max_size=30), last=st.booleans())
def test_averages_are_those_of_the_geometric_series(spells, last):
    """Against real numbers, period by period; the last spell goes on to the end of its period (2^20 ns)."""
    average, y = Utilisation(), 0.5 ** (1 / 32)
    now = 0
    busy_in: dict[int, int] = {}
    for busy, length in [*spells, (last, (1 << 20) - sum(length for _, length in spells) % (1 << 20))]:
        at, now = now >> 10, now + length
        average.update(now, busy, 2, 0)
        while at < now >> 10:
            end = min(now >> 10, (at // 1024 + 1) * 1024)
            busy_in[at // 1024] = busy_in.get(at // 1024, 0) + (end - at) * busy
            at = end
    periods = now >> 20
    exact = sum(units * y ** (periods - number) for number, units in busy_in.items()) * (1 - y) / y
    assert average.busy == pytest.approx(exact, abs=3)
    assert average.runnable == pytest.approx(2048 * (1 - y**periods), abs=4)


# -- one task alone ------------------------------------------------------------------------------------------------


def test_a_new_hog_takes_a_cpu_up_from_five_eighths():
    """A new task on an unused CPU counts as half of it (``post_init_entity_util_avg``): 1.25 * 512 / 1024 * 2 GHz.

    From there on u = 1024 - 512 * 2^(-t / 32) in periods of 2^20 ns by the averages' clock, which runs as fast as the
    CPU, looked at at each tick: 4 ms at 640/1024 of the highest frequency are 2.38 periods, and u = 537.
    """
    heart = governed(RANGE, 1)
    add(heart, "hog", hog())
    seen = changes(heart, 100 * MS)
    assert seen == [
        (0, 800), (0, 1250), (4 * MS, 1310), (8 * MS, 1373), (12 * MS, 1435), (16 * MS, 1496), (20 * MS, 1556),
        (24 * MS, 1615), (28 * MS, 1671), (32 * MS, 1728), (36 * MS, 1781), (40 * MS, 1830), (44 * MS, 1878),
        (48 * MS, 1925), (52 * MS, 1968), (56 * MS, 2000),
    ]  # fmt: skip
    clock = 0.0
    for (since, mhz), (until, then) in pairwise(seen[1:]):
        clock += (until - since) * mhz / 2000 / 2**20
        assert then == pytest.approx(min(1.25 * (1024 - 512 * 2 ** (-clock / 32)) / 1024 * 2000, 2000), abs=6)


def test_work_goes_on_at_the_new_speed():
    """4 ms at 640/1024 are 2.5 ms of work, 4 ms at 671/1024 2.62109375: 3 ms of work end 0.5 ms / (671/1024) after
    the change, to the nanosecond."""
    heart = governed(RANGE, 1)
    task = add(heart, "work", work(3 * MS))
    heart.advance(10 * MS)
    assert task.end_ns == 4 * MS + -(-500_000 * 1024 // 671)
    assert heart.governor.domains[0].changes == 2


def test_points_are_resolved_upwards_and_come_after_the_latency():
    points = replace(RANGE, points_hz=tuple(mhz * MHZ for mhz in (800, 1400, 1700, 2000)), latency_ns=30_000)
    heart = governed(points, 1)
    add(heart, "hog", hog())
    # 1250 asks for 1400, and what goes over 1400 and 1700 at the ticks of 12 and 28 ms for the next.
    assert changes(heart, 100 * MS) == [(0, 800), (30_000, 1400), (12_030_000, 1700), (28_030_000, 2000)]


def test_changes_keep_the_rate_limit():
    heart = governed(replace(RANGE, rate_limit_ns=10 * MS), 1)
    add(heart, "hog", hog())
    times = [time for time, _ in changes(heart, 100 * MS)]
    assert times == [0, 0, 12 * MS, 24 * MS, 36 * MS, 48 * MS, 60 * MS]


@pytest.mark.parametrize(("governor", "end_ns"), [("performance", 10 * MS), ("powersave", 10 * MS * 1024 // 410 + 1)])
def test_the_highest_and_the_lowest_are_constant(governor, end_ns):
    """800 of 2000 MHz are 410/1024, to the nearest."""
    heart = governed(replace(RANGE, governor=governor), 1)
    task = add(heart, "work", work(10 * MS))
    heart.advance(100 * MS)
    assert task.end_ns == end_ns
    assert heart.governor.domains[0].changes == 0


def test_faster_than_nominal_is_faster():
    heart = governed(Frequencies(1000 * MHZ, 3000 * MHZ, 2000 * MHZ, governor="performance"), 1)
    task = add(heart, "work", work(30 * MS))
    heart.advance(100 * MS)
    assert task.end_ns == 20 * MS


def test_residency_adds_up():
    heart = governed(RANGE, 1)
    add(heart, "hog", hog())
    heart.advance(10 * MS)
    domain = heart.governor.domains[0]
    domain.count(heart.now_ns)
    spent = {hz // MHZ: time_ns for hz, time_ns in domain.residency_ns.items()}
    assert spent == {1250: 4 * MS, 1310: 4 * MS, 1373: 2 * MS}


# -- what is remembered, and what is held ---------------------------------------------------------------------------


@pytest.mark.parametrize("estimated", [True, False])
def test_a_task_that_comes_back_is_expected_to_be_what_it_was(estimated):
    """20 ms of work in each 400 ms, asleep for ten half-lives: only the estimate remembers (``UTIL_EST``)."""
    kernel = Kernel(features=frozenset({"UTIL_EST"} if estimated else ()))
    heart = governed(replace(RANGE, minimum_hz=200 * MHZ), 1, kernel)
    task = add(heart, "job", job(20 * MS, 400 * MS))
    heart.advance(1_199 * MS)
    used = task.utilisation.busy  # when it went to sleep
    assert used > 200
    assert task.utilisation.estimate == (used if estimated else 0)
    assert heart.governor.meters[0].fair.estimate == 0
    woken_ns = 1_200 * MS + task.slack_ns
    heart.advance(woken_ns + 1)
    # 1.25 times what it was, at once; or up from the lowest.
    mhz = heart.governor.domains[0].frequency_hz // MHZ
    assert mhz == (2000 * (used + used // 4) // 1024 if estimated else 200)


def test_a_cpu_that_was_not_idle_is_not_slowed_down():
    """A real-time task has its CPU go at 2 GHz; when it sleeps the hog beside it keeps that (``sugov_hold_freq``)."""
    ends = []
    for layout in (Layout.flat(2), Layout.regular(2, 2)):
        heart = governed(RANGE, 2, layout=layout)
        realtime = heart.add_policy(RealTime())
        add(heart, "hog", hog(), cpus={0})
        task = add(heart, "urgent", work(MS), cpus={0}, start=MS)
        task.policy, task.policy_data = realtime, Priority(1)
        ends.append(changes(heart, 8 * MS))
    alone, shared = ends
    assert alone == [(0, 800), (0, 1250), (MS, 2000)]
    # Where CPUs share a frequency there is no such rule.
    assert shared[:3] == alone
    assert shared[3][0] == 2 * MS
    assert 1250 < shared[3][1] < 1400


# -- other classes -------------------------------------------------------------------------------------------------


def test_a_deadline_task_has_its_bandwidth_whatever_the_rate_limit():
    """9 ms in 10 ms are 921/1024 of the highest frequency."""
    heart = governed(replace(RANGE, rate_limit_ns=100 * MS), 1)
    deadline = heart.add_policy(Deadline())
    add(heart, "first", work(100_000))
    task = add(heart, "job", job(2 * MS, 10 * MS), start=MS)
    task.policy, task.policy_data = deadline, Server(9 * MS, 10 * MS, 10 * MS)
    assert changes(heart, 30 * MS) == [(0, 800), (0, 1250), (MS, 2000 * 921 // 1024)]


# -- more CPUs -----------------------------------------------------------------------------------------------------


def test_the_busiest_cpu_of_a_domain_counts():
    heart = governed(replace(RANGE, domains=(0, 0)), 2)
    add(heart, "hog", hog(), cpus={0})
    late = add(heart, "late", work(1000), cpus={1}, start=60 * MS)
    assert changes(heart, 80 * MS)[-1] == (56 * MS, 2000)
    assert late.end_ns == 60 * MS + 1000


def test_each_core_has_its_own_frequency():
    heart = governed(RANGE, 2)
    add(heart, "hog", hog(), cpus={0})
    add(heart, "short", work(5 * MS), cpus={1})
    heart.advance(80 * MS)
    assert [domain.frequency_hz // MHZ for domain in heart.governor.domains] == [2000, 1310]


def test_a_hog_that_moves_takes_its_utilisation_along():
    """Two hogs share CPU 0 until CPU 1, where a short task was, is idle: what it fetches has it go fast at once."""
    heart = governed(RANGE, 2)
    add(heart, "stays", hog(), cpus={0})
    goes = add(heart, "goes", hog(), start=0)
    add(heart, "short", hog(), cpus={1})
    heart.advance(100 * MS)
    where = goes.cpu
    before = heart.governor.meters[where].fair.busy
    assert before > 900
    assert goes.utilisation.cpu == where


def test_threads_of_a_core_are_slowed_by_both():
    """Speed is the product: 640/1024 of the frequency times 640/1024 for two threads, 400/1024."""
    heart = governed(RANGE, 2, None, SchedulingCosts(smt_speed=0.625), layout=Layout.regular(2, 2))
    tasks = [add(heart, name, work(MS), cpus={n}) for n, name in enumerate(("a", "b"))]
    heart.advance(10 * MS)
    assert [task.end_ns for task in tasks] == [MS * 1024 // 400] * 2


# -- laws ----------------------------------------------------------------------------------------------------------


def _cases(policy: str = "") -> st.SearchStrategy[Case]:
    pair = st.tuples(st.sampled_from(["lock", "pipe", "drawn", "fork"]), st.integers(50_000, 3 * MS), st.integers(0, 4))
    return st.builds(
        Case,
        cpus=st.just(2),
        plans=plans(2),
        pairs=st.lists(pair, max_size=3),
        quota=st.booleans(),
        costs=st.just(False),
        weight=st.integers(1, 1000),
        span_ns=st.just(100 * MS),
        policy=st.just(policy),
        kernel=st.sampled_from(KERNELS),
    )


@settings(max_examples=40)
@given(case=_cases(), governor=st.sampled_from(["schedutil", "performance", "powersave"]))
def test_one_frequency_is_as_none(case, governor):
    constant = Frequencies(2000 * MHZ, 2000 * MHZ, 2000 * MHZ, governor=governor)
    seen = happenings(replace(case, frequencies=constant))
    plain = happenings(case)
    assert seen[: len(plain) - 1] + seen[-1:] == plain


@settings(max_examples=40)
@given(case=_cases())
def test_what_a_governor_does_by_itself_changes_nothing(case):
    """Two frequencies so near to each other that both are 1024/1024 of the nominal one: all is as without, but ticks.

    At nice 0 and in the root group, where virtual times are not rounded, at ticks or elsewhere.
    """
    even = [replace(plan, nice=0, group=0) for plan in case.plans]
    case = replace(case, plans=even, pairs=[], quota=False)
    near = Frequencies(2000 * MHZ - 1000, 2000 * MHZ, 2000 * MHZ)
    plain, governed = (happenings(replace(case, frequencies=chosen)) for chosen in (None, near))
    # The last is when something is due next; groups' load averages are brought up to date at ticks.
    assert [_bare(one) for one in governed[: len(plain) - 1]] == [_bare(one) for one in plain[:-1]]


def _bare(record: tuple) -> tuple:
    is_group = isinstance(record[0], str) and len(record) == 4
    return record[:-1] if is_group else record


@settings(max_examples=60)
@given(chosen=frequencies(), faster=st.integers(0, 2000), work_ms=st.integers(1, 200))
def test_a_faster_governor_never_lets_a_lone_hog_finish_later(chosen, faster, work_ms):
    """``performance`` against any other, any other against ``powersave``; and a higher least frequency, but for the
    resolution of the averages, of which a 512th may be lost at either, and a quarter more in what is asked for.
    """
    chosen = replace(chosen, rate_limit_ns=min(chosen.rate_limit_ns, MS), points_hz=())
    higher = min(chosen.minimum_hz + faster * MHZ, chosen.maximum_hz)
    ends = []
    for settings_ in (
        replace(chosen, governor="powersave"),
        chosen,
        replace(chosen, minimum_hz=higher),
        replace(chosen, governor="performance"),
    ):
        heart = governed(settings_, 1)
        task = add(heart, "work", work(work_ms * MS))
        heart.advance(10_000 * MS)
        ends.append(task.end_ns)
    slowest, slower, faster_, fastest = ends
    assert slowest >= max(slower, faster_) >= min(slower, faster_) >= fastest
    assert faster_ <= slower * (1 + 1.25 * 2 / 512)


# -- what cannot be ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"governor": "ondemand"}, "no governor is called 'ondemand'"),
        ({"minimum_hz": 3000 * MHZ}, "not below the lowest"),
        ({"minimum_hz": 0}, "above 0"),
        ({"points_hz": (800 * MHZ, 1900 * MHZ)}, "operating points"),
        ({"minimum_hz": 100 * MHZ}, "a 16th"),
    ],
)
def test_frequencies_that_cannot_be_are_refused(changed, message):
    with pytest.raises(ModelError, match=message):
        replace(RANGE, **changed)
