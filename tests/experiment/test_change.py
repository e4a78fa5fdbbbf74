"""Changes by path: what they reach, and what they refuse."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtsim.core.errors import SpecError
from virtsim.core.spec import CpuMax, Duration
from virtsim.experiment.change import change
from virtsim.workload.builders import spin
from virtsim.workload.draw import Draw


@pytest.mark.parametrize(
    ("path", "value", "get"),
    [
        ("duration", "20ms", lambda s: s.duration == 20_000_000),
        ("guests.web.stack", "container", lambda s: s.guests[0].stack == "container"),
        ("guests[0].cpu_weight", 10, lambda s: s.guests[0].cpu_weight == 10),
        ("guests.1.cpu_weight", 10, lambda s: s.guests[1].cpu_weight == 10),
        ("guests.web.2.cpu_weight", 10, lambda s: (s.guests[0].cpu_weight, s.guests[1].cpu_weight) == (300, 10)),
        ("guests.7.workload.tasks.spin.nice", 5, lambda s: s.guests[2].workload.tasks[0].nice == 5),
        ("guests.*.workload.tasks[0].nice", 5, lambda s: all(g.workload.tasks[0].nice == 5 for g in s.guests)),
        ("groups.pod.cpu_max", "30%", lambda s: str(s.groups[0].cpu_max) == "30ms/100ms"),
        ("guests.web.2.isolation.seccomp_rules", 9, lambda s: s.guests[1].isolation.seccomp_rules == 9),
        (
            "guests.web.workload.tasks.server.program[0].body.0.work",
            "uniform(1ms, 2ms)",
            lambda s: str(s.guests[0].workload.tasks[0].program[0].body[0].work) == "uniform(1ms, 2ms)",
        ),
        ("guests.web.workload", spin(3), lambda s: s.guests[0].workload == spin(3)),
        ("guests.web.cpu_weight", None, lambda s: s.guests[0].cpu_weight == 100),
        ("guests.web.cpu_max", CpuMax(10**7, 10**8), lambda s: s.guests[0].cpu_max.quota_ns == 10**7),
        ("guests.web.cpu_weight", np.int64(7), lambda s: s.guests[0].cpu_weight == 7),
        ("duration", Duration(5_000_000), lambda s: s.duration == 5_000_000),
        (
            "guests.7.workload.tasks.spin.program[0].work",
            Draw("constant", (3,)),
            lambda s: s.guests[2].workload.tasks[0].program[0].work.durations_ns == (3,),
        ),
    ],
)
def test_a_path_reaches_its_field(scenario, path, value, get):
    before = scenario.digest
    assert get(change(scenario, {path: value}))
    assert scenario.digest == before, "the original stays as it is"


def test_several_changes_are_checked_together(scenario):
    changed = change(scenario, {"groups.pod.name": "tenant", "guests.web.group": "tenant"})
    assert changed.guests[0].group == "tenant"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("guests.wbe.stack", "x", "nothing here is called 'wbe'; did you mean 'web'? there are: web, web.2, 7"),
        ("guests[9].stack", "x", "guests[9].stack: there is no item [9], the list has 3"),
        ("guests.99.stack", "x", "guests.99.stack: there is no item 99, the list has 3"),
        ("guests.web.stak", "x", "with guests.web.stak='x': guests[0].stak: there is no such field"),
        ("guests.web.isolaton.x", 1, "with guests.web.isolaton.x=1: guests[0].isolaton: there is no such field"),
        ("guests.web.cpu_weight", 0, "with guests.web.cpu_weight=0: guests[0].cpu_weight: Expected `int` >= 1"),
        ("guests.web.cpu_weight.x", 0, "guests.web.cpu_weight.x: guests.web.cpu_weight is the value 300"),
        ("duration", 5, "with duration=5: duration: expected text with a unit, got int"),
        ("guests", [], "with guests=[]: guests: must have at least 1 entry"),
        ("guests.web.workload.tasks.server.program[0].body.x.work", "1ms", "'x' is not an index of the list"),
        ("guests.web.workload.tasks.server.program[0].work.tasks.x", 1, "there are no tasks here to change"),
        ("guests.web.name", "../../x", "with guests.web.name='../../x': guests[0].name: "),
        ("guests.web.cpu_weight", float("nan"), "guests.web.cpu_weight: nan is not a finite number"),
        ("guests.web.workload", object(), "guests.web.workload: a object cannot stand in a scenario"),
        ("", 1, ": is not a path"),
        (".duration", 1, "is not a path"),
        ("guests..stack", 1, "is not a path"),
        ("guests.web.", 1, "is not a path"),
        ("guests[x].stack", 1, "is not a path"),
        ("guests.[0]]", 1, "is not a path"),
    ],
)  # fmt: skip
def test_a_bad_change_is_one_line(scenario, path, value, message):
    with pytest.raises(SpecError) as caught:
        change(scenario, {path: value})
    assert message in f"{caught.value.path}: {caught.value.reason}"
    assert "\n" not in str(caught.value)


@given(st.text("abguests.[]0123*weblokcpu_\n\"' ", max_size=40), st.none() | st.integers() | st.text(max_size=5))
def test_no_path_does_anything_but_change_or_refuse(scenario, path, value):
    try:
        changed = change(scenario, {path: value})
    except SpecError:
        return
    assert changed.checked() == changed


def test_a_guest_that_becomes_native_keeps_its_limits_by_a_group(scenario):
    limited = change(scenario, {"guests.web.cpu_max": "30%", "guests.web.cpu_weight": 50})
    native = change(limited, {"guests.web.stack": "native", "guests.web.cpu_weight": 70})
    guest, group = native.guests[0], native.groups[-1]
    assert (guest.stack, guest.limited, guest.group) == ("native", False, "web-limits")
    assert (group.name, group.cpu_weight, str(group.cpu_max)) == ("web-limits", 70, "30ms/100ms")
    assert group.parent == limited.guests[0].group


def test_an_unlimited_guest_that_becomes_native_needs_no_group(scenario):
    unlimited = change(scenario, {"guests.web.cpu_weight": None})
    assert change(unlimited, {"guests.web.stack": "native"}).groups == unlimited.groups


def test_a_native_guest_that_is_given_a_limit_is_still_refused(scenario):
    native = change(scenario, {"guests.web.stack": "native"})
    with pytest.raises(SpecError, match="put the limits on a group around it"):
        change(native, {"guests.web.cpu_weight": 50})
