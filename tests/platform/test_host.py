"""Host cards: strict, found, and honest about what they do not have."""

import pytest

from virtsim.core.data import card_names, models_folder
from virtsim.core.errors import SpecError
from virtsim.core.parameter import Parameter
from virtsim.core.spec import dump_toml, from_builtins, load_toml, read_toml
from virtsim.platform.host import BARE_ONLY, HostCard, load_host, reference_card, this_card
from virtsim.platform.primitives import PRIMITIVES
from virtsim.platform.stack import load_stack

HOSTS = sorted(path.stem for path in (models_folder() / "hosts").glob("*.toml"))
STACKS = sorted(path.stem for path in (models_folder() / "stacks").glob("*.toml"))


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", HOSTS)
def test_every_shipped_host_is_called_as_its_file_and_reads_back(name, tmp_path, config):
    host = load_host(name)
    assert host.name == name
    copy = tmp_path / "copy.toml"
    copy.write_text(dump_toml(host))
    assert load_toml(copy, HostCard) == host == load_host(copy)


@pytest.mark.parametrize("name", HOSTS)
def test_every_shipped_host_has_a_price_for_everything_and_says_where_it_is_from(name, config):
    host = load_host(name)
    assert set(host.prices) == set(PRIMITIVES) - (BARE_ONLY if host.outer_monitor else set())
    for primitive, parameter in host.prices.items():
        assert len(parameter.source) > 8, primitive
        assert "from memory" not in parameter.source
        if parameter.status == "assumed":
            assert parameter.source.startswith(("assumed", "exact")), (primitive, parameter.source)


@pytest.mark.parametrize("name", STACKS)
def test_every_shipped_stack_is_called_as_its_file(name, config):
    assert load_stack(name).name == name


def test_this_machine_falls_back_on_a_shipped_card_and_says_so(config):
    with pytest.warns(UserWarning, match="run `virtsim calibrate`"):
        assert "runner_step" in load_host("this").prices


def test_a_calibrated_card_is_this_machine(config):
    this_card().parent.mkdir(parents=True)
    this_card().write_text(dump_toml(load_host(HOSTS[0]).replace(name="this")))
    assert load_host("this").name == "this"
    assert "this" in card_names("hosts")


def test_unknown_cards_list_the_known_ones(config):
    with pytest.raises(SpecError, match=r"no host is called 'vax'; .*epyc-guest-linux-6\.18.*, this"):
        load_host("vax")
    with pytest.raises(SpecError, match="no stack is called 'contaner'; did you mean 'container'"):
        load_stack("contaner")
    with pytest.raises(SpecError, match="no host is called"):
        load_host("../stacks/native")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mode_swich": None}, "prices.mode_swich: no primitive has this name"),
        ({"mode_switch": {"unit": "us"}}, "prices.mode_switch.unit: is 'us' but must be 'ns'"),
        ({"mode_switch": {"value": -1.0, "low": -2.0}}, "prices.mode_switch.value: a price is at least 0"),
        ({"mode_switch": {"source": ""}}, "prices.mode_switch.source"),
    ],
)
def test_bad_prices_are_refused_with_their_path(change, message):
    data = read_toml(models_folder() / "hosts" / "epyc-guest-linux-6.18.toml")
    for name, fields in change.items():
        data["prices"][name] = data["prices"].get(name, data["prices"]["rdtsc"]) | (fields or {})
    with pytest.raises(SpecError) as caught:
        from_builtins(data, HostCard, "card.toml")
    assert message in str(caught.value)


def test_an_unknown_price_says_what_it_is():
    host = load_host("epyc-guest-linux-6.18")
    poor = host.replace(prices={name: p for name, p in host.prices.items() if name != "vmcs_read"})
    with pytest.raises(SpecError, match=r"prices\.vmcs_read: this host has no price for 'vmcs_read' \(Read one field"):
        poor.price("vmcs_read")
    assert set(host.prices) <= set(PRIMITIVES)


@pytest.mark.parametrize(
    ("changed", "where"),
    [
        ({"cpus": 7, "threads_per_core": 2}, "cpus"),
        ({"cpus": 4, "cpus_per_cache": 8}, "cpus"),
        ({"cpus": 4, "threads_per_core": 2, "numa_nodes": 3}, "numa_nodes"),
        ({"cpus": 4, "numa_nodes": 2, "numa_distances": [[10, 20]]}, "numa_distances"),
        ({"cpus": 4, "numa_nodes": 2, "numa_distances": [[10, 20], [30, 10]]}, "numa_distances"),
        ({"cpus": 4, "numa_nodes": 2, "numa_distances": [[11, 20], [20, 11]]}, "numa_distances"),
        ({"cpus": 4, "numa_nodes": 2, "numa_distances": [[10, 5], [5, 10]]}, "numa_distances"),
        ({"siblings": "opposite"}, "siblings"),
        ({"smt_speed": {"value": 1.3, "unit": "1", "source": "assumed: no", "date": "2026"}}, "smt_speed.value"),
        ({"smt_speed": {"value": 600, "unit": "ns", "source": "assumed: no", "date": "2026"}}, "smt_speed.unit"),
    ],
)
def test_a_topology_that_cannot_be_is_refused_and_named(changed, where, config):
    written = load_host("epyc-guest-linux-6.18").to_builtins()
    written["topology"] = {**written["topology"], "cpus_per_cache": 2, **changed}
    with pytest.raises(SpecError) as caught:
        from_builtins(written, HostCard)
    assert caught.value.path.startswith(f"topology.{where}")


def test_a_machine_that_is_slower_than_at_its_calibration_does_everything_at_that_speed():
    card = reference_card()
    assert card.at_speed(0.8) is card, "a card that does not say how fast it was stays as it is"
    told = card.replace(reference_round=Parameter(value=0.8, unit="ns", source="a test", date="2026"))
    assert told.at_speed(0.8).prices == told.prices
    slow = told.at_speed(1.0)
    for name, price in told.prices.items():
        if price.value is not None:
            assert slow.prices[name].value == pytest.approx(1.25 * price.value)
            assert slow.prices[name].status == price.status
        if price.low is not None:
            assert slow.prices[name].high == pytest.approx(1.25 * price.high)
