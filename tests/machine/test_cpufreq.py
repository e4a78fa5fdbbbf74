"""What a card's frequencies and governor do to a run."""

from __future__ import annotations

import pytest

import virtsim as vs
from virtsim.core.errors import SpecError
from virtsim.core.parameter import Parameter
from virtsim.core.spec import Frequency, from_builtins
from virtsim.platform.cpufreq import CpuFreq
from virtsim.platform.host import HostCard, load_host, reference_card

MS = 1_000_000
GHZ = 10**9


def assumed(value: float, unit: str) -> Parameter:
    return Parameter(value=value, unit=unit, source="assumed for the test", date="2026", status="assumed")


def cpufreq(**changed: object) -> CpuFreq:
    """1.25 to 2.5 GHz, changed in no time."""
    made = {
        "minimum": Frequency(1_250_000_000),
        "maximum": Frequency(2_500_000_000),
        "transition_latency": assumed(0, "ns"),
        "source": "assumed for the test",
        "date": "2026",
    }
    return CpuFreq(**(made | changed))  # type: ignore[arg-type]


def card(governor: CpuFreq | None) -> HostCard:
    """Two CPUs of 2 GHz where nothing but computing costs anything."""
    plain = reference_card()
    topology = plain.topology.replace(cpus=2, threads_per_core=1, cpus_per_cache=2)
    bare = plain.scaled(0).with_prices({"compute": assumed(1, "1")}, topology=topology)
    return bare.replace(frequency=Frequency(2 * GHZ), cpufreq=governor)


def run(governor: CpuFreq | None, work: str = "50ms", **guest: object) -> vs.Run:
    guests = [vs.Guest("a", vs.workloads.spin(work=work), **guest)]  # type: ignore[arg-type]
    return vs.simulate(vs.Scenario(guests=guests, duration="2s"), host=card(governor), seed=7)


@pytest.mark.parametrize(("governor", "ms"), [("performance", 40), ("powersave", 80)])
@pytest.mark.parametrize("guest", [{}, {"stack": "kvm", "vcpus": 1}])
def test_work_takes_the_longer_the_lower_the_frequency(governor, ms, guest):
    """50 ms at 2 GHz are 40 ms at 2.5 and 80 ms at 1.25 GHz, in a guest's vCPU as well."""
    done = run(cpufreq(governor=governor), **guest)
    plain = run(None, **guest).value("a/spin", "completion_time")
    assert plain == pytest.approx(50 * MS, abs=2 * MS)
    assert done.value("a/spin", "completion_time") == pytest.approx(plain * ms / 50, rel=0.02)


def test_by_utilisation_is_between_the_two():
    done = run(cpufreq())
    assert 40 * MS < done.value("a/spin", "completion_time") < 80 * MS
    mean, idle = (done.value(f"cpus {number}", "mean_frequency") for number in (0, 1))
    assert 1.25 * GHZ == idle < mean < 2.5 * GHZ
    assert done.value("cpus 0", "frequency_changes") > 3


@pytest.mark.parametrize(("domain", "entities"), [("core", ["cpus 0", "cpus 1"]), ("cache", ["cpus 0,1"])])
def test_domains_are_cores_unless_the_card_says_otherwise(domain, entities):
    done = run(cpufreq(domain=domain))
    assert [row.entity for row in done.metrics() if row.metric == "mean_frequency"] == entities


def test_one_frequency_the_cards_own_changes_nothing():
    """But that the run tells it."""
    plain, constant = run(None), run(cpufreq(minimum=Frequency(2 * GHZ), maximum=Frequency(2 * GHZ)))
    assert constant.value("cpus 0", "mean_frequency") == 2 * GHZ
    constant.devices = []
    assert constant.digest == plain.digest


@pytest.mark.parametrize(("latency_ns", "limit_us"), [(0, 1000), (999, 1000), (1000, 1), (10_000, 15), (11_500, 16)])
def test_the_rate_limit_is_the_kernels(latency_ns, limit_us):
    assert cpufreq(transition_latency=assumed(latency_ns, "ns")).rate_limit_ns == limit_us * 1000


def written(**changed: object) -> dict[str, object]:
    table = {
        "minimum": "1GHz",
        "maximum": "3GHz",
        "transition_latency": {"value": 10_000, "unit": "ns", "source": "assumed: no", "date": "2026"},
        "source": "assumed: no",
        "date": "2026",
    }
    return {name: value for name, value in (table | changed).items() if value is not None}


@pytest.mark.parametrize(
    ("changed", "where"),
    [
        ({"minimum": "4GHz"}, "maximum"),
        ({"maximum": None}, "points"),
        ({"points": ["1GHz", "3GHz"]}, "points"),
        ({"minimum": None, "maximum": None}, "points"),
        ({"minimum": None, "maximum": None, "points": ["3GHz", "1GHz"]}, "points"),
        ({"minimum": None, "maximum": None, "points": ["1GHz", "1GHz"]}, "points"),
        ({"governor": "ondemand"}, "governor"),
        ({"domain": "socket"}, "domain"),
        ({"maximum": "100GHz"}, ""),
        ({"transition_latency": {"value": 1, "unit": "1", "source": "no", "date": "2026"}}, "transition_latency.unit"),
        ({"transition_latency": {"value": -1, "unit": "ns", "source": "no", "date": "2026"}}, "transition_latency.val"),
    ],
)
def test_frequencies_that_cannot_be_are_refused_and_named(changed, where):
    host = load_host("epyc-guest-linux-6.18").to_builtins() | {"frequency": "2GHz"}
    assert from_builtins(host | {"cpufreq": written()}, HostCard).cpufreq is not None
    with pytest.raises(SpecError) as caught:
        from_builtins(host | {"cpufreq": written(**changed)}, HostCard)
    assert caught.value.path.startswith(f"cpufreq.{where}".rstrip("."))


def test_a_card_that_does_not_know_its_frequency_cannot_change_it():
    host = load_host("epyc-guest-linux-6.18").to_builtins() | {"frequency": "0Hz"}
    with pytest.raises(SpecError, match="prices belong to"):
        from_builtins(host | {"cpufreq": written()}, HostCard)
