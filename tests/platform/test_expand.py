"""The expansion: pure, linear, and what the simulator charges is what the calibration fits."""

import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtsim.core.errors import ModelError, SpecError
from virtsim.core.parameter import Parameter
from virtsim.platform.costs import Costs
from virtsim.platform.events import ALIASES, EVENTS
from virtsim.platform.expand import combine, design_row, expand, price, price_interval
from virtsim.platform.host import load_host
from virtsim.platform.operations import Event, contended_events, lines_held, operation_events, touch_events
from virtsim.platform.primitives import PRIMITIVES
from virtsim.platform.stack import Stack, StackCard, load_stack, stack_for
from virtsim.scenario.guest import Guest, Isolation
from virtsim.workload.builders import ping_pong, spin
from virtsim.workload.operations import Compute, ForkWait, Lock, PageFault, Receive, Send, Syscall, Touch, Unlock
from virtsim.workload.workload import Task, Workload

HOST = load_host("epyc-guest-linux-6.18")
NATIVE, CONTAINER = load_stack("native"), load_stack("container")
SYSTEM = sorted(name for name, event in EVENTS.items() if event.interface == "system")


@pytest.mark.parametrize("event", SYSTEM)
def test_every_service_of_linux_comes_down_to_primitives_with_a_price(event):
    totals = expand(event, NATIVE, size=4096).totals
    assert totals
    assert set(totals) <= set(PRIMITIVES)
    assert price(totals, HOST) > 0


#: Best medians of native operations, ns, on the machine that the reference card describes.
MEASURED_NS = {
    "null": 189,
    "stat": 1197,
    "open_close": 3062,
    "page_fault": 2240,
    "map_unmap": 4010,
    "signal": 3000,
    "futex_wake": 379,
    "fork_wait": 99_700,
    "fork_exec": 555_000,
}


@pytest.mark.parametrize("event", MEASURED_NS)
def test_the_reference_card_gives_back_what_was_measured_on_its_machine(event):
    assert price(expand(event, NATIVE), HOST) == pytest.approx(MEASURED_NS[event], rel=0.01)


def test_a_read_is_a_switch_a_call_and_a_copy_for_each_byte():
    assert expand("read", NATIVE, size=100).totals == {"mode_switch": 1, "file_read": 1, "copy_from_file": 100}
    assert expand("null", NATIVE, size=100).totals == {"mode_switch": 1}


def test_namespaces_cost_nothing_in_steady_state():
    for event in SYSTEM:
        assert expand(event, CONTAINER, 64).totals == expand(event, NATIVE, 64).totals


def test_a_filter_costs_the_slow_entry_and_only_a_filter_of_arguments_its_rules():
    def cost(rules, arguments=False):
        guest = Guest(name="g", workload=spin(), isolation=Isolation(seccomp_rules=rules, seccomp_arguments=arguments))
        return dict(expand("open_close", stack_for(guest)).totals)

    plain = dict(expand("open_close", NATIVE).totals)
    assert cost(1) == cost(434) == plain | {"syscall_slow_entry": 2}
    assert cost(300, True) == plain | {"syscall_slow_entry": 2, "seccomp_run": 2, "seccomp_compare": 600}


def test_a_fault_is_not_filtered():
    guest = Guest(name="g", workload=spin(), isolation=Isolation(seccomp_rules=300))
    assert expand("page_fault", stack_for(guest)).totals == expand("page_fault", NATIVE).totals


def test_a_filter_on_a_stack_without_containers_is_refused():
    guest = Guest(name="g", workload=spin(), stack="native")
    guest = guest.replace(stack="container")
    bare = Guest.from_builtins(guest.to_builtins())
    assert stack_for(bare) == CONTAINER
    from virtsim.platform import stack as module

    with pytest.raises(SpecError, match=r"isolation\.seccomp_rules: the stack 'native' has no container"):
        module._isolated(NATIVE, 3, False)


@given(
    weights=st.lists(st.integers(0, 1000), min_size=len(SYSTEM), max_size=len(SYSTEM)),
    factor=st.sampled_from([0.0, 0.25, 1.0, 8.0]),
)
def test_cost_is_linear_in_counts_and_in_prices(weights, factor):
    rows = [(float(w), expand(e, NATIVE, 64)) for w, e in zip(weights, SYSTEM, strict=True)]
    mixed = combine(rows)
    separate = math.fsum(w * price(e, HOST) for w, e in rows)
    assert price(mixed, HOST) == pytest.approx(separate, rel=1e-12)
    assert price(mixed, HOST.scaled(factor)) == pytest.approx(factor * separate, rel=1e-12)
    names = sorted(PRIMITIVES)
    row = design_row(mixed, names)
    assert math.fsum(n * HOST.price(p) for n, p in zip(row, names, strict=True) if n) == pytest.approx(
        separate, rel=1e-12
    )


def test_events_answer_to_the_names_that_people_use():
    for alias, name in ALIASES.items():
        assert expand(alias, NATIVE) is expand(name, NATIVE)


def test_expansions_are_kept_and_survive_pickling():
    assert expand("fork_exec", NATIVE) is expand("fork_exec", NATIVE)
    assert pickle.loads(pickle.dumps(NATIVE)) == NATIVE


def test_independent_intervals_add_in_quadrature():
    def p(value, low, high):
        return Parameter(value=value, low=low, high=high, unit="ns", source="test", date="2026")

    host = HOST.with_prices({"mode_switch": p(100, 97, 103), "file_lookup": p(1000, 996, 1004)})
    cost = price_interval(expand("stat", NATIVE), host)
    assert cost == (1100.0, 1095.0, 1105.0)


def test_an_unknown_event_or_price_is_one_clear_error():
    with pytest.raises(SpecError, match="no event is called 'teleport'; a program's events are: context_switch"):
        expand("teleport", NATIVE)
    poor = HOST.replace(prices={k: v for k, v in HOST.prices.items() if k != "file_open"})
    with pytest.raises(SpecError, match=r"prices\.file_open: this host has no price for 'file_open'"):
        price(expand("open_close", NATIVE), poor)


def test_explanations_name_layers_counts_costs_and_sources():
    text = str(NATIVE.explain("fork_wait", HOST))
    assert "fork_wait on native (machine under KVM · linux), host epyc-guest-linux-6.18:" in text
    assert "22 × copy_fault" in text
    assert "measured: getppid in a loop, 2026" in text
    html = NATIVE.explain("page_fault", HOST)._repr_html_()
    assert html.count("<tr>") == 7
    assert "exception" in str(NATIVE.explain("page_fault"))


BAD_STACKS = {
    "layers[0].kind: the first layer": [{"kind": "linux"}, {"kind": "linux"}],
    "layers[1].kind: 'container' needs system from below, which 'hardware' does not offer": [
        {"kind": "hardware"},
        {"kind": "container"},
    ],
    "layers[2].kind: 'linux' needs machine from below, which 'linux' does not offer": [
        {"kind": "hardware"},
        {"kind": "linux"},
        {"kind": "linux"},
    ],
    "layers[1].kind: no kind of layer is called 'linus'; did you mean 'linux'?": [
        {"kind": "hardware"},
        {"kind": "linus"},
    ],
}


@pytest.mark.parametrize("message", BAD_STACKS)
def test_bad_stacks_are_refused_with_the_path(message):
    with pytest.raises(SpecError) as caught:
        StackCard.from_builtins({"name": "bad", "description": "bad", "layers": BAD_STACKS[message]}, "bad.toml")
    assert message in str(caught.value)
    assert str(caught.value).startswith("bad.toml: layers[")


def test_a_parameter_unknown_to_its_kind_or_in_another_unit_is_refused():
    def card(name, unit):
        given = {name: {"value": 1, "unit": unit, "source": "test", "date": "2026", "status": "exact"}}
        layers = [{"kind": "hardware"}, {"kind": "linux", "parameters": given}]
        return StackCard.from_builtins({"name": "bad", "description": "bad", "layers": layers})

    assert card("fork_pages", "pages")
    with pytest.raises(
        SpecError, match=r"layers\[1\]\.parameters\.fork_rages: this kind of layer has no such parameter"
    ):
        card("fork_rages", "pages")
    with pytest.raises(SpecError, match=r"layers\[1\]\.parameters\.fork_pages\.unit: is 'B' but must be 'pages'"):
        card("fork_pages", "B")


def test_a_layer_that_issues_what_it_handles_is_found_out():
    stack = Stack(NATIVE.card)

    class Circle:
        role = "kernel"

        def handle(self, event, size, settings):
            from virtsim.platform.layers.base import here

            return [here("stat" if event == "null" else "null")]

    stack.kinds[1] = Circle()
    with pytest.raises(ModelError, match="never ends"):
        expand("null", stack)


def _events(operation, workload=None):
    workload = workload or Workload(tasks=[Task(name="t", program=[operation])])
    return operation_events(operation, workload, HOST.topology)


def test_operations_become_events_after_the_interpreters_step():
    step = Event("runner_step")
    assert _events(Compute(work="3us")) == (step, Event("compute", 3000.0))
    assert _events(Syscall(kind="read", size="4KiB")) == (step, Event("read", 1, 4096))
    assert _events(PageFault(pages=7)) == (step, Event("release"), Event("page_fault", 7))
    assert _events(ForkWait()) == (step, Event("fork_wait"))


def test_channels_are_pipes_unless_the_workload_says_futex():
    pipes, futexes = ping_pong(1), ping_pong(1, kind="futex")
    send, receive = Send(channel="ping", size="2B"), Receive(channel="ping", size="2B")
    assert _events(send, pipes)[1:] == (Event("pipe_write", 1, 2),)
    assert _events(receive, pipes)[1:] == (Event("pipe_read", 1, 2),)
    assert _events(send, futexes)[1:] == (Event("atomic"),)
    assert _events(receive, futexes)[1:] == (Event("atomic"),)
    assert contended_events(receive, futexes) == (Event("futex_wait"),)
    assert contended_events(receive, pipes) == ()
    assert contended_events(Lock(name="m"), pipes) == (Event("futex_wait"),)
    assert contended_events(Unlock(name="m"), pipes) == (Event("futex_wake"),)


@pytest.mark.parametrize(
    ("stride", "working_set", "expected"),
    [
        (64, 16 * 2**10, {"touch_l1": 100}),
        (64, 256 * 2**10, {"touch_l2": 100}),
        (64, 8 * 2**20, {"touch_l3": 100}),
        (64, 256 * 2**20, {"touch_memory": 100, "tlb_miss": 100 / 64}),
        (16, 256 * 2**20, {"touch_memory": 25, "touch_l1": 75, "tlb_miss": 100 / 256}),
        # Strides of a page reach one set of 64 in the first level (8 lines) and 16 of 1024 in the second.
        (4096, 8 * 4096, {"touch_l1": 100}),
        (4096, 9 * 4096, {"touch_l2": 100}),
        (4096, 129 * 4096, {"touch_l3": 100}),
        (4096, 2561 * 4096, {"touch_l3": 100, "tlb_miss": 100}),
    ],
)
def test_touches_are_priced_by_the_level_that_holds_a_round(stride, working_set, expected):
    events = touch_events(100, stride, working_set, HOST.topology)
    assert {event.event: event.times for event in events} == pytest.approx(expected)


@given(stride=st.integers(1, 2**16), working_set=st.integers(2**16, 2**32))
def test_touches_are_all_counted_whatever_the_stride(stride, working_set):
    events = touch_events(1000, stride, working_set, HOST.topology)
    assert sum(e.times for e in events if e.event != "tlb_miss") == pytest.approx(1000)
    assert all(lines_held(cache, stride) >= cache.ways for cache in HOST.topology.caches)


def test_costs_are_whole_nanoseconds_and_add_up():
    costs = Costs(HOST, NATIVE)
    workload = spin()
    assert costs.event_ns("null") == round(HOST.price("mode_switch"))
    assert costs.compute_rate() == HOST.price("compute")
    touch = Touch(pages=10, working_set="64KiB")
    totals = costs.totals(operation_events(touch, workload, HOST.topology))
    assert costs.operation_ns(touch, workload) == round(price(totals, HOST))
