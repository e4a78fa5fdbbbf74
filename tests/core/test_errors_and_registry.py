import pickle

import pytest

from virtsim.core.errors import BackendDisturbed, BackendUnavailable, SpecError, VirtsimError
from virtsim.core.registry import Registry


def test_a_spec_error_is_one_line_with_path_and_reason():
    error = SpecError("guests[0].cpu_max", "two\n  lines\tbecome one")
    assert str(error) == "guests[0].cpu_max: two lines become one"
    assert isinstance(error, VirtsimError)
    assert isinstance(error, ValueError)


@pytest.mark.parametrize(
    ("prefix", "path", "result"),
    [
        ("guests[0]", "cpu_max", "guests[0].cpu_max"),
        ("guests", "[0].cpu_max", "guests[0].cpu_max"),
        ("file.toml: ", "guests", "file.toml: guests"),
        ("guests[0]", "", "guests[0]"),
    ],
)
def test_seen_from_outside_the_path_is_longer(prefix, path, result):
    assert SpecError(path, "reason").inside(prefix).path == result


@pytest.mark.parametrize(
    "error", [SpecError("a.b", "c"), BackendUnavailable("cgroup", "mount it"), BackendDisturbed("x")]
)
def test_errors_cross_process_borders(error):
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)


def test_a_registry_knows_names_and_helps_with_others():
    registry = Registry("placement policy")
    registry.register("first-fit")(object)
    registry.register("best-fit")(int)
    assert registry.get("first-fit") is object
    assert list(registry) == ["best-fit", "first-fit"]
    assert "best-fit" in registry
    with pytest.raises(SpecError) as caught:
        registry.get("frist-fit", "scenario.policy")
    assert str(caught.value) == (
        "scenario.policy: no placement policy is called 'frist-fit'; did you mean 'first-fit'? "
        "known: best-fit, first-fit"
    )
    with pytest.raises(SpecError, match="registered already"):
        registry.register("best-fit")(float)
    with pytest.raises(SpecError, match="known: none"):
        Registry("thing").get("x")
