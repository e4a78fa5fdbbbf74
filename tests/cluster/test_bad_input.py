"""What a user does wrong gives one error that names the object and what to do: in Python, TOML and at the shell."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest

from tests.conftest import Result
from virtsim.cluster import (
    ClusterScenario,
    GuestGroup,
    HostGroup,
    Policy,
    Traces,
    planetlab_scenario,
    read_planetlab,
    read_table,
    run_reference,
    simulate_cluster,
)
from virtsim.cluster.network import Topology
from virtsim.core.errors import ModelError, SpecError, VirtsimError
from virtsim.core.spec import dump_toml, from_builtins
from virtsim.core.units import NS_PER_S

Refused = Callable[[list[str], str], None]
STEP = 300 * NS_PER_S
HOST: dict[str, Any] = {
    "name": "h",
    "count": 2,
    "cores": 2,
    "core_mips": 1000.0,
    "memory": "4GiB",
    "power": "hp-proliant-ml110-g4",
}
GUEST: dict[str, Any] = {"name": "g", "count": 2, "core_mips": 1000.0, "memory": "1GiB"}
DEMAND = Traces("t", ["a", "b"], np.full((2, 12), 0.5), STEP)


def scenario(host: dict[str, Any] | None = None, guest: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """A scenario as plain data, with something wrong in it."""
    return {"hosts": [{**HOST, **(host or {})}], "guests": [{**GUEST, **(guest or {})}], **fields}


@pytest.fixture
def refused(call: Callable[..., Result]) -> Refused:
    """``refused(arguments, said)``: one line on standard error, exit code 2, and nothing of a traceback."""

    def check(arguments: list[str], said: str) -> None:
        result = call("cluster", *arguments)
        assert result.code == 2, result.out
        assert result.out == ""
        lines = result.err.splitlines()
        assert len(lines) == 1, result.err
        assert lines[0].startswith("virtsim: error: ")
        assert re.search(said, lines[0]), lines[0]

    return check


#: Wrong data, and what the error says: in the strict reader, in a file, and by the command.
SCENARIOS: list[tuple[dict[str, Any], str]] = [
    (scenario({"memory": "0B"}), r"hosts\[0\].memory: host group 'h' has no memory; give each host some"),
    (scenario({"memory": "-1GiB"}), r"hosts\[0\].memory: '-1GiB' is negative"),
    (scenario({"memory": 4}), r"hosts\[0\].memory: expected text with a unit"),
    (scenario({"cores": 0}), r"hosts\[0\].cores: Expected `int` >= 1"),
    (scenario({"count": 0}), r"hosts\[0\].count: Expected `int` >= 1"),
    (scenario({"core_mips": float("nan")}), r"hosts\[0\].core_mips: Expected `float` > 0"),
    (
        scenario({"power": "hp-proliant-ml110-g6"}),
        r"hosts\[0\].power: no power card .* did you mean 'hp-proliant-ml110-g5'",
    ),
    (
        scenario(guest={"memory": "5GiB"}),
        r"guests\['g-0'\]: is larger than every host: it needs 5GiB .*; give a larger",
    ),
    (scenario(guest={"core_mips": 1500.0}), r"guests\['g-0'\]: is larger than every host: .*cores of 1500 MIPS"),
    (
        scenario(guest={"cores": 3, "reserved": 1.0}),
        r"guests\['g-0'\]: is larger than every host: .*3000 MIPS reserved",
    ),
    (scenario(guest={"stack": "kmv"}), r"guests\[0\].stack: no stack is called 'kmv'; did you mean 'kvm'"),
    (scenario(guest={"start": "-1s"}), r"guests\[0\].start: '-1s' is negative"),
    (
        scenario(guest={"dirtying": {"sets": [{"size": "2GiB", "rate": "1MB"}]}}),
        r"guests\[0\].dirtying: guest group 'g' writes to 2GiB, more than its memory of 1GiB",
    ),
    (scenario(policy={"placement": "frist-fit"}), "policy.placement: no placement policy .* did you mean 'first-fit'"),
    (scenario(policy={"consolidation": "dynamik"}), "policy.consolidation: no .* did you mean 'dynamic'"),
    (scenario(policy={"overload": "lrx"}), "policy.overload: no overload detector .* did you mean 'lr'"),
    (scenario(policy={"selection": "mtt"}), "policy.selection: no selection policy .* did you mean 'mmt'"),
    (scenario(policy={"idle_hosts": "sleep"}), "policy.idle_hosts: 'sleep' is none .* did you mean 'asleep'"),
    (
        scenario(policy={"overload": "thr", "overload_parameter": 7.0}),
        "policy.overload_parameter: threshold of 'thr' must be more than 0 and at most 1, not 7",
    ),
    (scenario(network={"kind": "ring"}), "network.kind: 'ring' is none .* known: star, leaf-spine, fat-tree"),
    (scenario(migration={"rate_step": "1MB"}), "migration.most_rate: an adaptive rate needs a largest one"),
    (scenario(interval="0s"), "interval: the time between decisions must be more than 0"),
    (scenario(interval="-5s"), "interval: '-5s' is negative"),
    (scenario(duration="-1h"), "duration: '-1h' is negative"),
    (scenario(duration="1 hour"), "duration: '1 hour' has the unknown unit 'hour'"),
    (scenario(duration="30d"), "duration: is longer than the traces"),
    (scenario(restart="-1s"), "restart: '-1s' is negative"),
    (scenario(failures={"at": [["h-0", "-1s", "1s"]]}), r"failures.at\[0\]\[1\]: '-1s' is negative"),
    (
        scenario(failures={"at": [["h-9", "1s", "1s"]]}),
        r"failures.at\[0\]: no host is called 'h-9'; the first is 'h-0'",
    ),
    (scenario(demand={"samples": 0}), "demand.samples: Expected `int` >= 1"),
    (scenario(demand={"generator": "planetlab"}), "no trace generator .* did you mean 'planetlab-like'"),
    (scenario(demand={"file": "none.npz", "day": "20110303"}), "none.npz: the traces cannot be read"),
    (scenario(demand={"file": "none.csv", "format": "table"}), "none.csv: the table cannot be read: No such file"),
    (scenario(intervall="5s"), "intervall: there is no such field"),
    ({"hosts": [HOST, HOST], "guests": [GUEST]}, "hosts: two host groups have the same name"),
    ({"guests": [GUEST]}, "hosts: give at least one group of hosts"),
    ({"hosts": [HOST]}, "guests: a generator needs to know how many guests there are"),
]


@pytest.mark.parametrize(("data", "said"), SCENARIOS, ids=[said for _, said in SCENARIOS])
def test_in_python(data: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said) as caught:
        simulate_cluster(from_builtins(data, ClusterScenario))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("data", "said"), SCENARIOS, ids=[said for _, said in SCENARIOS])
def test_in_a_file_by_the_command(refused: Refused, data: dict[str, Any], said: str, tmp_path: Path) -> None:
    import tomli_w

    (tmp_path / "c.toml").write_text(tomli_w.dumps(data))
    refused(["run", str(tmp_path / "c.toml")], said)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: HostGroup(**{**HOST, "count": -1}), r"hosts\[0\].count: Expected `int` >= 1"),
        (lambda: HostGroup(**{**HOST, "cores": 1.5}), r"hosts\[0\].cores: Expected `int`, got `float`"),
        (lambda: HostGroup(**{**HOST, "core_mips": float("nan")}), r"hosts\[0\].core_mips: Expected `float` > 0"),
        (lambda: HostGroup(**{**HOST, "power": None}), r"hosts\[0\].power: Expected `str`, got `null`"),
    ],
)
def test_what_is_built_in_python_keeps_the_rules_of_files(make: Callable[[], HostGroup], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        simulate_cluster(ClusterScenario(hosts=[make()], guests=[GuestGroup(**GUEST)]), DEMAND)


def test_choices_built_in_python_are_checked() -> None:
    wrong = ClusterScenario(
        hosts=[HostGroup(**HOST)],
        guests=[GuestGroup(**GUEST)],
        policy=Policy(idle_hosts="sleep"),  # type: ignore[arg-type]
    )
    with pytest.raises(SpecError, match=r"policy\.idle_hosts: 'sleep' is none of the values"):
        simulate_cluster(wrong, DEMAND)


# -- traces -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"use": [[0.5, float("nan")]]}, r"traces\['a'\]: CPU use in sample 1 is not a number; .*repair or drop"),
        ({"use": [[0.5, 1.2]]}, r"traces\['a'\]: CPU use in sample 1 is 120 %; .*repair or drop"),
        ({"use": [[-0.5, 0.2]]}, r"traces\['a'\]: CPU use in sample 0 is -50 %"),
        ({"use": np.zeros((1, 0))}, "traces: are empty"),
        ({"guests": [], "use": np.zeros((0, 4))}, "traces: are empty"),
        ({"use": [["x"]]}, "traces.use: needs numbers"),
        ({"guests": ["a", "b"], "use": [[0.1, 0.2], [0.1]]}, "traces.use: needs numbers, a row of equal length"),
        ({"guests": ["a", "b"]}, "traces: need a row of samples for each of 2 guests"),
        ({"step_ns": -1}, "traces.step_ns: must be a whole number of nanoseconds above 0, not -1"),
        ({"step_ns": 0.5}, "traces.step_ns: must be a whole number"),
        ({"start_ns": [-5]}, "traces.start_ns: guest 'a' arrives before the traces begin"),
        ({"start_ns": [50], "end_ns": [5]}, "traces.end_ns: guest 'a' departs before it arrives"),
        ({"start_ns": [0.5]}, "traces.start_ns: needs whole numbers"),
        ({"end_ns": [float("nan")]}, "traces.end_ns: needs whole numbers"),
        ({"cores": [1, 2]}, "traces.cores: has 2 entries for 1 guests"),
        ({"cores": ["x"]}, "traces.cores: needs a number for each guest"),
        ({"memory_use": [[2.0, 0.1]]}, r"traces\['a'\]: memory use in sample 0 is 200 %"),
    ],
)
def test_traces(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        Traces(**{"name": "t", "guests": ["a"], "use": [[0.5, 0.5]], "step_ns": STEP, **fields})


def test_lists_are_taken_as_arrays() -> None:
    made = Traces("t", ["a", "b"], [[0.5], [0.5]], STEP, start_ns=[0, 5], cores=[1, 2])  # type: ignore[arg-type]
    assert made.start_ns.dtype == np.int64
    assert made.cores.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        ([[float("nan"), 1]], r"traces\['vm0'\]: CPU use in sample 0 is not a number"),
        ([[5, 101]], r"traces\['vm0'\]: CPU use in sample 1 is 101 %"),
        (np.zeros((1, 0)), "traces: are empty"),
        ([["x"]], "day 20200101 is not a table of numbers"),
    ],
)
def test_a_day_by_python_and_by_the_command(refused: Refused, samples: Any, said: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", u20200101=np.array(samples))
    with pytest.raises(SpecError, match=said):
        read_planetlab(tmp_path / "t.npz", "20200101")
    refused(["run", "--traces", str(tmp_path / "t.npz"), "--day", "20200101"], said)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a,0,600,1,1,nan", r"line 2: 'utilisation' of guest 'a' is nan, .*repair or drop the line"),
        ("a,0,600,1,1,120", r"line 2: 'utilisation' of guest 'a' is 120, "),
        ("a,-5,600,1,1,12", r"line 2: 'start' of guest 'a' is -5, "),
        ("a,0,0,1,1,12", "line 2: the guest ends at 0 s"),
        ("a,0,600,1,1,12\na,0,600,1,1,12", "two guests are called 'a'"),
        ("", "the table has no rows"),
    ],
)
def test_a_table_by_python_and_by_the_command(refused: Refused, row: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text(f"id,start,end,cores,ram_gib,utilisation\n{row}\n")
    with pytest.raises(SpecError, match=said):
        read_table(file)
    data = scenario(demand={"file": str(file), "format": "table"})
    (tmp_path / "c.toml").write_text(dump_toml(from_builtins(data, ClusterScenario)))
    refused(["run", str(tmp_path / "c.toml")], said)


# -- policies ---------------------------------------------------------------------------------------------


class Places:
    """Answers what it was told to."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def place(self, guests: Any, hosts: Any, random: np.random.Generator) -> Any:
        return self.answer


class Moves:
    """Decides what it was told to."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def decide(self, situation: Any, random: np.random.Generator) -> Any:
        return self.answer


def run(**options: Any) -> None:
    simulate_cluster(from_builtins(scenario(), ClusterScenario), DEMAND, **options)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ([99, 0], "policy 'Places' put guest 'g-0' on host number 99, which does not exist; hosts are 0 to 1"),
        ([0, -2], "policy 'Places' put guest 'g-1' on host number -2, which does not exist"),
        ([0], r"policy 'Places' must return one whole number a guest \(2\), .*shape \(1,\)"),
        ([0, 0, 1], r"policy 'Places' must return one whole number a guest \(2\), .*shape \(3,\)"),
        ([(0, 0), (0, 1)], r"policy 'Places' must return one whole number a guest \(2\), .*shape \(2, 2\)"),
        (None, "policy 'Places' must return one whole number a guest"),
        (["h-0", "h-1"], "policy 'Places' must return one whole number a guest"),
        ([0.0, float("nan")], "policy 'Places' must return one whole number a guest"),
        ([2**70, 0], "policy 'Places' must return one whole number a guest"),
    ],
)
def test_placements_that_answer_nonsense(answer: Any, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        run(placement=Places(answer))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ([(0, 99)], "policy 'Moves' moves guest 'g-0' to host number 99, which does not exist; there are 2"),
        ([(0, -1)], "policy 'Moves' moves guest 'g-0' to host number -1, which does not exist"),
        ([(9, 0)], "policy 'Moves' moves guest number 9, which does not exist; there are 2"),
        ([(0, 0), (0, 1)], "policy 'Moves' moves guest 'g-0' twice; move it once"),
        (None, "policy 'Moves' must return pairs"),
        ([("g-0", "h-0")], "policy 'Moves' must return pairs"),
        ([(0.5, 1.2)], "policy 'Moves' must return pairs"),
        ([(0, float("inf"))], "policy 'Moves' must return pairs"),
        ([(0, 0, 0)], "policy 'Moves' must return pairs"),
    ],
)
def test_consolidations_that_answer_nonsense(answer: Any, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        run(consolidation=Moves(answer))


# -- arguments --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: run(placement="first-fit"), "placement: must be a policy of your own; a shipped one is named by"),
        (lambda: run(placement=Places), r"placement: is the class Places; make one of it: placement=Places\(\)"),
        (lambda: run(placement=7), "placement: int 7 has no method 'place'"),
        (lambda: run(consolidation=7), "consolidation: int 7 has no method 'decide'"),
        (lambda: run(topology=7), "topology: must be a Topology"),
        (lambda: run(seed=-1), "seed: must be a whole number of at least 0, not int -1"),
        (lambda: run(seed=1.5), "seed: must be a whole number"),
        (lambda: simulate_cluster({"hosts": []}), "scenario: must be a ClusterScenario, not dict"),  # type: ignore[arg-type]
        (
            lambda: simulate_cluster(planetlab_scenario(), np.ones((2, 3))),
            r"traces: must be Traces\(...\), not ndarray",
        ),
        (lambda: simulate_cluster(planetlab_scenario("lr-mmt", -1), DEMAND), r"hosts\[0\].count: Expected `int` >= 1"),
        (lambda: planetlab_scenario("lr-mtm"), "policy: 'lr-mtm' is no policy of the reference rules; write npa"),
        (lambda: run_reference(DEMAND, "thr-mmt--1"), "policy: '-1' in 'thr-mmt--1' is not a parameter"),
        (lambda: run_reference(DEMAND, "thr-mmt"), "traces: the reference rules need a day of 288 samples"),
    ],
)
def test_arguments(call: Callable[[], object], said: str) -> None:
    with pytest.raises(VirtsimError, match=said):
        call()


@pytest.mark.parametrize("option", [["--day", "1"], ["--policy", "thr-mmt"], ["--rules", "virtsim"], ["--hosts", "3"]])
def test_options_that_a_scenario_file_would_ignore_are_refused(
    refused: Refused, option: list[str], tmp_path: Path
) -> None:
    (tmp_path / "c.toml").write_text(dump_toml(from_builtins(scenario(), ClusterScenario)))
    refused(["run", str(tmp_path / "c.toml"), *option], f"{option[0]}: goes with --traces only")


def test_the_command_says_what_it_cannot_read_or_write(refused: Refused, tmp_path: Path) -> None:
    good = tmp_path / "c.toml"
    good.write_text(dump_toml(from_builtins(scenario(duration="1h"), ClusterScenario)))
    refused(
        ["run", str(good), "--json", str(tmp_path / "no" / "x.json")], "--json: there is no folder .*no; make it first"
    )
    refused(
        ["run", str(good), "--save", str(tmp_path / "no" / "x.json")], "--save: there is no folder .*no; make it first"
    )
    (tmp_path / "bad.toml").write_text("x = [")
    refused(["run", str(tmp_path / "bad.toml")], "bad.toml: not TOML")
    refused(["run", "--traces", str(good), "--day", "1"], "c.toml: the traces cannot be read: it is no NumPy file")
    refused(["run", str(tmp_path)], "the file cannot be read: Is a directory")


# -- networks ---------------------------------------------------------------------------------------------


def graph(kind: Any = nx.Graph, **bandwidths: Any) -> Any:
    """Hosts on a switch: ``graph(h_0=125e6)``."""
    made = kind()
    for name, bandwidth in bandwidths.items():
        made.add_edge(name.replace("_", "-"), "switch", bandwidth=bandwidth)
    return made


@pytest.mark.parametrize("bandwidth", [0, -1, 0.5, float("nan"), float("inf"), "1Gbit", None])
def test_edges_need_a_bandwidth(bandwidth: Any) -> None:
    with pytest.raises(SpecError, match="topology: the edge 'h-0' - 'switch' needs a bandwidth in bytes per second"):
        Topology(graph(h_0=bandwidth), ["h-0"])


def test_directed_graphs_are_refused() -> None:
    with pytest.raises(SpecError, match="topology: the graph is directed; give an undirected one"):
        Topology(graph(nx.DiGraph, h_0=1e6), ["h-0"])


@pytest.mark.parametrize("reads", [{"image": "1GB"}, {"storage": "1MB"}])
def test_a_network_without_the_store_is_refused_where_it_is_needed(reads: dict[str, str]) -> None:
    network = graph(h_0=125e6, h_1=125e6)
    topology = Topology(network, ["h-0", "h-1"])
    run(topology=topology)
    reading = from_builtins(scenario(guest=reads), ClusterScenario)
    with pytest.raises(SpecError, match=r"topology: 'store' is not a node of the graph, and guests read from it"):
        simulate_cluster(reading, DEMAND, topology=topology)
    network.add_edge("store", "elsewhere", bandwidth=1e6)
    with pytest.raises(SpecError, match="topology: there is no way from 'store' to host 'h-0'"):
        simulate_cluster(reading, DEMAND, topology=Topology(network, ["h-0", "h-1"]))


def test_a_network_of_other_hosts_is_refused() -> None:
    with pytest.raises(SpecError, match="topology: 'h-0' is not a node of the graph, and the scenario has this host"):
        run(topology=Topology(graph(x=125e6), ["x"]))
