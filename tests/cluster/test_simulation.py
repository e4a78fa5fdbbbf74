"""The default rules on small clusters whose course can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from virtsim.cluster import (
    ClusterRun,
    ClusterScenario,
    GuestGroup,
    HostGroup,
    Policy,
    Strategy,
    Traces,
    simulate_cluster,
)
from virtsim.cluster.network import fat_tree, leaf_spine, star
from virtsim.cluster.overheads import stack_overhead
from virtsim.cluster.plant import share_cpu
from virtsim.cluster.policies.situation import Move
from virtsim.cluster.power import load_power, power_cards
from virtsim.cluster.scenario import Failures, Network
from virtsim.core.errors import ModelError, SpecError
from virtsim.core.spec import Duration, dump_toml, from_builtins
from virtsim.core.units import NS_PER_S
from virtsim.testing import demand_traces, failures

STEP = 300 * NS_PER_S
G4 = load_power("hp-proliant-ml110-g4")


def hosts(count: int = 2, memory: str = "4GiB") -> list[HostGroup]:
    return [HostGroup(name="h", count=count, cores=2, core_mips=1000, memory=memory, power="hp-proliant-ml110-g4")]


def guests(count: int = 1, **options: object) -> list[GuestGroup]:
    return [GuestGroup(**{"name": "g", "count": count, "core_mips": 1000, "memory": "1GiB", **options})]


def traces(*rows: list[float]) -> Traces:
    return Traces("t", [f"g{i}" for i in range(len(rows))], np.array(rows), STEP)


STILL = Policy(placement="first-fit", consolidation="none")


def run(scenario: ClusterScenario, demand: Traces, **options: object) -> ClusterRun:
    return simulate_cluster(scenario, demand, **options)


def test_energy_of_one_guest_by_hand() -> None:
    """Loads of 50 % and 10 % of 2000 MIPS for 300 s each; the second host sleeps at 5 W."""
    scenario = ClusterScenario(hosts=hosts(), guests=guests(core_mips=1000), policy=STILL)
    result = run(scenario, traces([1.0, 0.2]))
    joules = 300 * (102 + 89.4) + 600 * 5
    assert result.value("energy_kwh") * 3.6e6 == pytest.approx(joules, rel=1e-12)
    assert result.value("migrations") == 0
    assert result.value("availability") == 1


def test_steal_by_hand() -> None:
    """Three guests want 1000 MIPS each of 2000: a third of the work is not done."""
    scenario = ClusterScenario(hosts=hosts(1), guests=guests(3), policy=STILL, cpu_overcommit=2.0)
    result = run(scenario, traces([1.0], [1.0], [1.0]))
    assert result.value("steal_mi") == pytest.approx(300 * 1000)
    assert result.value("slatah") == 1
    assert result.value("sla_overall") == pytest.approx(1 / 3)


def test_reservations_come_first() -> None:
    given_mips = share_cpu(np.array([1000.0, 1000, 100]), np.array([800.0, 0, 0]), 1200.0)
    assert given_mips.tolist() == [950.0, 150.0, 100.0]
    assert share_cpu(np.array([50.0, 70]), np.array([50.0, 70]), 60.0).sum() == 60


@given(
    st.lists(st.tuples(st.floats(0, 1000), st.floats(0, 1000)), min_size=1, max_size=8),
    st.floats(0, 3000),
)
def test_shares_are_max_min_fair(guests_mips: list[tuple[float, float]], capacity: float) -> None:
    wanted = np.array([want for want, _ in guests_mips])
    kept = np.array([keep for _, keep in guests_mips])
    got = share_cpu(wanted, kept, capacity)
    assert got.sum() == pytest.approx(min(capacity, wanted.sum()), abs=1e-6)
    assert (got <= wanted + 1e-9).all()
    short = got < wanted - 1e-6
    if np.minimum(wanted, kept).sum() <= capacity and short.any():
        extra = got - np.minimum(wanted, kept)
        # Nobody has more beyond their reservation than someone who is short, unless that is all they want.
        assert extra.max() <= extra[short].min() + 1e-6


class MoveOnce:
    """Moves the first guest to the last host at the first decision."""

    def __init__(self) -> None:
        self.done = False

    def decide(self, situation, random):
        if self.done or not len(situation.guests):
            return []
        self.done = True
        return [Move(0, len(situation.hosts) - 1)]


def test_a_migration_takes_what_its_bytes_take() -> None:
    """1 GiB at half of 125 MB/s, after 15 s in which the sleeping target wakes."""
    scenario = ClusterScenario(hosts=hosts(), guests=guests(), policy=STILL)
    result = run(scenario, traces([0.5] * 4), consolidation=MoveOnce())
    memory = 1 << 30
    assert result.value("migrations") == 1
    assert result.value("boots") == 1
    assert result.value("migrated_bytes") >= memory
    assert result.value("mean_migration_time_s") == pytest.approx(result.value("migrated_bytes") / 62.5e6, rel=0.02)
    assert 0 < result.value("migration_downtime_s") < 0.4
    assert result.value("pdm") > 0


def test_concurrent_migrations_share_the_link() -> None:
    class MoveAll(MoveOnce):
        def decide(self, situation, random):
            if self.done:
                return []
            self.done = True
            return [Move(i, 1) for i in range(len(situation.guests))]

    scenario = ClusterScenario(hosts=hosts(), guests=guests(2), policy=STILL, concurrent_migrations=2)
    one = run(
        ClusterScenario(hosts=hosts(), guests=guests(1), policy=STILL), traces([0.1] * 4), consolidation=MoveAll()
    )
    two = run(scenario, traces([0.1] * 4, [0.1] * 4), consolidation=MoveAll())
    ratio = two.value("mean_migration_time_s") / one.value("mean_migration_time_s")
    assert ratio == pytest.approx(2.0, rel=0.05)


def test_a_host_that_fails_loses_its_guests_for_a_while() -> None:
    scenario = ClusterScenario(
        hosts=hosts(),
        guests=guests(),
        policy=STILL,
        failures=Failures(at=[("h-0", Duration(100 * NS_PER_S), Duration(600 * NS_PER_S))]),
    )
    result = run(scenario, traces([0.5] * 4))
    # 60 s until it is placed again and 15 s until the sleeping host is awake, of 1200 s.
    assert result.value("availability") == pytest.approx(1 - 75 / 1200)
    assert result.value("restarts") == 1


def test_memory_overcommit_balloons_virtual_machines_and_kills_containers() -> None:
    demand = Traces("t", ["a", "b"], np.full((2, 2), 0.1), STEP, memory_use=np.array([[0.2, 0.97], [0.2, 0.97]]))
    for stack, killed in (("kvm", 0), ("container", 1)):
        scenario = ClusterScenario(
            hosts=hosts(1, "1536MiB"),
            guests=guests(2, memory="800MiB", stack=stack),
            policy=STILL,
            cpu_overcommit=2.0,
            memory_overcommit=2.0,
            restart="400s",
        )
        result = run(scenario, demand)
        assert result.value("oom_kills") == killed, stack
        assert (result.value("balloon_byte_s") > 0) == (not killed), stack
        if not killed:
            assert result.value("unmet_demand") > 0


def test_arrivals_and_departures() -> None:
    demand = Traces(
        "t",
        ["a", "b"],
        np.full((2, 4), 0.5),
        STEP,
        start_ns=np.array([0, STEP]),
        end_ns=np.array([2 * STEP, 4 * STEP]),
    )
    scenario = ClusterScenario(hosts=hosts(1), guests=guests(2), policy=STILL)
    result = run(scenario, demand)
    work = 500 * (600 + 900)
    joules = 300 * G4.watts_at(0.25) + 300 * G4.watts_at(0.5) + 600 * G4.watts_at(0.25)
    assert result.value("energy_kwh") * 3.6e6 == pytest.approx(joules)
    assert result.value("availability") == 1
    assert result.value("unmet_demand") == pytest.approx(0, abs=1e-6 * work)


def test_stacks_cost_what_the_platform_says() -> None:
    energies = {}
    for stack in ("native", "container", "kvm", "xen-pv", "container-in-kvm"):
        scenario = ClusterScenario(hosts=hosts(1), guests=guests(stack=stack), policy=STILL)
        energies[stack] = run(scenario, traces([0.9] * 3)).value("energy_kwh")
    assert energies["native"] <= energies["container"] < energies["kvm"] < energies["container-in-kvm"]
    assert energies["xen-pv"] > energies["native"]


def test_images_are_pulled_once_a_host() -> None:
    scenario = ClusterScenario(hosts=hosts(1), guests=guests(2, image="100MB", start="1s"), policy=STILL)
    demand = Traces(
        "t",
        ["a", "b"],
        np.full((2, 4), 0.1),
        STEP,
        start_ns=np.array([STEP, 2 * STEP]),
        end_ns=np.array([4 * STEP] * 2),
    )
    result = run(scenario, demand)
    assert result.value("images_pulled_bytes") == 100e6
    # The first waits 15 s for the host and 0.8 s for the image, both 1 s to start.
    assert result.value("availability") == pytest.approx(1 - (15 + 0.8 + 1 + 1) / (900 + 600), abs=1e-4)


def test_reads_from_the_store_by_hand() -> None:
    """Two guests of a host with 125 MB/s read 50 MB/s each, which it has, or 100 MB/s each, which it has not."""
    still = run(
        ClusterScenario(hosts=hosts(1), guests=guests(2, storage="50MB"), policy=STILL, cpu_overcommit=2.0),
        traces([0.5, 1.0], [0.5, 1.0]),
    )
    assert still.value("storage_bytes") == pytest.approx(2 * 50_000_000 * (150 + 300), rel=1e-8)
    assert still.value("storage_late_s") == pytest.approx(0, abs=1e-4)
    crowded = run(
        ClusterScenario(hosts=hosts(1), guests=guests(2, storage="100MB"), policy=STILL, cpu_overcommit=2.0),
        traces([1.0, 0.0], [1.0, 0.0]),
    )
    # 60 GB over 125 MB/s take 480 s; alone each would have had its 30 GB after 300 s.
    assert crowded.value("storage_bytes") == pytest.approx(60_000_000_000, rel=1e-8)
    assert crowded.value("storage_late_s") == pytest.approx(2 * 180, abs=1e-3)


def test_reads_slow_a_migration_down() -> None:
    """A guest of 1 GiB goes to a host whose own guest reads as fast as its link allows: half of it for each."""
    reader = GuestGroup(name="r", cores=2, core_mips=1000, memory="1GiB", storage="250MB")
    network = Network(migration_share=1.0)
    busy = ClusterScenario(hosts=hosts(2), guests=[*guests(1), reader], policy=STILL, network=network)
    idle = busy.replace(guests=[*guests(1), reader.replace(storage="0B")])
    times = [
        run(scenario, traces([0.1] * 4, [0.5] * 4), consolidation=MoveOnce()).value("mean_migration_time_s")
        for scenario in (busy, idle)
    ]
    assert times[0] / times[1] == pytest.approx(2.0, rel=0.05)


def test_reads_go_on_where_their_guest_goes() -> None:
    """A reader moves, and its host fails: nothing is read twice, and what was asked for while it ran arrives."""
    scenario = ClusterScenario(
        hosts=hosts(2),
        guests=guests(storage="10MB"),
        policy=STILL,
        failures=Failures(at=[("h-1", Duration(700 * NS_PER_S), Duration(300 * NS_PER_S))]),
    )
    result = run(scenario, traces([0.5] * 4), consolidation=MoveOnce())
    assert result.value("migrations") == 1
    assert result.value("restarts") == 1
    # In 760 s it is placed again, and runs before 900 s: no sample is missed.
    assert result.value("storage_bytes") == pytest.approx(4 * 300 * 5_000_000, rel=1e-6)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"guests": guests(memory="8GiB")}, "guests.'g-0'.: is larger than every host: it needs 8GiB of memory"),
        ({"guests": guests(core_mips=1500)}, "cores of 1500 MIPS"),
        ({"guests": guests(2)}, "the groups have 2 guests, the traces 1"),
        ({"duration": "1d"}, "is longer than the traces"),
        ({"failures": Failures(at=[("x", Duration(1), Duration(1))])}, "no host is called 'x'"),
        ({"policy": Policy(placement="nearest")}, "no placement policy is called 'nearest'"),
        ({"policy": Policy(overload="xyz")}, "no overload detector is called 'xyz'"),
    ],
)
def test_impossible_scenarios_name_what_is_wrong(change: dict, said: str) -> None:
    scenario = ClusterScenario(hosts=hosts(), guests=guests(), policy=STILL).replace(**change)
    with pytest.raises(SpecError, match=said):
        run(scenario, traces([0.5, 0.5]))


def test_a_host_without_memory_is_refused() -> None:
    with pytest.raises(SpecError, match="host group 'h' has no memory"):
        hosts(memory="0B")
    with pytest.raises(SpecError, match="has no memory"):
        from_builtins({"name": "x", "cores": 1, "core_mips": 1.0, "memory": "0B", "power": "p"}, HostGroup, "c.toml")


def test_a_policy_that_answers_nonsense_ends_the_run() -> None:
    class Twice:
        def decide(self, situation, random):
            return [Move(0, 1), Move(0, 1)]

    class Nowhere:
        def place(self, guests, hosts, random):
            return [99] * len(guests)

    scenario = ClusterScenario(hosts=hosts(), guests=guests(), policy=STILL)
    with pytest.raises(ModelError, match="policy 'Twice' moves guest 'g-0' twice"):
        run(scenario, traces([0.5] * 3), consolidation=Twice())
    with pytest.raises(ModelError, match="policy 'Nowhere' put guest 'g-0' on host number 99"):
        run(scenario, traces([0.5] * 3), placement=Nowhere())


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(
    demand=demand_traces(guests=5),
    broken=failures(("h-0", "h-1", "h-2"), within_s=7200),
    kind=st.sampled_from(["pre-copy", "post-copy", "stop-and-copy"]),
    idle=st.sampled_from(["asleep", "off", "on"]),
)
def test_laws_of_whole_runs(demand: Traces, broken: Failures, kind: str, idle: str) -> None:
    """Whatever happens: energy within what the hosts can draw, work conserved, memory sent whole, runs repeat."""
    scenario = ClusterScenario(
        hosts=hosts(3),
        guests=guests(5, memory="1GiB"),
        policy=Policy(overload="thr", settling="0s", idle_hosts=idle),
        failures=broken,
        migration=Strategy(kind=kind),
    )
    result = run(scenario, demand, seed=3)
    seconds = result.duration_ns / NS_PER_S
    assert 0 <= result.value("energy_kwh") * 3.6e6 <= 3 * 117 * seconds * (1 + 1e-9)
    assert 0 <= result.value("sla_overall") <= 1
    assert 0 <= result.value("availability") <= 1
    finished = result.value("migrations") - result.value("failed_migrations")
    unfinished = 5
    assert result.value("migrated_bytes") >= (finished - unfinished) * (1 << 30)
    assert run(scenario, demand, seed=3).digest == result.digest


def test_topologies_share_their_links() -> None:
    names = [f"h-{i}" for i in range(8)]
    assert star(names, 100).way("h-0", "h-1") == ("h-0>switch", "switch>h-1")
    spine = leaf_spine(names, 100, per_leaf=4, spines=2)
    assert len(spine.way("h-0", "h-1")) == 2
    assert len(spine.way("h-0", "h-7")) == 4
    tree = fat_tree(names, 100)
    assert len(tree.way("h-0", "h-7")) == 6
    assert tree.way("store", "h-0")[-1].endswith(">h-0")


def test_an_own_graph_is_checked() -> None:
    import networkx as nx

    from virtsim.cluster.network import Topology

    graph = nx.Graph()
    graph.add_edge("a", "s", bandwidth=10)
    graph.add_node("b")
    with pytest.raises(SpecError, match="no way from host 'a' to host 'b'"):
        Topology(graph, ["a", "b"])
    graph.add_edge("b", "s")
    with pytest.raises(SpecError, match="needs a bandwidth"):
        Topology(graph, ["a", "b"])


def test_networks_of_scenarios_run() -> None:
    for kind in ("star", "leaf-spine", "fat-tree"):
        scenario = ClusterScenario(hosts=hosts(), guests=guests(), policy=STILL, network=Network(kind=kind))
        assert run(scenario, traces([0.5] * 4), consolidation=MoveOnce()).value("migrations") == 1


def test_scenarios_and_runs_survive_their_files(tmp_path) -> None:
    scenario = ClusterScenario(hosts=hosts(), guests=guests(), policy=STILL)
    from virtsim.core.spec import load_toml

    (tmp_path / "c.toml").write_text(dump_toml(scenario))
    assert load_toml(tmp_path / "c.toml", ClusterScenario) == scenario
    result = run(scenario, traces([0.5, 0.1]))
    result.save(tmp_path / "r.json")
    assert ClusterRun.load(tmp_path / "r.json").digest == result.digest
    assert "energy_kwh" in result._repr_html_()
    frame = result.to_frame()
    assert list(frame.columns) == ["entity", "metric", "unit", "value"]


def test_power_cards_are_sound() -> None:
    assert len(power_cards()) >= 7
    for name in power_cards():
        card = load_power(name)
        assert card.watts_at(0) == card.idle_watts
        assert card.watts_at(1) == card.peak_watts
        with pytest.raises(ModelError, match="outside 0 to 1"):
            card.watts_at(1.1)
    assert G4.watts_at(0.25) == pytest.approx((92.6 + 96) / 2)


def arrivals(starts_s: list[int], ends_s: list[int], samples: int = 4) -> Traces:
    """Guests that want half of what they may, from and until so many seconds."""
    start, end = (np.array(one, dtype=np.int64) * NS_PER_S for one in (starts_s, ends_s))
    names = [f"g{i}" for i in range(len(starts_s))]
    return Traces("t", names, np.full((len(names), samples), 0.5), STEP, start_ns=start, end_ns=end)


def downtime_s(result: ClusterRun, demand: Traces) -> float:
    """Time that guests were there and did not run, summed."""
    lived_s = float((demand.end_ns - demand.start_ns).sum()) / NS_PER_S
    return (1 - result.value("availability")) * lived_s


def test_guests_that_start_together_wait_for_the_same_pull() -> None:
    """A host resumes in 15 s and pulls 1 GB in 8 s; a guest that comes 5 s later waits for the rest of it."""
    scenario = ClusterScenario(hosts=hosts(1, "16GiB"), guests=guests(2, image="1GB"), policy=STILL)
    for late_s in (0, 5):
        demand = arrivals([100, 100 + late_s], [1200, 1200])
        result = run(scenario, demand)
        assert result.value("images_pulled_bytes") == 1e9
        assert downtime_s(result, demand) == pytest.approx(23 + 23 - late_s)


def test_a_pull_ends_with_the_last_who_waits_for_it() -> None:
    """The first leaves 3 s into the pull; the other two wait on, or there is none and the next pulls anew."""
    shared = arrivals([100, 100, 100], [118, 1200, 1200])
    scenario = ClusterScenario(
        hosts=hosts(1, "16GiB"), guests=guests(3, image="1GB"), policy=STILL.replace(spare=1), cpu_overcommit=2.0
    )
    result = run(scenario, shared)
    assert result.value("images_pulled_bytes") == 1e9
    assert downtime_s(result, shared) == pytest.approx(8 + 8 + 8)
    alone = arrivals([100, 200], [103, 1200])
    result = run(scenario.replace(guests=guests(2, image="1GB")), alone)
    assert result.value("images_pulled_bytes") == 1e9
    assert downtime_s(result, alone) == pytest.approx(3 + 8)


@pytest.mark.parametrize(("idle", "at_the_end"), [("on", 2), ("asleep", 1)])
def test_a_repaired_host_comes_back_on_where_idle_hosts_stay_on(idle: str, at_the_end: int) -> None:
    """It fails at once, is repaired after 300 s, and boots for 120 s."""
    scenario = ClusterScenario(
        hosts=hosts(2),
        guests=guests(),
        policy=STILL.replace(idle_hosts=idle),
        failures=Failures(at=[("h-1", Duration(0), Duration(STEP))]),
        interval="50s",
    )
    result = run(scenario, traces([0.5, 0.5]))
    on = dict(zip(result.series["time_s"], result.series["active_hosts"]))
    assert on[50] == on[400] == 1
    assert on[450] == at_the_end


def test_a_host_that_fails_while_it_wakes_takes_its_whole_time_again() -> None:
    """It begins to resume at 100 s, fails at 105 s, is repaired at 110 s, and boots for 120 s for who waits."""
    demand = arrivals([100], [1200])
    scenario = ClusterScenario(
        hosts=hosts(1),
        guests=guests(),
        policy=STILL,
        failures=Failures(at=[("h-0", Duration(105 * NS_PER_S), Duration(5 * NS_PER_S))]),
        restart="1s",
    )
    assert downtime_s(run(scenario, demand), demand) == pytest.approx(5 + 5 + 120)


@pytest.mark.parametrize("late_s", [0, 310])
def test_memory_is_pressed_when_guests_come_not_only_when_samples_change(late_s: int) -> None:
    """Two guests touch 1600 of 1536 MiB as soon as both are there: at once, or 10 s into a sample."""
    together_s = 1200 - late_s
    demand = arrivals([0, late_s], [1200, 1200])
    scenario = ClusterScenario(
        hosts=hosts(1, "1536MiB"),
        guests=guests(2, memory="800MiB", stack="container"),
        policy=STILL,
        cpu_overcommit=2.0,
        memory_overcommit=2.0,
        restart="20000s",
    )
    killed = run(scenario, demand)
    assert killed.value("oom_kills") == 1
    assert downtime_s(killed, demand) == pytest.approx(together_s)
    ballooned = run(scenario.replace(guests=guests(2, memory="800MiB", stack="kvm")), demand)
    excess = (64 << 20) + 2 * stack_overhead("kvm").memory_bytes
    assert ballooned.value("oom_kills") == 0
    assert ballooned.value("balloon_byte_s") == pytest.approx(excess * together_s, rel=1e-9)


def test_a_guest_that_never_fits_is_killed_again_and_again_with_pauses() -> None:
    """It comes back after no time at all, and is killed at once: the run goes on all the same."""
    scenario = ClusterScenario(
        hosts=hosts(1, "1GiB"),
        guests=guests(1, memory="1030MiB", stack="container"),
        policy=STILL,
        memory_overcommit=2.0,
        restart="0s",
    )
    assert run(scenario, arrivals([0], [1200])).value("oom_kills") == 120
