"""The demo from recorded observations: what it does where a machine lacks a compiler or privileges."""

import json

import pytest

from virtsim.experiment.folder import find_experiment
from virtsim.experiment.observations import load_observations, save_observations


@pytest.fixture(scope="module")
def recorded():
    return load_observations(find_experiment("01-two-worlds").path / "observations")


def test_the_demo_replays_and_says_so_first(call, tmp_path):
    pytest.importorskip("matplotlib", reason="needs virtsim[plots]")
    result = call("demo", "--replay")
    assert result.code == 0, result.err
    first, *_, last = result.out.rstrip().splitlines()
    assert first.startswith("This replays recorded observations")
    assert first.endswith("nothing is run on this kernel.")
    assert "timeline.png" in last
    out = tmp_path / "out" / "demo"
    assert (out / "timeline.png").read_bytes().startswith(b"\x89PNG")
    rows = json.loads((out / "comparison.json").read_text())
    scenarios = {row["scenario"] for row in rows}
    assert scenarios == {"cpu-shares", "quota", "system-calls", "pipe-pair", "periodic-beside-hog", "fork-exec"}
    assert json.loads((out / "manifest.json").read_text())["passed"] is True


def test_the_observations_name_no_machine(recorded):
    path = find_experiment("01-two-worlds").path / "observations"
    texts = [recorded.manifest["platform"]["kernel"], recorded.host.kernel.version]
    texts += [run.manifest["kernel"]["release"] for run in recorded.runs]
    assert all(text.replace(".", "").isdecimal() for text in texts)
    for name in ("manifest.json", "host.toml"):
        assert not any(word in (path / name).read_text() for word in ("/home", "/root", "/tmp", "hostname"))


def test_observations_are_written_and_read_back(recorded, tmp_path):
    save_observations(tmp_path / "copy", recorded.runs, recorded.host)
    again = load_observations(tmp_path / "copy")
    assert [run.digest for run in again.runs] == [run.digest for run in recorded.runs]
    assert again.host == recorded.host


def test_other_runs_than_the_manifest_lists_are_refused(recorded, tmp_path):
    from virtsim.core.errors import SpecError
    from virtsim.results.store import save_runs

    save_observations(tmp_path, recorded.runs, recorded.host)
    save_runs(tmp_path / "runs.jsonl.gz", recorded.runs[1:])
    with pytest.raises(SpecError, match="the runs are not those that the manifest lists"):
        load_observations(tmp_path)
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(SpecError, match=r"manifest\.json: the observations cannot be read"):
        load_observations(tmp_path)


def test_runs_of_a_changed_scenario_are_refused(recorded):
    from virtsim.core.errors import SpecError

    scenario = recorded.runs[0].scenario
    with pytest.raises(SpecError, match="was recorded from another version"):
        recorded.of(scenario.replace(duration="1s"))
    with pytest.raises(SpecError, match="no run of this scenario was recorded"):
        recorded.of(scenario.replace(name="other"))
