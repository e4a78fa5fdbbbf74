"""Guests, groups, limits, scenarios: rules between them, files, digests."""

import os
import subprocess
import sys

import pytest

from virtsim.core.errors import SpecError
from virtsim.core.spec import CpuMax, CpuSet
from virtsim.scenario.guest import Group, Guest, Isolation, Limits
from virtsim.scenario.scenario import Scenario
from virtsim.workload.builders import request_server, spin

TOML = """
name = "pair"
duration = "10s"
cpus = "0-3"

[[groups]]
name = "pod"
cpu_max = "150%"
cpus = "0-1"

[[guests]]
name = "web"
group = "pod"
cpu_weight = 200
cpu_max = "30ms/100ms"
cpu_burst = "10ms"
memory_max = "64MiB"

[guests.isolation]
seccomp_rules = 50
rlimits = { nofile = 64 }

[[guests.workload.tasks]]
name = "server"

[[guests.workload.tasks.program]]
op = "serve"
arrivals = "poisson(200/s)"
body = [{ op = "compute", work = "exponential(1ms)" }, { op = "syscall", kind = "null" }]

[[guests]]
name = "batch"
stack = "native"
workload = { tasks = [{ name = "spin", count = 2, cpus = "2", program = [{ op = "compute", work = "1s" }] }] }
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "pair.toml"
    path.write_text(TOML)
    return path


def test_a_file_is_a_scenario(file):
    scenario = Scenario.load(file)
    web, batch = scenario.guests
    assert (scenario.duration, scenario.host, scenario.name) == (10**10, "this", "pair")
    assert (web.cpu_max.quota_ns, web.cpu_burst, web.memory_max) == (30_000_000, 10_000_000, 2**26)
    assert scenario.groups[0].cpu_max == CpuMax(150_000_000, 100_000_000)
    assert (web.isolation.seccomp_rules, web.isolation.rlimits) == (50, {"nofile": 64})
    assert (web.stack, batch.stack, batch.workload.process_count) == ("container", "native", 2)


def test_python_and_toml_make_the_same_scenario(file, tmp_path):
    scenario = Scenario.load(file)
    scenario.save(tmp_path / "again.toml")
    again = Scenario.load(tmp_path / "again.toml")
    assert again == scenario
    assert again.digest == scenario.digest
    built = Scenario(
        guests=[
            Guest(name="web", workload=request_server("200/s", "1ms"), cpu_max="30%"),
            Guest(name="batch", workload=spin(2), stack="native"),
        ],
        duration="10s",
    )
    assert Scenario.from_builtins(built.to_builtins()) == built
    assert built.checked() == built


@pytest.mark.parametrize(
    ("before", "after", "path"),
    [
        ('duration = "10s"', 'duration = "0s"', "duration"),
        ('duration = "10s"', 'duration = "25h"', "duration"),
        ('duration = "10s"', "duration = 10", "duration"),
        ('duration = "10s"', 'duratoin = "10s"', "duratoin"),
        ('name = "batch"', 'name = "web"', "guests[1].name"),
        ('name = "batch"', 'name = "pod"', "guests[1].name"),
        ('group = "pod"', 'group = "pot"', "guests[0].group"),
        ('cpus = "0-1"', 'cpus = "4"', "groups[0].cpus"),
        ('cpus = "2"', 'cpus = "9"', "guests[1].workload.tasks[0].cpus"),
        ('cpu_burst = "10ms"', 'cpu_burst = "31ms"', "guests[0].cpu_burst"),
        ('cpu_burst = "10ms"', 'cpu_burst = "10ns"', "guests[0].cpu_burst"),
        ('cpu_max = "30ms/100ms"\n', "", "guests[0].cpu_burst"),
        ('memory_max = "64MiB"', 'memory_max = "64KiB"', "guests[0].memory_max"),
        ("cpu_weight = 200", "cpu_weight = 0", "guests[0].cpu_weight"),
        ("cpu_weight = 200", "cpu_weight = 10001", "guests[0].cpu_weight"),
        ("cpu_weight = 200", "cpu_weight = true", "guests[0].cpu_weight"),
        ("seccomp_rules = 50", "seccomp_arguments = true", "guests[0].isolation.seccomp_arguments"),
        ("seccomp_rules = 50", "seccomp_rules = 4001", "guests[0].isolation.seccomp_rules"),
        ("nofile = 64", "nofiles = 64", "guests[0].isolation.rlimits.nofiles"),
        ("nofile = 64", "nofile = -1", "guests[0].isolation.rlimits.nofile"),
        ('stack = "native"', 'stack = "native"\ncpu_weight = 50', "guests[1].stack"),
        ('stack = "native"', 'stack = "native"\nisolation = { user_namespace = true }', "guests[1].isolation"),
        ('cpu_max = "150%"', 'cpu_max = "150%"\nparent = "x"', "groups[0].parent"),
    ],
)
def test_what_is_wrong_is_named_with_its_path(file, before, after, path):
    assert before in TOML
    file.write_text(TOML.replace(before, after, 1))
    with pytest.raises(SpecError) as caught:
        Scenario.load(file)
    assert caught.value.path == f"{file}: {path}"
    assert "\n" not in str(caught.value)


def test_groups_have_parents_before_them_and_their_own_names():
    def make(*groups):
        return Scenario(guests=[Guest(name="g", workload=spin())], groups=list(groups), duration="1s")

    make(Group(name="a"), Group(name="b", parent="a"))
    with pytest.raises(SpecError, match=r"^groups\[0\]\.parent: no group before this one"):
        make(Group(name="b", parent="a"), Group(name="a"))
    with pytest.raises(SpecError, match=r"^groups\[0\]\.parent"):
        make(Group(name="a", parent="a"))
    with pytest.raises(SpecError, match=r"^groups\[1\]\.name: two groups"):
        make(Group(name="a"), Group(name="a"))


def test_cpus_narrow_from_the_scenario_to_the_task():
    inner = Guest(name="g", workload=spin(), group="b")
    scenario = Scenario(
        guests=[inner, Guest(name="h", workload=spin(), cpus="3", group="a"), Guest(name="i", workload=spin())],
        groups=[Group(name="a", cpus="2-3"), Group(name="b", parent="a")],
        duration="1s",
        cpus="0-3",
    )
    assert [scenario.allowed_cpus(guest) for guest in scenario.guests] == [
        CpuSet([2, 3]),
        CpuSet([3]),
        CpuSet(range(4)),
    ]
    unbound = Scenario(guests=[Guest(name="i", workload=spin())], duration="1s")
    assert unbound.allowed_cpus(unbound.guests[0]) is None


def test_limits_know_whether_they_limit():
    assert not Limits().limited
    assert not Limits(cpu_weight=100).limited
    for limits in (Limits(cpu_weight=101), Limits(cpu_max="30%"), Limits(cpus="0"), Limits(memory_max="1MiB")):
        assert limits.limited
    assert Isolation() == Isolation.from_builtins({})


def test_a_thousand_guests_and_not_more():
    guests = [Guest(name=f"g{i}", workload=spin()) for i in range(1001)]
    Scenario(guests=guests[:1000], duration="1s").checked()
    with pytest.raises(SpecError, match="guests: Expected `array` of length <= 1000"):
        Scenario(guests=guests, duration="1s").checked()
    with pytest.raises(SpecError, match="guests"):
        Scenario(guests=[], duration="1s").checked()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Scenario(guests=["web"], duration="1s"), "guests[0]: Expected `object`, got `str`"),
        (lambda: Scenario(guests="web", duration="1s"), "guests: Expected `array`, got `str`"),
        (
            lambda: Scenario(guests=[Guest(name="a", workload="spin")], duration="1s"),
            "guests[0].workload: Expected `obj",
        ),
        (lambda: Scenario(guests=[Guest(name="a", workload=spin)], duration="1s"), "<function spin at 0x"),
        (lambda: Scenario(guests=[Guest(name="a/b", workload=spin())], duration="1s").checked(), "expected a name"),
        (lambda: Scenario(guests=[Guest(name="a", workload=spin(), cpu_weight=0)], duration="1s").checked(), ">= 1"),
        (lambda: Scenario(guests=[Guest(name="a", workload=spin())], duration=1.5), "duration: must be 1ms"),
        (lambda: Guest(name="a", workload=spin(), cpu_max=5), "cpu_max: "),
    ],
)
def test_mistakes_in_python_are_one_line_errors_too(make, message):
    with pytest.raises(SpecError) as caught:
        make()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_digest_is_of_the_content():
    scenario = Scenario(guests=[Guest(name="g", workload=spin())], duration="1s")
    same = Scenario(guests=[Guest(name="g", workload=spin(), cpu_weight=100)], duration=10**9)
    assert scenario.digest == same.digest
    assert scenario.digest != scenario.replace(duration=10**9 + 1).digest


@pytest.mark.parametrize("hash_seed", ["0", "1", "4711"])
def test_the_digest_is_the_same_in_every_process(file, hash_seed):
    code = "import sys; from virtsim.scenario.scenario import Scenario; print(Scenario.load(sys.argv[1]).digest)"
    result = subprocess.run(
        [sys.executable, "-c", code, str(file)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == Scenario.load(file).digest


def test_notebook_table(file):
    text = Scenario.load(file)._repr_html_()
    assert "<b>pair</b> on host <b>this</b> for 10s" in text
    assert "<td>web</td><td>container</td><td>1</td><td>200</td><td>30ms/100ms</td>" in text
