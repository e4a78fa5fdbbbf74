"""Cases of an experiment: kept when they are finished, made on many processes, never taken for others."""

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.experiment.made import write_experiment
from virtsim.core.errors import SpecError
from virtsim.experiment import cases as cases_module
from virtsim.experiment import progress
from virtsim.experiment.cases import FINISHED, Script
from virtsim.experiment.code import code_digest, files_digest
from virtsim.experiment.folder import finished_cases, run_experiment
from virtsim.experiment.lock import RUNNING, held

TOML = 'title = "Powers"\nclaim = "They grow."\n[full]\nn = 6\n'
#: Each case notes that it is made; the one called STOP is interrupted as long as there is a file ``stop``.
RUN = """
from pathlib import Path

HERE = Path(__file__).parent
STOP = 3


def run(context):
    cases = [{"base": k / 7, "number": k, "seed": context.seed} for k in range(context.parameters["n"])]
    found = context.cases(power, cases + cases[:1], "powers", inputs=[HERE / "factor.txt"])
    (context.folder / "table.txt").write_text(repr(found))
    for k, row in enumerate(found):
        context.record(f"power {k}", row["power"])


def power(base, number, seed):
    if number == STOP and (HERE / "stop").exists():
        raise KeyboardInterrupt
    with (HERE / f"made-{number}").open("a") as note:
        note.write("x")
    factor = float((HERE / "factor.txt").read_text())
    return {"power": factor * base**seed, "whole": 3**seed * number, "pair": (number, None)}
"""


@pytest.fixture
def folder(tmp_path):
    folder = write_experiment(tmp_path / "experiments" / "07-powers", TOML, RUN, {})
    (folder / "factor.txt").write_text("0.1")
    return folder


@pytest.fixture
def run(folder, tmp_path):
    def run(seed=7, workers=1, out="out", **options):
        return run_experiment(folder, seed=seed, workers=workers, out=tmp_path / out, **options)

    return run


@pytest.fixture
def interrupted(folder, run, tmp_path):
    """A run that was interrupted in its fourth case of six."""
    (folder / "stop").touch()
    with pytest.raises(KeyboardInterrupt):
        run()
    (folder / "stop").unlink()
    assert finished_cases(folder, tmp_path / "out") == (tmp_path / "out" / FINISHED, 3)


def made(folder):
    """How often each case was made."""
    return [len((folder / f"made-{k}").read_text()) if (folder / f"made-{k}").exists() else 0 for k in range(6)]


def test_results_are_in_order_and_equal_cases_are_made_once(folder, run):
    outcome = run(seed=5)
    assert outcome.results == {f"power {k}": 0.1 * (k % 6 / 7) ** 5 for k in range(7)}
    assert (outcome.cases, outcome.kept) == (6, 0)
    assert made(folder) == [1] * 6


def test_processes_give_what_one_gives_to_the_last_bit(run, tmp_path):
    run(out="one")
    run(out="two", workers=2)
    for name in ("results.json", "table.txt"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_run_goes_on_with_what_is_missing(folder, run, interrupted, tmp_path, workers):
    outcome = run(workers=workers)
    assert made(folder) == [1] * 6
    assert (outcome.cases, outcome.kept) == (6, 3)
    run(out="whole")
    for name in ("results.json", "table.txt"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["cases"] == {"all": 6, "finished": 6, "kept_from_an_earlier_run": 3}


def test_what_has_come_to_its_end_is_not_made_again_unless_asked_for(folder, run, tmp_path):
    first = run()
    assert finished_cases(folder, tmp_path / "out")[1] == 6
    again = run()
    assert (again.kept, again.cases) == (6, 6)
    assert again.results == first.results
    assert made(folder) == [1] * 6
    assert run(fresh=True).kept == 0
    assert made(folder) == [2] * 6


def test_what_other_code_or_seeds_have_left_goes_when_a_run_comes_to_its_end(interrupted, run, tmp_path):
    run(seed=8)
    assert len(list((tmp_path / "out" / FINISHED).iterdir())) == 6
    assert run(seed=8).kept == 6
    assert run(seed=7).kept == 0


def test_a_folder_belongs_to_one_run_at_a_time(folder, run, tmp_path):
    (tmp_path / "out").mkdir()
    with held(tmp_path / "out"):
        with pytest.raises(SpecError, match=rf"out is in use by another run, process {os.getpid()}; wait for its end"):
            run()
        assert made(folder) == [0] * 6
        run(out="other")
    run()
    assert not (tmp_path / "out" / RUNNING).exists()


def test_a_folder_is_free_when_its_run_was_killed(folder, run, tmp_path):
    (tmp_path / "out").mkdir()
    code = (
        "import os, signal, sys; from pathlib import Path; from virtsim.experiment.lock import held\n"
        "with held(Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code, tmp_path / "out"], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "out" / RUNNING).read_text().strip().isdigit()
    run()
    assert made(folder) == [1] * 6


@pytest.mark.parametrize("what", ["script", "input", "seed", "code", "card"])
def test_another_code_input_or_seed_starts_anew(folder, run, interrupted, tmp_path, monkeypatch, what):
    if what == "script":
        (folder / "run.py").write_text(RUN + "\n")
    elif what == "input":
        (folder / "factor.txt").write_text("0.2")
    elif what == "code":
        monkeypatch.setattr(cases_module, "code_digest", lambda: "other code")
    elif what == "card":
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
        (tmp_path / "virtsim" / "hosts").mkdir(parents=True)
        (tmp_path / "virtsim" / "hosts" / "this.toml").touch()
    outcome = run(seed=8 if what == "seed" else 7)
    assert outcome.kept == 0
    assert made(folder) == [2, 2, 2, 1, 1, 1]


def test_what_other_code_has_left_is_not_counted_as_finished(folder, interrupted, run, tmp_path):
    (folder / "run.py").write_text(RUN + "\n")
    (folder / "stop").touch()
    with pytest.raises(KeyboardInterrupt):
        run()
    assert len(list((tmp_path / "out" / FINISHED).glob("*.json"))) == 6
    assert finished_cases(folder, tmp_path / "out")[1] == 3


def test_a_damaged_case_is_made_again(folder, run, interrupted, tmp_path):
    one, other, _ = sorted((tmp_path / "out" / FINISHED).iterdir())
    one.write_bytes(one.read_bytes()[:-1])
    other.write_bytes(b"")
    assert run().kept == 1
    assert sorted(made(folder)) == [1, 1, 1, 1, 2, 2]


def test_an_error_says_in_which_case_and_what_was_finished_stays(folder, run, tmp_path):
    text = RUN.replace(
        "raise KeyboardInterrupt", "from virtsim.core.errors import SpecError; raise SpecError('a', 'bad')"
    )
    (folder / "run.py").write_text(text)
    (folder / "stop").touch()
    with pytest.raises(SpecError, match="a: bad") as caught:
        run()
    assert '"number":3' in caught.value.__notes__[0]
    assert finished_cases(folder, tmp_path / "out")[1] == 3


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("context.cases(power", "context.cases(lambda **case: 1", "<lambda> is not a function of run.py"),
        ('inputs=[HERE / "factor.txt"]', 'inputs=[HERE / "none.txt"]', "none.txt cannot be read: No such file"),
    ],
)
def test_bad_cases_are_refused_before_any_is_made(folder, run, old, new, message):
    assert old in RUN
    (folder / "run.py").write_text(RUN.replace(old, new))
    with pytest.raises(SpecError, match=message):
        run()
    assert made(folder) == [0] * 6


def test_a_script_that_changes_while_it_runs_is_refused(folder):
    script = Script.open(folder / "run.py")
    (folder / "run.py").write_text(RUN + "# other\n")
    with pytest.raises(SpecError, match=r"run\.py: has changed while its cases ran"):
        script.load()


def test_digests_are_of_names_and_contents(tmp_path):
    one, other = tmp_path / "a", tmp_path / "b"
    one.write_text("1")
    other.write_text("2")
    before = files_digest([one, other], tmp_path)
    assert files_digest([other, one], tmp_path) == before
    one.write_text("2")
    other.write_text("1")
    assert files_digest([one, other], tmp_path) != before
    assert code_digest() == code_digest.__wrapped__()


def test_lines_say_how_many_and_how_long(monkeypatch, capsys):
    monkeypatch.setattr(progress, "LINE_EVERY_S", 60.0)
    clock = iter(range(0, 1000, 40))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    assert list(progress.track(range(6), "powers", show="lines", done=2)) == list(range(6))
    assert capsys.readouterr().err == (
        "powers: 4 of 8 done, about 2 min 40 s left\n"
        "powers: 6 of 8 done, about 1 min 20 s left\n"
        "powers: 8 of 8 done, about 0 min 00 s left\n"
    )
