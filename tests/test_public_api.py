"""The public names: which there are, that each is what it says, and that each has its place in the reference."""

import subprocess
import sys
from pathlib import Path

import pytest

import virtsim

PINNED = [
    "BackendUnavailable",
    "Group",
    "Guest",
    "Isolation",
    "ModelError",
    "Run",
    "RunSet",
    "Scenario",
    "SpecError",
    "Streams",
    "Task",
    "VirtsimError",
    "Workload",
    "calibrate",
    "compare",
    "doctor",
    "load_host",
    "load_runs",
    "load_stack",
    "observe",
    "operations",
    "replicate",
    "save_runs",
    "simulate",
    "sweep",
    "validate",
    "workloads",
]
REFERENCE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "python-interface.md"


def test_the_names_are_these_and_not_too_many():
    assert virtsim.__all__ == PINNED
    assert len(virtsim.__all__) <= 30
    assert set(PINNED) <= set(dir(virtsim))


@pytest.mark.parametrize("name", PINNED)
def test_each_name_is_there_and_documented(name):
    entity = getattr(virtsim, name)
    assert entity.__doc__
    assert getattr(entity, "__name__", name).rpartition(".")[2] in (name, "builders")
    assert f"## `{name}`" in REFERENCE.read_text(encoding="utf-8")


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'virtsim' has no attribute 'Scenery'"):
        virtsim.Scenery  # noqa: B018


def test_the_names_can_be_imported_with_a_star():
    names: dict[str, object] = {}
    exec("from virtsim import *", names)
    assert set(PINNED) <= set(names)


def test_importing_virtsim_imports_nothing_of_it():
    code = "import sys, virtsim; print(*(m for m in sys.modules if m.startswith('virtsim.')))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


def test_a_missing_package_is_named_with_the_extra_that_brings_it():
    code = (
        "import sys; sys.modules['msgspec'] = None\n"
        "import virtsim\n"
        "try: virtsim.Scenario\n"
        "except ModuleNotFoundError as problem: print(problem)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "virtsim.Scenario needs the package 'msgspec'; install virtsim[all]\n"


def test_the_example_of_the_design_runs():
    web = virtsim.Guest(
        "web",
        stack="container",
        cpu_weight=200,
        cpu_max="30ms/100ms",
        workload=virtsim.workloads.request_server(rate="200/s", service="1ms"),
    )
    batch = virtsim.Guest("batch", stack="container", cpu_weight=100, workload=virtsim.workloads.spin(tasks=2))
    scenario = virtsim.Scenario(host="epyc-guest-linux-6.18", guests=[web, batch], duration="200ms")
    runs = virtsim.sweep(scenario, {"guests.web.stack": ["container", "kvm", "xen-pv", "hosted-bt"]}, n=2, seed=7)
    pytest.importorskip("matplotlib", reason="needs virtsim[plots]")
    assert runs.plot().get_ylabel().startswith("request_latency_p99")
