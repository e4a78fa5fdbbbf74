"""Scaled groups in a cluster: a timeline worked out by hand, and laws."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Result
from virtsim.cluster import (
    ClusterRun,
    ClusterScenario,
    GuestGroup,
    HorizontalAutoscaler,
    HostGroup,
    Policy,
    Traces,
    simulate_cluster,
)
from virtsim.cluster.scenario import Failures
from virtsim.core.errors import SpecError
from virtsim.core.spec import Duration, dump_toml, load_toml
from virtsim.core.units import NS_PER_S

STEP = 60 * NS_PER_S
POWER = "hp-proliant-ml110-g4"
STILL = Policy(placement="first-fit", consolidation="none", idle_hosts="on")
RULES = HorizontalAutoscaler(target=0.5, least=1, most=4, period="60s", stabilisation="120s")


def scenario(rules: HorizontalAutoscaler = RULES, *, hosts: int = 1, **group: object) -> ClusterScenario:
    """A service of replicas of 1000 MIPS, started in 30 s, on hosts with four cores of as much."""
    service = {"name": "web", "core_mips": 1000.0, "memory": "1GiB", "start": "30s", "scaling": rules, **group}
    return ClusterScenario(
        hosts=[HostGroup(name="h", count=hosts, cores=4, core_mips=1000, memory="16GiB", power=POWER)],
        guests=[GuestGroup(**service)],  # type: ignore[arg-type]
        policy=STILL,
    )


def demand(*mips: float, most: int = 4) -> Traces:
    """The service's demand, a value a minute; traces have it as a share of what all replicas can do."""
    return Traces("t", ["web"], np.array([mips]) / (1000 * most), STEP)


def test_a_timeline_by_hand() -> None:
    """Requests are the limits, 1000 MIPS; target 50 %, so a replica is meant to do 500.

    - 0 to 60 s: 500 of one replica; ratio 1, nothing to do.
    - 60 to 120 s: 1500 asked, 1000 done, ratio 2: two replicas from 120 s, the new one runs at 150 s.
    - 120 to 180 s: 1000 for 30 s by one, 1500 for 30 s by two: 75 of 90 replica-seconds, ratio 5/3: ceil(2 * 5/3) = 4.
    - 180 to 240 s: 1500 by two for 30 s, by four for 30 s: 90 of 180 replica-seconds, ratio 1.
    - from 240 s: 200 asked of four, 5 %, ratio 0.1: one is wanted at 300 s. What was wanted at 240 s keeps four until
      120 s are over: at 420 s.
    """
    run = simulate_cluster(scenario(), demand(500, 1500, 1500, 1500, 200, 200, 200, 200, 200, 200))
    assert [tuple(state) for state in run.services["web"]] == [
        (0, 1, 1, 500, 0),
        (60, 1, 1, 1500, 500),
        (120, 2, 1, 1500, 500),
        (150, 2, 2, 1500, 0),
        (180, 4, 2, 1500, 0),
        (210, 4, 4, 1500, 0),
        (240, 4, 4, 200, 0),
        (420, 1, 1, 200, 0),
    ]
    assert run.value("service_asked_mi") == pytest.approx(500 * 60 + 1500 * 180 + 200 * 360)
    assert run.value("service_unserved_mi") == pytest.approx(500 * 90)
    assert run.value("mean_replicas") == pytest.approx((120 * 1 + 60 * 2 + 240 * 4 + 180 * 1) / 600)
    assert run.value("scale_ups") == 2
    assert run.value("scale_downs") == 1
    watts = (86, 89.4, 92.6, 96, 99.5, 102, 106, 108, 112, 114, 117)
    load = {0.125: 60, 0.25: 90, 0.375: 90, 0.05: 360}
    joules = sum(np.interp(share * 10, range(11), watts) * seconds for share, seconds in load.items())
    assert run.value("energy_kwh") * 3.6e6 == pytest.approx(joules, rel=1e-12)


def test_replicas_are_placed_by_their_requests() -> None:
    """A request of half a core: eight replicas fit on four cores, and each may use a whole one where it is free."""
    rules = HorizontalAutoscaler(target=0.8, most=8, period="60s")
    run = simulate_cluster(scenario(rules, count=8, reserved=0.5), demand(3600, 3600, most=8))
    assert run.services["web"][0].serving == 8
    # 450 of requests of 500 each: 90 %, more than 80 % by 12.5 %, but no more than eight are allowed.
    assert run.services["web"][-1].replicas == 8
    assert run.value("service_unserved_mi") == 0
    by_limit = simulate_cluster(scenario(rules, count=8), demand(3600, 3600, most=8))
    assert by_limit.services["web"][0].serving == 4
    assert by_limit.services["web"][0].unserved == 0


def test_a_replica_that_finds_no_host_waits_for_one() -> None:
    """Four cores for replicas of two: the third waits, and starts when an old one has gone with its host's failure."""
    rules = HorizontalAutoscaler(target=0.5, most=3, period="60s")
    run = simulate_cluster(scenario(rules, cores=2), Traces("t", ["web"], np.full((1, 8), 0.6), STEP))
    last = run.services["web"][-1]
    assert (last.replicas, last.serving) == (3, 2)
    assert run.value("unplaced") == 1


def test_the_others_take_over_while_a_host_is_down() -> None:
    """Two replicas apart; a host fails for 60 s, and boots: the other replica has the whole demand meanwhile."""
    rules = HorizontalAutoscaler(least=2, most=2, period="60s")
    plan = scenario(rules, hosts=2, count=2, apart="web", start="0s").replace(
        failures=Failures(at=[("h-0", Duration(60 * NS_PER_S), Duration(60 * NS_PER_S))]), restart=Duration(0)
    )
    run = simulate_cluster(plan, demand(*[1200] * 15, most=2))
    states = [(state.time_s, state.serving, state.unserved) for state in run.services["web"]]
    assert states[:2] == [(0, 2, 0), (60, 1, 200)]
    assert states[-1][1:] == (2, 0)
    assert states[-1][0] >= 120


def test_a_file_has_it_too(call: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(
        """
[[hosts]]
name = "h"
cores = 4
core_mips = 1000.0
memory = "16GiB"
power = "hp-proliant-ml110-g4"
[[guests]]
name = "web"
core_mips = 1000.0
memory = "1GiB"
start = "30s"
[guests.scaling]
target = 0.5
most = 4
period = "60s"
stabilisation = "120s"
[policy]
placement = "first-fit"
consolidation = "none"
idle_hosts = "on"
"""
    )
    read = load_toml(tmp_path / "c.toml", ClusterScenario)
    assert read.guests == scenario().guests
    (tmp_path / "d.toml").write_text(dump_toml(read))
    assert load_toml(tmp_path / "d.toml", ClusterScenario) == read
    run = simulate_cluster(read, demand(500, 1500, 1500))
    run.save(tmp_path / "r.json")
    again = ClusterRun.load(tmp_path / "r.json")
    assert again.services == run.services
    assert again.service_frame()["replicas"].tolist() == [state.replicas for state in run.services["web"]]
    generated = simulate_cluster(read, seed=2)
    assert generated.services["web"]
    shown = call("cluster", "run", "c.toml", "--seed", "2", "--json", "o.json")
    assert shown.code == 0, shown.err
    assert "service_unserved_mi" in shown.out
    assert json.loads((tmp_path / "o.json").read_text()) == generated.totals


@pytest.mark.parametrize(
    ("group", "said"),
    [
        ({"count": 5}, "count: guest group 'web' begins with 5 replicas; its scaling allows 1 to 4"),
        ({"scaling": {"least": 3, "most": 2}}, "least: 3 replicas are more than most, 2"),
        ({"scaling": {"target": 0.0}}, r"scaling.target: Expected `float` > 0"),
        ({"scaling": {"period": "0s"}}, "period: the time between decisions must be more than 0"),
    ],
)
def test_bad_rules_name_the_field(group: dict, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        GuestGroup.from_builtins({"name": "web", "core_mips": 1.0, "memory": "1GiB", "scaling": {"most": 4}, **group})


def test_traces_must_fit_the_groups() -> None:
    with pytest.raises(
        SpecError, match="the groups need 1 traces, there are 2; each guest needs one, and a scaled group"
    ):
        simulate_cluster(scenario(), Traces("t", ["a", "b"], np.zeros((2, 2)), STEP))
    late = Traces("t", ["a"], np.zeros((1, 2)), STEP, start_ns=np.array([STEP]))
    with pytest.raises(SpecError, match=r"traces\['a'\]: is the demand of the scaled group 'web' and must last"):
        simulate_cluster(scenario(), late)


# -- laws -------------------------------------------------------------------------------------------------

# What the nightly profile says at night; a run takes its time.
QUICK = settings(
    max_examples=settings.default.max_examples if settings.default.max_examples > 100 else 40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
rules_of_services = st.builds(
    HorizontalAutoscaler,
    target=st.sampled_from([0.3, 0.5, 0.8, 1.0]),
    least=st.integers(1, 3),
    most=st.integers(3, 6),
    tolerance=st.sampled_from([0.0, 0.1, 0.3]),
    stabilisation=st.sampled_from(["0s", "120s", "300s"]),
    cooldown=st.sampled_from(["0s", "90s"]),
    period=st.sampled_from(["15s", "45s", "60s"]),
)


@QUICK
@given(
    rules=rules_of_services,
    shares=st.lists(st.sampled_from([0.0, 0.05, 0.2, 0.5, 0.9, 1.0]), min_size=2, max_size=15),
    start=st.sampled_from(["0s", "40s", "100s"]),
    reserved=st.sampled_from([0.0, 0.5, 1.0]),
    broken=st.booleans(),
)
def test_replicas_keep_their_bounds_and_no_work_vanishes(
    rules: HorizontalAutoscaler, shares: list[float], start: str, reserved: float, broken: bool
) -> None:
    """Whatever is asked and whichever host fails: least to most replicas, and work is done, lost or not served."""
    at = [("h-0", Duration(100 * NS_PER_S), Duration(50 * NS_PER_S))] if broken else []
    plan = scenario(rules, hosts=2, count=rules.least, start=start, reserved=reserved).replace(
        failures=Failures(at=at), policy=Policy(settling="0s")
    )
    traces = Traces("t", ["web"], np.array([shares]), STEP)
    run = simulate_cluster(plan, traces)
    states = run.services["web"]
    assert all(rules.least <= state.replicas <= rules.most for state in states)
    assert all(0 <= state.serving <= rules.most for state in states)
    assert run.value("service_asked_mi") == pytest.approx(1000 * rules.most * 60 * sum(shares))
    assert 0 <= run.value("service_unserved_mi") <= run.value("service_asked_mi") * (1 + 1e-9)
    changes = [state.time_s for before, state in pairwise(states) if state.replicas != before.replicas]
    assert all(later - earlier >= rules.cooldown / NS_PER_S for earlier, later in pairwise(changes))
    assert simulate_cluster(plan, traces).digest == run.digest


@QUICK
@given(
    rules=rules_of_services,
    share=st.floats(0, 1),
    reserved=st.sampled_from([0.0, 0.5, 1.0]),
    start=st.sampled_from(["0s", "40s"]),
)
def test_a_steady_load_comes_to_rest(rules: HorizontalAutoscaler, share: float, reserved: float, start: str) -> None:
    """After a while nothing changes any more, and the utilisation is the target's as nearly as bounds and whole
    replicas allow."""
    plan = scenario(rules, hosts=2, count=rules.least, start=start, reserved=reserved)
    run = simulate_cluster(plan, Traces("t", ["web"], np.full((1, 40), share), STEP))
    states = run.services["web"]
    assert states[-1].time_s <= 1200
    end = states[-1]
    assert end.serving == end.replicas
    request = 1000 * (reserved or 1.0)
    ratio = min(end.asked, end.serving * 1000) / (end.serving * request) / rules.target
    if ratio > 1 + rules.tolerance + 1e-6:
        assert end.replicas == rules.most
    elif ratio < 1 - rules.tolerance - 1e-6 and end.replicas > rules.least:
        # One less would be too few.
        assert end.asked / ((end.replicas - 1) * request) / rules.target > 1


@QUICK
@given(
    rules=rules_of_services,
    deviations=st.lists(st.floats(-0.99, 0.99), min_size=2, max_size=20),
    replicas=st.integers(3, 3),
)
def test_no_flapping_within_the_tolerance(rules: HorizontalAutoscaler, deviations: list[float], replicas: int) -> None:
    """However the load goes up and down within the tolerance around the target, nobody comes or goes."""
    base = rules.target * replicas / rules.most
    shares = [min(base * (1 + rules.tolerance * deviation), 1.0) for deviation in deviations]
    # What is more than the replicas can do is not measured.
    plan = scenario(rules, hosts=2, count=replicas, start="0s")
    run = simulate_cluster(plan, Traces("t", ["web"], np.array([shares]), STEP))
    assert {state.replicas for state in run.services["web"]} == {replicas}
