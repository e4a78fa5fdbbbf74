import math

import pytest

from virtsim.core.errors import SpecError
from virtsim.results.runset import Entry, RunSet


@pytest.fixture(scope="module")
def runs(make_run):
    return RunSet(
        [
            Entry({"weight": weight, "stack": stack}, r, make_run(7, r, weights=(weight, 300), factor=factor))
            for weight in (100, 300)
            for stack, factor in (("native", 1.0), ("container", 0.98))
            for r in range(5)
        ],
        {"seed": 7},
    )


def test_it_is_a_sequence_of_runs(runs):
    assert len(runs) == 20
    assert runs[3] is list(runs)[3]
    assert runs.factors == ["weight", "stack"]
    assert runs.points == [
        {"weight": weight, "stack": stack} for weight in (100, 300) for stack in ("native", "container")
    ]
    assert "20 runs at 4 points of weight, stack" in repr(runs)


def test_the_summary_has_mean_interval_and_n(runs):
    frame = runs.summary("cpu_time")
    assert list(frame.columns) == ["weight", "stack", "entity", "metric", "unit", "mean", "low", "high", "n", "runs"]
    row = frame[(frame.weight == 100) & (frame["stack"] == "native") & (frame.entity == "a")].iloc[0]
    assert row["mean"] == pytest.approx(10e6, rel=0.01)
    assert row.low < row["mean"] < row.high
    assert (row.n, row.runs, row.unit) == (5, 5, "ns")
    with pytest.raises(SpecError, match=r"^metric: no run has .cpu_tim.; there are: .*cpu_time"):
        runs.summary("cpu_tim")


def test_to_frame_is_tidy(runs):
    frame = runs.to_frame()
    assert list(frame.columns) == [
        "weight", "stack", "replication", "seed", "world", "entity", "metric", "unit", "value"
    ]  # fmt: skip
    assert len(frame) == sum(len(run.metrics()) for run in runs)
    cell = frame[(frame.weight == 300) & (frame["stack"] == "native") & (frame.replication == 2)]
    assert cell[(cell.entity == "b") & (cell.metric == "cpu_time")].value.iloc[0] == runs[12].value("b", "cpu_time")


def test_comparison_is_paired_by_replication(runs):
    """The noise is common, so a change by exactly 2 % shows with a far smaller interval than the noise."""
    rows = runs.compare_rows("cpu_time", {"stack": "native"}, entity="a")
    assert [row.factors for row in rows] == [{"weight": w, "stack": "container"} for w in (100, 300)]
    for row in rows:
        assert row.ratio == pytest.approx(0.98, rel=1e-6)
        assert row.difference.significant
        assert row.difference.correlation > 0.999
    frame = runs.compare("cpu_time", {"stack": "native", "weight": 100})
    assert len(frame) == 3 * 4
    assert set(frame.columns) >= {"baseline", "difference", "low", "high", "ratio", "significant", "n"}


def test_a_missing_replication_is_left_out_of_the_pairs(runs):
    holed = RunSet([entry for entry in runs.entries if (entry.factors["stack"], entry.replication) != ("native", 2)])
    rows = holed.compare_rows("cpu_time", {"stack": "native"}, entity="a")
    assert [row.difference.interval.n for row in rows] == [4, 4]


@pytest.mark.parametrize(
    ("baseline", "entity", "message"),
    [
        ({"stak": "native"}, None, "stak: the runs have no such factor; they have: weight, stack"),
        ({"stack": "kvm"}, None, "stack: no run has the level 'kvm'; there are: 'native', 'container'"),
        ({"stack": "native"}, "c", "entity: no run has cpu_time of 'c'; there are: a, a/spin, b, b/spin"),
    ],
)
def test_unknown_baselines_are_one_line_errors(runs, baseline, entity, message):
    with pytest.raises(SpecError) as caught:
        runs.compare("cpu_time", baseline, entity)
    assert str(caught.value) == message


def test_select_and_values(runs):
    chosen = runs.select({"weight": 300, "stack": "container"})
    assert len(chosen) == 5
    assert chosen.values("a", "cpu_time") == [run.value("a", "cpu_time") for run in chosen]
    assert chosen.values("a", "throttled_periods") == []


def test_saving_and_loading_is_exact(runs, tmp_path):
    runs.save(tmp_path / "new" / "folder")
    back = RunSet.load(tmp_path / "new" / "folder")
    assert back.digest == runs.digest
    assert back.manifest == {"seed": 7}
    assert [entry.factors for entry in back.entries] == [entry.factors for entry in runs.entries]
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == ["runs.jsonl.gz", "runset.json"]


@pytest.mark.parametrize("damage", ["missing", "not json", "lost runs"])
def test_a_damaged_set_is_refused(make_run, tmp_path, damage):
    RunSet([Entry({}, r, make_run(1, r)) for r in range(2)]).save(tmp_path)
    index = tmp_path / "runset.json"
    if damage == "missing":
        index.unlink()
    elif damage == "not json":
        index.write_text("{")
    else:
        index.write_text(index.read_text().replace("0,", "0, 1,").replace("{},", "{}, {},"))
    with pytest.raises(SpecError, match=r"runset\.json"):
        RunSet.load(tmp_path)


def test_html_is_escaped_and_bounded(make_run):
    runs = RunSet([Entry({"<b>": f"<i>{i}"}, 0, make_run(1, i)) for i in range(30)])
    text = runs._repr_html_()
    assert "&lt;i&gt;3" in text
    assert "<i>" not in text
    assert "more rows in summary()" in text
    assert "one run" in text


def test_an_empty_set_is_no_error():
    empty = RunSet([])
    assert (len(empty), empty.points, empty.summary_rows()) == (0, [], [])
    assert "no factor" in empty._repr_html_()


def test_the_ratio_to_nothing(make_run):
    run = make_run(1)
    for record in run.tasks:
        record.voluntary_switches = 0
    other = make_run(1)
    other.tasks[0].voluntary_switches = 4
    runs = RunSet([Entry({"x": 0}, 0, run), Entry({"x": 1}, 0, other)])
    ratios = {row.entity: row.ratio for row in runs.compare_rows("voluntary_switches", {"x": 0})}
    assert ratios == {"a/spin": math.inf, "b/spin": 1.0}
