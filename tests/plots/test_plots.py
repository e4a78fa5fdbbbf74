"""What is drawn, by its artists; and that drawing leaves the user's matplotlib alone."""

import subprocess
import sys

import matplotlib
import msgspec
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from virtsim.core.errors import SpecError
from virtsim.platform.host import load_host
from virtsim.platform.stack import load_stack
from virtsim.plots import plot_comparison, plot_costs, plot_latency, plot_sweep, plot_timeline, save_figure
from virtsim.plots.costs import role_of
from virtsim.plots.style import new_panels, plain_numbers
from virtsim.results.histogram import Histogram
from virtsim.results.run import GuestRecord, GuestTimeline, LatencyRecord, Run, Slice, TaskRecord, Throttle, Wakeup
from virtsim.results.runset import Entry, RunSet
from virtsim.scenario.guest import Guest
from virtsim.scenario.scenario import Scenario
from virtsim.workload.builders import spin

MS = 1_000_000


def make_run(world="model", share=0.5, latencies=(1000, 2000, 5000)):
    """Two guests that alternate on CPU 0 by milliseconds; one is throttled on CPU 1 at the end."""
    scenario = Scenario(name="pair", guests=[Guest(name=n, workload=spin()) for n in "ab"], duration="20ms")
    slices = [Slice(0, t * MS, (t + 1) * MS, "ab"[t % 2], "spin") for t in range(20)]
    histogram = Histogram()
    for value in latencies:
        histogram.add(value)
    return Run(
        world=world,
        scenario=scenario,
        seed=1,
        duration_ns=20 * MS,
        tasks=[TaskRecord(guest="a", task="spin", start_ns=0, cpu_time_ns=5)],
        guests=[
            GuestRecord(guest="a", cpu_time_ns=round(share * 20 * MS)),
            GuestRecord(guest="b", cpu_time_ns=10 * MS),
        ],
        latencies=[LatencyRecord(guest="a", task="spin", kind="request_latency", histogram=histogram)],
        slices=slices,
        wakeups=[Wakeup(3 * MS, 0, "a", "spin")],
        throttles=[Throttle(1, 15 * MS, 20 * MS, "b")],
    )


def bars(ax):
    """Extents (x0, x1, y0, y1) of all bars of a timeline."""
    paths = [path for c in ax.collections if isinstance(c, PolyCollection) for path in c.get_paths()]
    return [tuple(float(v) for v in (*path.get_extents().intervalx, *path.get_extents().intervaly)) for path in paths]


# -- timeline --------------------------------------------------------------------------------------


def test_a_timeline_has_a_panel_for_each_run_and_a_bar_for_each_slice(tmp_path):
    model, real = make_run(), make_run("real")
    axes = plot_timeline([model, real], path=tmp_path / "timeline.png")
    assert [ax.get_title(loc="left") for ax in axes] == ["model: pair", "real: pair"]
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["CPU 0", "CPU 1"]
    row = [bar for bar in bars(axes[0]) if bar[2] == pytest.approx(-0.36)]
    assert sorted(bar[:2] for bar in row) == [(float(t), float(t + 1)) for t in range(20)]
    assert axes[1].get_xlabel() == "time since the start (ms)"
    assert (tmp_path / "timeline.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_throttling_is_hatched_over_its_cpu():
    ax = plot_timeline(make_run())[0]
    (mark,) = [bar for bar in bars(ax) if bar[3] - bar[2] < 0.2]
    assert mark[:2] == (15.0, 20.0)
    assert 0.4 < mark[2] < 0.6
    legend = [text.get_text() for text in ax.figure.legends[0].get_texts()]
    assert legend == ["a/spin", "b/spin", "throttled", "wake-up"]


def test_the_same_task_has_the_same_colour_in_both_worlds():
    axes = plot_timeline([make_run(), make_run("real")])
    left, right = ([tuple(c.get_facecolor()[0]) for c in ax.collections] for ax in axes)
    assert left == right
    assert len(set(left)) == 3


def test_virtual_cpus_have_rows_of_their_own_pale_while_they_had_no_cpu():
    """A guest's task keeps its virtual CPU for 8 ms, which has CPU 0 in two turns of 2 ms."""
    run = make_run()
    run.slices = [Slice(0, t * MS, (t + 2) * MS, "a", "vcpu0", "R") for t in (0, 4)]
    run.wakeups, run.throttles = [], []
    run.guest_timelines = [
        GuestTimeline(
            guest="a",
            vcpus=["vcpu0"],
            slices=[Slice(0, 0, 8 * MS, "a", "job", "S")],
            wakeups=[Wakeup(0, 0, "a", "job")],
        )
    ]
    ax = plot_timeline(run)[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["CPU 0", "a/vcpu0"]
    rows = {row: sorted(bar[:2] for bar in bars(ax) if bar[2] == pytest.approx(row - 0.36)) for row in (0, 1)}
    assert rows == {0: [(0.0, 2.0), (4.0, 6.0)], 1: [(0.0, 8.0), (2.0, 4.0), (6.0, 8.0)]}
    legend = [text.get_text() for text in ax.figure.legends[0].get_texts()]
    assert legend == ["a/job", "a/vcpu0", "stolen (pale)", "wake-up"]


def test_a_window_cuts_and_chooses_its_unit():
    ax = plot_timeline(make_run(), window=("100us", 1_900_000))[0]
    assert ax.get_xlim() == (100.0, 1900.0)
    assert ax.get_xlabel() == "time since the start (µs)"


@pytest.mark.parametrize("window", [("2ms", "1ms"), (0, 0), ("-1ms", "1ms"), ("1ms",), (None, 1)])
def test_a_window_that_is_none_is_refused(window):
    with pytest.raises(SpecError, match="window: "):
        plot_timeline(make_run(), window=window)


def test_runs_without_a_timeline_are_refused():
    with pytest.raises(SpecError, match="timeline=True"):
        plot_timeline(msgspec.structs.replace(make_run(), slices=[]))


def test_many_wakeups_and_tasks_are_not_all_drawn():
    run = make_run()
    run.wakeups = [Wakeup(i, 0, "a", "spin") for i in range(1000)]
    run.slices = [Slice(0, i * MS, (i + 1) * MS, "a", f"t{i}") for i in range(20)]
    ax = plot_timeline(run)[0]
    legend = [text.get_text() for text in ax.figure.legends[0].get_texts()]
    assert legend[-2:] == ["and 6 more", "throttled"]
    assert not ax.lines


def test_slices_that_are_too_many_become_columns_of_the_busiest_task():
    run = make_run()
    run.duration_ns = 20 * MS
    # Half of the time a and b alternate 3:1 by microseconds, then b alone.
    run.slices = [Slice(0, t * 1000 + (750 if b else 0), (t + 1) * 1000 - (0 if b else 250), "ab"[b], "spin")
                  for t in range(10_000) for b in (0, 1)]  # fmt: skip
    run.slices += [Slice(0, (10_000 + t) * 1000, (10_001 + t) * 1000, "b", "spin") for t in range(10_000)]
    run.throttles = []
    (left, right) = sorted(bars(plot_timeline(run)[0]))
    assert left[:2] == (0.0, 10.0)
    assert right[:2] == (10.0, 20.0)


# -- sweep -----------------------------------------------------------------------------------------


def make_set(levels, others=(None,)):
    entries = [
        Entry(
            {"guests.a.cpu_weight": level} | ({"stack": other} if other else {}), r, make_run(share=0.1 * i + 0.01 * r)
        )
        for i, level in enumerate(levels, start=1)
        for other in others
        for r in range(4)
    ]
    return RunSet(entries)


def test_a_sweep_over_numbers_is_a_line_with_intervals():
    runs = make_set([100, 200, 300])
    ax = runs.plot("cpu_time", "a")
    (container,) = ax.containers
    line, _, (bar,) = container
    assert list(line.get_xdata()) == [100, 200, 300]
    means = [row.interval.mean / MS for row in runs.summary_rows("cpu_time") if row.entity == "a"]
    assert list(line.get_ydata()) == pytest.approx(means)
    half = [row.interval.half_width / MS for row in runs.summary_rows("cpu_time") if row.entity == "a"]
    drawn = [(segment[1][1] - segment[0][1]) / 2 for segment in bar.get_segments()]
    assert drawn == pytest.approx(half)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("guests.a.cpu_weight", "cpu_time (ms)")


def test_a_sweep_over_names_has_points_side_by_side():
    ax = plot_sweep(make_set(["x", "y"], ["native", "container"]), "cpu_time", "a")
    assert [label.get_text() for label in ax.get_xticklabels()] == ["x", "y"]
    first, second = (container[0] for container in ax.containers)
    assert list(first.get_xdata()) == [-0.2, 0.8]
    assert list(second.get_xdata()) == [0.2, 1.2]
    assert [text.get_text() for text in ax.figure.legends[0].get_texts()] == ["stack=native", "stack=container"]


def test_a_wide_range_is_drawn_on_a_logarithmic_axis():
    assert make_set([1, 10, 100]).plot("cpu_time").get_xscale() == "log"
    assert make_set([1, 2, 3]).plot("cpu_time").get_xscale() == "linear"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metric": "cpu"}, "metric: no run has 'cpu'"),
        ({"metric": "cpu_time", "entity": "z"}, "entity: no run has cpu_time of 'z'; there are: a, a/spin, b"),
        ({"metric": "cpu_time", "x": "z"}, "x: the runs have no factor 'z'; they have: guests.a.cpu_weight"),
    ],
)
def test_what_a_sweep_does_not_have_is_said(arguments, message):
    with pytest.raises(SpecError) as caught:
        plot_sweep(make_set([1, 2]), **arguments)
    assert message in str(caught.value)


def test_replications_alone_are_no_sweep():
    with pytest.raises(SpecError, match="differ in no factor"):
        RunSet([Entry({}, 0, make_run())]).plot("cpu_time")


# -- latency ---------------------------------------------------------------------------------------


def test_a_distribution_rises_where_the_values_are():
    ax = plot_latency([make_run(), make_run("real", latencies=[3000])])
    model, real = ax.lines
    assert list(model.get_ydata()) == pytest.approx([0, 1 / 3, 2 / 3, 1])
    # Above 128 ns a bucket is at most 1/128 wide, and the last value is exact.
    assert list(model.get_xdata()) == pytest.approx([1.0, 1.0, 2.0, 5.0], rel=1 / 128)
    assert model.get_xdata()[-1] == 5.0
    assert (model.get_linestyle(), real.get_linestyle()) == ("-", "--")
    assert model.get_color() == real.get_color()
    assert model.get_label() == "model: a/spin (n = 3)"


def test_runs_of_one_world_are_pooled_and_the_tail_is_the_rest():
    (line,) = plot_latency([make_run(), make_run(latencies=[9000])], tail=True).lines
    assert list(line.get_ydata()) == pytest.approx([1, 3 / 4, 2 / 4, 1 / 4, 0])
    assert line.get_label().endswith("(n = 4)")


def test_an_unknown_latency_is_refused_with_those_there_are():
    with pytest.raises(SpecError, match="kind: no run has wakeup_latency of b; there are: request_latency of a/spin"):
        plot_latency(make_run(), "wakeup_latency", entity="b")


# -- comparison ------------------------------------------------------------------------------------


class Row:
    scenario, metric, verdict = "s", "cpu_time", "FAILED"
    model, real, model_low, model_high, real_spread, margin = 120.0, 100.0, 115.0, 125.0, 0.02, 0.1


def test_a_comparison_is_relative_to_the_kernel():
    passed = {"entity": "a", "metric": "m", "model": 1.0, "real": 2.0, "verdict": "PASSED"}
    ax = plot_comparison([Row(), passed, {"metric": "m", "model": 1, "real": 0}, {"metric": "m", "model": 1}])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["s · cpu_time", "a · m"]
    points = [
        tuple(map(float, (line.get_xdata()[0], line.get_ydata()[0]))) for line in ax.lines if line.get_marker() == "o"
    ]
    assert points == [(1.2, 0.0), (0.5, 1.0)]
    (band,) = ax.patches
    assert (band.get_x(), band.get_width()) == (pytest.approx(0.98), pytest.approx(0.04))
    assert "2 without a ratio left out" in ax.get_title(loc="left")
    legend = [text.get_text() for text in ax.figure.legends[0].get_texts()]
    assert legend[2:] == ["PASSED (1)", "FAILED (1)"]


def test_nothing_to_compare_is_refused():
    with pytest.raises(SpecError, match="rows: none has"):
        plot_comparison([{"metric": "m", "model": None, "real": 1.0}])


# -- costs -----------------------------------------------------------------------------------------


def explain(*stacks, event="cpuid"):
    host = load_host("xeon-8269cy-linux-4.19")
    return {name: load_stack(name).explain(event, host) for name in stacks}


def test_costs_are_bars_of_what_each_layer_spends():
    shown = explain("native", "kvm")
    ax = plot_costs(shown)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["native", "kvm"]
    native, *kvm = ax.patches
    assert native.get_width() == pytest.approx(40.0)
    assert sorted(bar.get_width() for bar in kvm) == pytest.approx(sorted(r.cost_ns for r in shown["kvm"].spent()))
    assert max(bar.get_x() + bar.get_width() for bar in kvm) == pytest.approx(sum(b.get_width() for b in kvm))
    assert len({bar.get_facecolor() for bar in kvm}) == len(kvm), "a tint for each primitive"
    assert [text.get_text() for text in ax.figure.legends[0].get_texts()] == ["hardware", "monitor"]
    assert ax.get_xlabel() == "cost (ns)"


def test_bars_beyond_the_limit_are_cut_and_say_so():
    ax = plot_costs(explain("kvm", "kvm-nested"), limit_ns=1000)
    assert max(bar.get_x() + bar.get_width() for bar in ax.patches) == pytest.approx(1000)
    assert any(text.get_text().startswith(" → 7.") for text in ax.texts)


@pytest.mark.parametrize(
    ("stack", "roles"),
    [
        ("native", ["hardware", "kernel"]),
        ("container", ["hardware", "kernel", "filter"]),
        ("hosted-bt", ["hardware", "host kernel", "host process", "monitor", "device path", "guest kernel"]),
        (
            "kvm-nested",
            ["hardware", "host kernel", "outer monitor", "host kernel", "monitor", "device path", "guest kernel"],
        ),
    ],
)
def test_each_layer_has_its_role(stack, roles):
    stack = load_stack(stack)
    assert [role_of(stack, level) for level in range(len(stack.kinds))] == roles


def test_costs_without_prices_are_refused():
    with pytest.raises(SpecError, match="there are none"):
        plot_costs({})
    with pytest.raises(SpecError, match="has no prices"):
        plot_costs({"a": load_stack("native").explain("cpuid")})


# -- style -----------------------------------------------------------------------------------------


def test_ticks_of_logarithmic_axes_are_plain_numbers():
    ax, other = new_panels(1, 2, 6, 3, sharey=True)
    for each in (ax, other):
        each.set_xscale("log")
        each.set_yscale("log")
    plain_numbers(ax, "xy")
    for axis in (ax.xaxis, ax.yaxis):
        assert [axis.get_major_formatter()(v) for v in (0.01, 1, 1000, 2e4, 5e6)] == ["0.01", "1", "1000", "20k", "5M"]
    assert other.get_shared_y_axes().joined(ax, other)


# -- manners ---------------------------------------------------------------------------------------


def test_the_users_axes_and_settings_are_used_and_left_alone(tmp_path):
    before = dict(matplotlib.rcParams)
    figure = Figure()
    ax = figure.add_subplot()
    assert plot_latency(make_run(), ax=ax) is ax
    assert make_set([1, 2]).plot("cpu_time", ax=ax) is ax
    assert plot_comparison([Row()], ax=ax) is ax
    plot_timeline(make_run(), path=tmp_path / "x.png")
    assert dict(matplotlib.rcParams) == before


def test_the_same_figure_is_the_same_file(tmp_path):
    for name in ("a.png", "b.png"):
        save_figure(make_set([1, 2]).plot("cpu_time"), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_importing_the_room_does_not_import_matplotlib():
    code = "import sys, virtsim.plots; sys.exit('matplotlib' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
