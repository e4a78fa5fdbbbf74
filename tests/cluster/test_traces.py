"""Readers and the generator of traces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from virtsim.cluster import ClusterScenario, HostGroup, Policy, simulate_cluster
from virtsim.cluster.scenario import Demand
from virtsim.cluster.traces import Traces, fit_synthetic, planetlab_days, read_gwa, read_planetlab, read_table
from virtsim.cluster.traces.synthetic import load_synthetic
from virtsim.core.errors import SpecError
from virtsim.core.units import NS_PER_S

DATA = Path(__file__).parent.parent.parent / "data" / "planetlab.npz"
STEP = 300 * NS_PER_S
needs_data = pytest.mark.skipif(not DATA.is_file(), reason="the traces are data beside the package, not in it")


@needs_data
def test_planetlab_has_ten_days() -> None:
    days = planetlab_days(DATA)
    assert len(days) == 10
    sizes = [len(read_planetlab(DATA, day).guests) for day in days]
    assert sum(sizes) == 11746
    day = read_planetlab(DATA, "20110303")
    assert day.use.shape == (1052, 288)
    assert day.use.max() == 0.99
    assert f"{day.use.mean():.4f}" == "0.1231"


@pytest.mark.parametrize(
    ("sample", "said"), [(float("nan"), "not a number"), (1.01, "101 %"), (-0.01, "-1 %"), (float("inf"), "inf %")]
)
def test_bad_samples_name_guest_and_sample(sample: float, said: str) -> None:
    use = np.full((3, 4), 0.5)
    use[1, 2] = sample
    with pytest.raises(SpecError, match=rf"traces\['b'\]: CPU use in sample 2 is {said}; it must lie between"):
        Traces("t", ["a", "b", "c"], use, STEP)


def test_planetlab_refuses_more_than_100_percent(tmp_path: Path) -> None:
    bad = np.full((2, 288), 50)
    bad[1, 7] = 120
    np.savez(tmp_path / "t.npz", u20110101=bad)
    with pytest.raises(SpecError, match="sample 7 is 120 %"):
        read_planetlab(tmp_path / "t.npz", "20110101")
    with pytest.raises(SpecError, match="no day '1'; days in it: 20110101"):
        read_planetlab(tmp_path / "t.npz", "1")


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04rubbish"])
def test_broken_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.npz").write_bytes(content)
    with pytest.raises(SpecError, match=r"t\.npz"):
        read_planetlab(tmp_path / "t.npz", "20110101")
    with pytest.raises(SpecError, match="cannot be read"):
        read_planetlab(tmp_path / "missing.npz", "20110101")


def test_names_must_differ() -> None:
    with pytest.raises(SpecError, match="two guests are called 'a'"):
        Traces("t", ["a", "a"], np.zeros((2, 3)), STEP)


GWA_HEAD = (
    "Timestamp [ms];\tCPU cores;\tCPU capacity provisioned [MHZ];\tCPU usage [MHZ];\tCPU usage [%];\t"
    "Memory capacity provisioned [KB];\tMemory usage [KB];\tDisk read throughput [KB/s];\t"
    "Disk write throughput [KB/s];\tNetwork received throughput [KB/s];\tNetwork transmitted throughput [KB/s]"
)


def _gwa(path: Path, rows: list[tuple[float, int, float, int, int]]) -> None:
    lines = [
        f"{time};\t{cores};\t5851.99;\t100.0;\t{percent};\t{memory};\t{used};\t0.0;\t1.0;\t2.0;\t3.0"
        for time, cores, percent, memory, used in rows
    ]
    path.write_text("\n".join([GWA_HEAD, *lines]) + "\n")


def test_gwa_folder(tmp_path: Path) -> None:
    _gwa(tmp_path / "1.csv", [(1000, 2, 10.0, 4096, 1024), (1300, 2, 20.0, 4096, 2048), (1600, 2, 30.0, 4096, 4096)])
    _gwa(tmp_path / "2.csv", [(1300, 4, 101.5, 8192, 0), (1600, 4, 5.0, 8192, 8192)])
    traces = read_gwa(tmp_path)
    assert traces.guests == ["1", "2"]
    assert traces.use.tolist() == [[0.1, 0.2, 0.3], [0.0, 1.0, 0.05]]
    assert traces.cores.tolist() == [2, 4]
    assert traces.memory_bytes.tolist() == [4096 * 1024, 8192 * 1024]
    assert traces.memory_use is not None
    assert traces.memory_use[0].tolist() == [0.25, 0.5, 1.0]
    assert traces.start_ns.tolist() == [0, STEP]


def test_gwa_errors_name_the_line(tmp_path: Path) -> None:
    _gwa(tmp_path / "1.csv", [(1000, 2, 10.0, 4096, 1024), (1300, 2, 250.0, 4096, 2048)])
    with pytest.raises(SpecError, match=r"1\.csv line 3: CPU usage of 250 %"):
        read_gwa(tmp_path)
    (tmp_path / "1.csv").write_text("a;b\n1;2\n")
    with pytest.raises(SpecError, match="no column 'Timestamp'"):
        read_gwa(tmp_path)


def test_table(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,start,end,cores,ram_gib,utilisation\na,0,600,2,4,50\nb,300,900,1,0.5,10\n")
    traces = read_table(tmp_path / "t.csv")
    assert traces.use.tolist() == [[0.5, 0.5, 0.0], [0.0, 0.1, 0.1]]
    assert traces.start_ns.tolist() == [0, STEP]
    assert traces.end_ns.tolist() == [2 * STEP, 3 * STEP]
    assert traces.memory_bytes.tolist() == [4 << 30, 1 << 29]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a,0,0,1,1,5", "ends at 0 s, not after its start"),
        ("a,0,9,1,1,nan", "out of range"),
        ("a,0,9,1,1,101", "out of range"),
        ("a,0,9,x,1,5", "'cores' is not a number"),
    ],
)
def test_table_errors_name_the_line(tmp_path: Path, row: str, said: str) -> None:
    (tmp_path / "t.csv").write_text(f"id,start,end,cores,ram_gib,utilisation\n{row}\n")
    with pytest.raises(SpecError, match=f"line 2: .*{said}"):
        read_table(tmp_path / "t.csv")


def test_a_guest_is_the_same_whoever_else_there_is() -> None:
    generator = load_synthetic()
    few, many = generator.generate(3, seed=5), generator.generate(6, seed=5)
    assert (few.use == many.use[:3]).all()
    assert (generator.generate(3, seed=6).use != few.use).any()


@needs_data
def test_the_generator_has_the_statistics_of_the_days() -> None:
    """Pooled over ten days against 1,500 generated guests: moments within the spread of single days.

    The days' means lie between 9.3 and 12.4 %, their standard deviations between 12.8 and 17.1 %; a generator
    outside that is not one of them.
    """
    days = [read_planetlab(DATA, day) for day in planetlab_days(DATA)]
    generated = load_synthetic().generate(1500, seed=11).use
    for name, statistic in (
        ("mean", np.mean),
        ("deviation", np.std),
        ("zeros", lambda use: (use == 0).mean()),
        ("between guests", lambda use: use.mean(axis=1).std()),
        ("autocorrelation, 5 min", lambda use: _autocorrelation(use, 1)),
        ("autocorrelation, 1 h", lambda use: _autocorrelation(use, 12)),
    ):
        real = [float(statistic(day.use)) for day in days]
        value = float(statistic(generated))
        spread = max(real) - min(real)
        print(f"{name}: days {min(real):.4f} to {max(real):.4f}, generated {value:.4f}")
        assert min(real) - spread / 2 <= value <= max(real) + spread / 2, name


def _autocorrelation(use: np.ndarray, lag: int) -> float:
    rest = use - use.mean(axis=1, keepdims=True)
    return float((rest[:, lag:] * rest[:, :-lag]).mean() / rest.var())


def test_fitting_what_was_generated_gives_it_back() -> None:
    generator = load_synthetic()
    fitted = fit_synthetic([generator.generate(1500, seed=3)], "itself")
    assert fitted.level_variance == pytest.approx(generator.level_variance, abs=0.06)
    assert fitted.slow_variance == pytest.approx(generator.slow_variance, abs=0.06)
    assert np.abs(np.array(fitted.quantiles) - generator.quantiles).max() < 0.06


def test_guests_have_the_size_that_a_table_says(tmp_path: Path) -> None:
    """A host of 4 cores and 8 GiB has room for one of 6 GiB and one of half a core, not for a second of 6 GiB."""
    file = tmp_path / "t.csv"
    file.write_text("vmid,start,end,cores,mem,utilisation\na,0,600,2,6,50\nb,0,600,0.5,1,100\nc,0,600,1,6,50\n")
    scenario = ClusterScenario(
        hosts=[HostGroup(name="h", cores=4, core_mips=1000, memory="8GiB", power="hp-proliant-ml110-g4")],
        policy=Policy(placement="first-fit", consolidation="none"),
        demand=Demand(file=str(file), format="table", columns={"id": "vmid", "memory": "mem"}),
        interval="300s",
    )
    run = simulate_cluster(scenario)
    assert run.value("unplaced") == 1
    assert run.series["requested"] == [2 * 1000 * 0.5 + 0.5 * 1000 * 1.0]
    with pytest.raises(SpecError, match="there is no column 'id'; say with columns what it is called here"):
        simulate_cluster(scenario.replace(demand=Demand(file=str(file), format="table")))
    file.write_text("vmid,start,end,cores,mem,utilisation\na,0,600,2,6,50\nb,0,600,2,0,50\n")
    with pytest.raises(SpecError, match=r"traces\['b'\]: has no memory, and others have"):
        simulate_cluster(scenario)
    file.write_text("vmid,start,end,cores,mem,utilisation\nbig,0,600,2,9,50\n")
    with pytest.raises(SpecError, match=r"guests\['big'\]: is larger than every host"):
        simulate_cluster(scenario)
