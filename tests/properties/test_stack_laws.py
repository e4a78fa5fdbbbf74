"""Laws of stacks: free where prices are zero, linear, and nothing lost on the way."""

import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from virtsim.core.data import models_folder
from virtsim.core.errors import SpecError
from virtsim.experiment.change import change
from virtsim.machine import simulate
from virtsim.platform.events import EVENTS
from virtsim.platform.expand import combine, expand, price
from virtsim.platform.host import load_host
from virtsim.platform.stack import load_stack
from virtsim.scenario.guest import Guest
from virtsim.scenario.scenario import Scenario
from virtsim.workload.workload import Workload

HOST = load_host("epyc-guest-linux-6.18")
IDEAL = HOST.scaled(0.0).with_prices({"compute": HOST.prices["compute"]})
STACKS = sorted(path.stem for path in (models_folder() / "stacks").glob("*.toml"))
SYSTEM = sorted(name for name, event in EVENTS.items() if event.interface == "system")
#: Emulation makes computing slower by a factor, which is no price; unikernels refuse to fork.
PRICED = [name for name in STACKS if name not in ("tcg", "unikernel")]

OPERATIONS = st.sampled_from(
    [
        {"op": "compute", "work": "exponential(2ms)"},
        {"op": "syscall", "kind": "read", "size": "4KiB"},
        {"op": "page_fault", "pages": 7},
        {"op": "fork_exec"},
        {"op": "fork_wait"},
        {"op": "map_unmap", "pages": 3},
        {"op": "signal"},
        {"op": "sleep", "time": "3ms"},
        {"op": "write_fsync", "size": "4KiB"},
    ]
)
PROGRAMS = st.lists(
    st.builds(
        lambda count, body: {"op": "repeat", "count": count, "body": [*body, {"op": "compute", "work": "1ms"}]},
        st.integers(1, 20),
        st.lists(OPERATIONS, min_size=1, max_size=4),
    ),
    min_size=1,
    max_size=3,
)


def cost(event, stack, size=1500):
    return price(expand(event, stack.on_host(HOST), size), HOST)


def stack_if_possible(name):
    """The stack, or None where a layer lacks something below, which the refusal then says."""
    try:
        return load_stack(name)
    except SpecError as problem:
        if " needs " not in str(problem):
            raise
        return None


def scenario_of(programs, weights):
    guests = [
        Guest(
            name=f"g{i}",
            cpu_weight=weight,
            workload=Workload.from_builtins({"tasks": [{"name": "t", "program": program, "count": 2}]}),
        )
        for i, (program, weight) in enumerate(zip(programs, weights, strict=True))
    ]
    return Scenario(guests=guests, duration="150ms", cpus="0")


def what_happened(run):
    """Everything of a run but what its stacks are called."""
    return run.tasks, run.latencies, run.requests, run.slices, run.wakeups


@settings(max_examples=15, deadline=None)
@given(
    programs=st.lists(PROGRAMS, min_size=2, max_size=2),
    weights=st.tuples(st.integers(20, 99), st.integers(101, 500)),
    stack=st.sampled_from([name for name in PRICED if name != "native"]),
)
def test_on_an_ideal_machine_every_stack_has_the_timeline_of_the_bare_one(programs, weights, stack):
    scenario = scenario_of(programs, weights)
    bare, layered = (
        simulate(change(scenario, {"guests.*.stack": name}), seed=3, host=IDEAL, timeline=True)
        for name in ("native", stack)
    )
    assert bare.slices
    assert what_happened(layered) == what_happened(bare)


@settings(max_examples=40, deadline=None)
@given(
    names=st.lists(st.sampled_from(["kvm", "kvm-shadow", "xen-hvm", "pvm", "tcg"]), min_size=1, max_size=3),
    events=st.lists(
        st.tuples(
            st.sampled_from([e for e in SYSTEM if not e.startswith("fork")]), st.integers(1, 50), st.integers(1, 9000)
        ),
        min_size=1,
        max_size=6,
    ),
)
def test_expansion_is_linear_at_any_depth(names, events):
    """Costs add up, multiply by counts, and what parties spend is all that is spent, on stacks up to three deep."""
    stack = stack_if_possible("-on-".join(names))
    assume(stack is not None)
    stack = stack.on_host(HOST)
    together = combine((times, expand(event, stack, size)) for event, times, size in events)
    apart = math.fsum(times * cost(event, stack, size) for event, times, size in events)
    assert price(together, HOST) == pytest.approx(apart)
    for event, _, size in events:
        expansion = expand(event, stack, size)
        parties = combine_parties(expansion.parties.values())
        assert parties == pytest.approx(dict(expansion.totals))
        assert all(times > 0 for times in expansion.totals.values())


def combine_parties(parties):
    totals = {}
    for primitives in parties:
        for primitive, times in primitives.items():
            totals[primitive] = totals.get(primitive, 0.0) + times
    return totals
