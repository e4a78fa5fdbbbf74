"""The heart does the same compiled and interpreted, to the bit, on workloads that Hypothesis makes."""

from __future__ import annotations

import ast
import importlib.util
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import virtsim
import virtsim.scheduling
from tests.scheduling.conftest import MS
from tests.scheduling.streams import ALL_PAIRS, Case, happenings
from tests.scheduling.test_governor import frequencies
from tests.scheduling.test_laws import KERNELS, Plan, plans
from tests.scheduling.test_policies import MADE
from virtsim.core import variant
from virtsim.scheduling import events
from virtsim.scheduling.events import BURST_END, CALL, TICK, TIMER, EventQueue
from virtsim.scheduling.layout import Layout
from virtsim.scheduling.storey import Storey
from virtsim.scheduling.words import Words

compiled = pytest.mark.needs("compiled heart")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def interpreted():
    """Have the interpreted heart, in a process of its own, work through a case."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.scheduling.streams"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=os.environ | {variant.ENVIRONMENT: "1"},
    )
    assert pickle.load(process.stdout) == f"{variant.ENVIRONMENT} is set"

    def work(case: Case) -> list[object]:
        pickle.dump(case, process.stdin)
        process.stdin.flush()
        return pickle.load(process.stdout)

    yield work
    process.communicate(timeout=30)


def cases(policies: tuple[str, ...] = ("",)) -> st.SearchStrategy[Case]:
    pair = st.tuples(st.sampled_from(sorted(ALL_PAIRS)), st.integers(50_000, 3 * MS), st.integers(0, 4))
    return st.integers(1, 4).flatmap(
        lambda cpus: st.builds(
            Case,
            cpus=st.just(cpus),
            plans=plans(cpus),
            pairs=st.lists(pair, max_size=4),
            quota=st.booleans(),
            costs=st.booleans(),
            weight=st.integers(1, 1000),
            span_ns=st.just(200 * MS),
            policy=st.sampled_from(policies),
            kernel=st.sampled_from(KERNELS),
        )
    )


@compiled
@settings(max_examples=300)
@given(case=cases())
def test_both_forms_give_the_same_event_streams_and_records(case, interpreted):
    assert happenings(case) == interpreted(case)


@compiled
@settings(max_examples=150)
@given(case=cases(tuple(MADE)))
def test_both_forms_do_the_same_with_policies_beside_the_fair_class(case, interpreted):
    assert happenings(case) == interpreted(case)


@compiled
@settings(max_examples=100)
@given(case=cases(), threads=st.sampled_from([1, 2]), caches=st.sampled_from([1, 2]), apart=st.booleans())
def test_both_forms_agree_over_domains(case, threads, caches, apart, interpreted):
    """The case's CPUs, four times over, on two nodes."""
    layout = Layout.regular(4 * case.cpus, threads, 2 * case.cpus // caches, 2, apart)
    plans = [replace(plan, cpus=plan.cpus | {number + case.cpus for number in plan.cpus}) for plan in case.plans]
    spread = replace(case, cpus=4 * case.cpus, plans=plans * 2, layout=layout)
    assert happenings(spread) == interpreted(spread)


@compiled
@settings(max_examples=100)
@given(case=cases(("", "realtime", "deadline", "credit")), frequencies=frequencies(), threads=st.sampled_from([1, 2]))
def test_both_forms_agree_under_a_governor(case, frequencies, threads, interpreted):
    layout = Layout.regular(2 * case.cpus, threads)
    governed = replace(case, cpus=2 * case.cpus, layout=layout, frequencies=frequencies)
    assert happenings(governed) == interpreted(governed)


@compiled
@pytest.mark.parametrize("nice", [19, -20])
def test_a_day_of_virtual_time_does_not_overflow(nice, interpreted):
    """A hog of the lightest or the heaviest weight, for as long as a scenario may be, with another now and then."""
    hog = ("hog", 1000 + nice + 20, 3)
    job = Plan("job", 50, 400_000_000, 0, 2, frozenset({0}))
    case = Case(1, [job], [hog], False, False, 1, 24 * 3600 * 10**9)
    assert happenings(case) == interpreted(case)


@compiled
def test_all_of_the_heart_is_compiled():
    for name in variant.sources(ROOT / "virtsim"):
        module = importlib.import_module(name)
        assert module.__file__.endswith((".so", ".pyd")), name


def test_the_heart_is_interpreted_where_the_environment_says_so():
    code = "import virtsim.scheduling.heart as h, virtsim.core.streams as s; print(h.__file__, s.__file__)"
    environment = os.environ | {variant.ENVIRONMENT: "1"}
    found = subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, check=True)
    assert [path[-3:] for path in found.stdout.decode().split()] == [".py", ".py"]


def test_a_changed_source_is_noticed(tmp_path):
    for folder in variant.FOLDERS:
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    file = tmp_path / "core" / "a.pxd"
    file.write_text("cdef int x\n")
    file.with_suffix(".py").write_text("x = 1\n")
    before = variant.digest(tmp_path)
    assert variant.sources(tmp_path) == {"virtsim.core.a": file.with_suffix(".py")}
    file.with_suffix(".py").write_text("x = 2\n")
    assert variant.digest(tmp_path) != before


def _locals_declared(declarations: str) -> Iterator[tuple[str, set[str]]]:
    """Functions with ``@cython.locals``, by name (with that of their class), and the names it gives types."""
    owner = ""
    for found in re.finditer(
        r"^cdef class (\w+)|^(\s*)@cython\.locals\(([^)]*)\)\s*\w+ [^(]*?(\w+)\(", declarations, re.MULTILINE
    ):
        if found[1]:
            owner = found[1]
        else:
            name = f"{owner}.{found[4]}" if found[2].strip("\n") else found[4]
            yield name, set(re.findall(r"(\w+)=", found[3]))


def _assigned(node: ast.AST, owner: str = "") -> Iterator[tuple[str, set[str]]]:
    """Functions by name, and the names that each assigns to."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield from _assigned(child, f"{child.name}.")
        elif isinstance(child, ast.FunctionDef):
            names = {
                part.id for part in ast.walk(child) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
            }
            yield owner + child.name, names


HEART_SOURCES = variant.sources(Path(virtsim.__file__).parent)


@pytest.mark.parametrize("name", [name for name, file in HEART_SOURCES.items() if file.suffix == ".py"])
def test_types_are_declared_for_variables_that_the_function_has(name):
    """One that moves to another function leaves plain Python objects behind: nothing breaks, all is slower."""
    file = HEART_SOURCES[name]
    assigned = dict(_assigned(ast.parse(file.read_text())))
    for function, names in _locals_declared(file.with_suffix(".pxd").read_text()):
        assert names <= assigned[function], f"{file.stem}.pxd: {function}"


def _interpreted_events():
    file = Path(virtsim.scheduling.__file__).with_name("events.py")
    spec = importlib.util.spec_from_file_location("events_interpreted", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _event_queues():
    """The queue as it runs here, and the one on heapq."""
    return EventQueue(), _interpreted_events().EventQueue()


_PUSH = st.tuples(st.integers(0, 40), st.sampled_from([BURST_END, TIMER, TICK, CALL]), st.integers(0, 2))


@settings(max_examples=200)
@given(st.lists(st.one_of(_PUSH, st.integers(0, 50)), max_size=200))
def test_events_come_by_time_kind_and_age(steps):
    """Pairs and triples are pushed, numbers are popped up to; both queues agree with a sorted list."""
    subject = SimpleNamespace(version=1)
    queues = _event_queues()
    model: list[tuple[int, int, int]] = []
    for number, step in enumerate(steps):
        if isinstance(step, tuple):
            time_ns, kind, version = step
            model.append((time_ns, kind, number))
            for queue in queues:
                queue.push(time_ns, kind, (subject, number), version)
            continue
        model.sort()
        due = bool(model) and model[0][0] <= step
        for queue in queues:
            assert queue.pop(step) is due
            if due:
                assert (queue.time_ns, queue.kind, queue.subject[1]) == model[0]
        if due:
            del model[0]
    assert [len(queue) for queue in queues] == [len(model)] * 2
    assert [queue.next_ns() for queue in queues] == [min(model)[0] if model else None] * 2


@given(st.lists(st.lists(st.integers(0, 9), max_size=3), max_size=5), st.integers(0, 9))
def test_the_earliest_of_several_queues_is_the_first_of_equals(rows, until_ns):
    """Each row is a queue; times, and the latest one that counts."""
    due = [min(row, default=10) for row in rows]
    first = due.index(min(due)) if min(due, default=10) <= until_ns else -1
    for module in (events, _interpreted_events()):
        queues = [module.EventQueue() for _ in rows]
        for queue, row in zip(queues, rows):
            for time_ns in row:
                queue.push(time_ns, TICK, None, 0)
        assert module.earliest(queues, until_ns) == first


@given(st.lists(st.integers(-5, 5)), st.integers(-6, 6))
def test_places_in_an_ascending_row(numbers, value):
    row = Words()
    for number in sorted(numbers):
        row.append(number)
    assert row.first_not_below(value) == sum(number < value for number in numbers)
    assert row.first_above(value) == sum(number <= value for number in numbers)


def test_void_events_do_not_pile_up():
    queues = _event_queues()
    subject = SimpleNamespace(version=0)
    for number in range(100_000):
        subject.version = number
        for queue in queues:
            queue.push(10**15 + number % 7, BURST_END, subject, number)
            if number % 100 == 0:
                queue.push(10**15, TICK, number, 0)
    for queue in queues:
        assert len(queue) < 3 * 1024
        ticks = []
        while queue.pop(10**16):
            if queue.kind == TICK:
                ticks.append(queue.subject)
        assert ticks == list(range(0, 100_000, 100))


_STEPS = st.one_of(
    st.tuples(st.just("append"), st.integers(-(2**63), 2**63 - 1)),
    st.tuples(st.just("insert"), st.integers(0, 40), st.integers(-(2**63), 2**63 - 1)),
    st.tuples(st.just("remove"), st.integers(0, 40)),
    st.tuples(st.just("set"), st.integers(-40, 40), st.integers(-(2**63), 2**63 - 1)),
    st.tuples(st.just("get"), st.integers(-40, 40)),
)


@given(st.integers(0, 20), st.lists(_STEPS, max_size=60))
def test_words_are_as_a_list_of_numbers(count, steps):
    words, model = Words(count), [0] * count
    for kind, *values in steps:
        if kind == "append":
            words.append(*values)
            model.append(*values)
        elif kind == "insert":
            place = min(values[0], len(model))
            words.insert(place, values[1])
            model.insert(place, values[1])
        elif not -len(model) <= values[0] < len(model):
            with pytest.raises(IndexError):
                words[values[0]]
        elif kind == "remove":
            words.remove(values[0])
            del model[values[0]]
        elif kind == "set":
            words[values[0]] = model[values[0]] = values[1]
        else:
            assert words[values[0]] == model[values[0]]
    assert (len(words), list(words)) == (len(model), model)


@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 9), max_size=60), st.randoms(use_true_random=False))
def test_an_ascending_row_stays_so(values, random):
    words, model = Words(), []
    for value in values:
        place = words.sort_in(value)
        assert place == sum(other <= value for other in model)
        model.insert(place, value)
        assert list(words) == model == sorted(model)
    random.shuffle(values)
    for value in values:
        place = words.take_out(value)
        assert place == sum(other < value for other in model)
        del model[place]
        assert list(words) == model


def test_every_layer_of_a_heart_has_slots():
    """One without would give all of it a dictionary, which makes the interpreted form slower."""
    assert not hasattr(Storey(1), "__dict__")
