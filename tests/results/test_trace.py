"""The trace file, read back as a viewer would."""

import gzip
import json

import pytest

from virtsim.results.trace import save_trace


@pytest.fixture(scope="module")
def both(make_run):
    return [make_run(7, world="model"), make_run(7, 1, world="real")]


@pytest.fixture(scope="module")
def events(both, tmp_path_factory):
    path = tmp_path_factory.mktemp("trace") / "both.json"
    save_trace(path, both)
    assert [entry.name for entry in path.parent.iterdir()] == ["both.json"]
    return json.loads(path.read_text())["traceEvents"]


def test_each_world_is_a_process(events):
    names = {event["pid"]: event["args"]["name"] for event in events if event["name"] == "process_name"}
    assert names == {1: "model: shares (seed 7)", 2: "real: shares (seed 7)"}


def test_the_slices_on_a_cpu_are_the_runs_own(both, events):
    track = next(e for e in events if e["name"] == "thread_name" and e["args"]["name"] == "CPU 0" and e["pid"] == 1)
    mine = [e for e in events if e["ph"] == "X" and (e["pid"], e["tid"]) == (1, track["tid"])]
    got = [(e["name"], round(e["ts"] * 1000), round((e["ts"] + e["dur"]) * 1000)) for e in mine]
    assert got == [(f"{s.guest}/{s.task}", s.start_ns, s.end_ns) for s in both[0].slices]


def test_every_event_is_complete(events):
    needed = {
        "X": {"ts", "dur", "pid", "tid", "name"},
        "i": {"ts", "s", "pid", "tid", "name"},
        "C": {"ts", "pid", "name", "args"},
        "b": {"ts", "id", "cat", "pid", "tid", "name"},
        "n": {"ts", "id", "cat", "pid", "tid", "name"},
        "e": {"ts", "id", "cat", "pid", "tid", "name"},
        "M": {"pid", "name", "args"},
    }
    assert {event["ph"] for event in events} == set(needed)
    for event in events:
        assert needed[event["ph"]] <= set(event)
        assert event.get("dur", 0) >= 0


def test_wakeups_show_the_wait_until_the_task_runs(both, events):
    assert any(e["ph"] == "i" and e["name"] == "wakeup" and e["ts"] == 0 for e in events if e["pid"] == 1)
    runnable = next(e for e in events if e["name"] == "runnable" and e["pid"] == 1)
    first = next(s for s in both[0].slices if s.guest == "b")
    assert (runnable["ts"], round(runnable["dur"] * 1000)) == (0.0, first.start_ns)


def test_overlapping_requests_have_spans_of_their_own(events):
    spans = {}
    for event in events:
        if event.get("cat") == "request" and event["pid"] == 1:
            spans.setdefault(event["id"], {})[event["ph"]] = round(event["ts"] * 1000)
    assert list(spans.values()) == [{"b": 1_000, "n": 2_500, "e": 7_001}, {"b": 5_000, "n": 7_001, "e": 9_000}]


def test_throttling_is_a_counter_that_returns_to_zero(events):
    counter = [(e["ts"], e["args"]["cpus"]) for e in events if e["ph"] == "C" and e["pid"] == 2]
    assert counter == [(39_000.0, 1), (40_000.0, 0)]


def test_the_run_saves_its_own_trace_gzipped(both, tmp_path):
    both[0].save_trace(tmp_path / "run.json.gz")
    assert json.loads(gzip.decompress((tmp_path / "run.json.gz").read_bytes()))["displayTimeUnit"] == "ns"


def test_a_failed_write_leaves_nothing(both, tmp_path):
    with pytest.raises(FileNotFoundError):
        save_trace(tmp_path / "nowhere" / "run.json", both)
    assert list(tmp_path.iterdir()) == []
