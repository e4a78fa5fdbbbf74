"""Wrong input: one line on standard error, exit code 2, no traceback, nothing half done."""

import os
import subprocess
import sys

import pytest

from tests.cli.conftest import SCENARIO


def refused(result):
    assert result.code == 2
    assert result.out == ""
    assert result.err.startswith("virtsim: error: ")
    assert result.err.count("\n") == 1
    return result.err


CASES = {
    "an unknown file": (("run", "nosuch.toml"), "nosuch.toml: the file cannot be read: No such file or directory"),
    "a folder": (("run", "."), "the file cannot be read: Is a directory"),
    "no file": (("run",), "Missing argument"),
    "an unknown command": (("frobnicate",), "No such command"),
    "an unknown option": (("run", "--frobnicate", "pair.toml"), "No such option"),
    "an unknown world": (("run", "pair.toml", "--in", "dream"), "dream"),
    "a negative seed": (("run", "pair.toml", "--seed", "-1"), "--seed"),
    "an unknown host": (("run", "pair.toml", "--host", "nosuch"), "no host is called 'nosuch'"),
    "a host with a path in its name": (("run", "pair.toml", "--host", "../../x"), "host"),
    "a folder that is not there": (("run", "pair.toml", "--json", "no/such/x.json"), "there is no folder no/such"),
    "a folder as output": (("run", "pair.toml", "--save", "."), "is a folder"),
    "runs that are none": (("trace", "pair.toml", "out.json"), "pair.toml"),
    "no runs": (("report", "nosuch.jsonl"), "the recorded runs cannot be read"),
    "an unknown event": (("explain", "frobnicate", "--stack", "native"), "no event is called 'frobnicate'"),
    "an unknown stack": (("explain", "null", "--stack", "../../x"), "no stack is called '../../x'"),
    "a size without a unit": (("explain", "read", "--stack", "native", "--size", "4"), "--size: '4' has no unit"),
    "an unknown mix": (
        ("overhead", "units-of-work/x", "--stack", "kvm", "--host", "epyc-guest-linux-6.18"),
        "no mix is called 'x'; known: arithmetic",
    ),
    "a stack that is none": (
        ("overhead", "null", "--stack", "kvm,", "--host", "epyc-guest-linux-6.18"),
        "no stack is called ''",
    ),
    "an unknown kind of card": (("models", "cars"), "there are no cards of the kind 'cars'"),
    "an unknown card": (("models", "hosts", "../../x"), "no card in hosts is called '../../x'"),
    "an unknown experiment": (("experiment", "run", "../../x"), "no experiment is called '../../x'"),
    "a setting without a value": (("sweep", "pair.toml", "--set", "guests.a"), "is not a setting"),
    "a path that leads nowhere": (("sweep", "pair.toml", "--set", "guests.c.cpu_weight=1"), "nothing here is called"),
    "a level out of range": (("sweep", "pair.toml", "--set", "guests.a.cpu_weight=0"), "guests[0].cpu_weight"),
    "a plot of nothing": (("sweep", "pair.toml", "--set", "duration=1s", "--plot", "x.png"), "--metric"),
    "two suites at once": (("validate", "literature", "--suite", "smoke"), "the suite was named 'literature' before"),
    "a paper without the literature": (("validate", "smoke", "--paper", "xen-2003"), "--paper: papers are compared"),
    "an unknown paper": (("validate", "literature", "--paper", "xen-2004"), "did you mean 'xen-2003'?"),
    "an unknown suite by itself": (("validate", "nosuch"), "no suite is called 'nosuch'"),
    "an unknown suite": (("validate", "--suite", "nosuch"), "no suite is called 'nosuch'"),
}


@pytest.mark.parametrize(("arguments", "message"), CASES.values(), ids=CASES)
def test_it_is_refused_in_one_line(call, scenario, tmp_path, arguments, message):
    before = sorted(tmp_path.iterdir())
    assert message in refused(call(*arguments))
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", ["../../x", "a/b", "a\\u0000b", "a\\nb", "", ".", "ü", "x" * 64])
def test_a_guest_is_not_called_that(call, scenario, name):
    scenario.write_text(SCENARIO.replace('name = "b"', f'name = "{name}"'))
    assert "guests[1].name" in refused(call("run", scenario))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"\xff\xfe", "is not UTF-8"),
        (b"guests = [", "not TOML"),
        (b"a = 1\nb = ]", "line 2"),
        (b"", "guests: the field is required"),
        (SCENARIO.replace('"50ms"', "50").encode(), "duration: expected text with a unit"),
        (SCENARIO.replace("cpu_weight", "cpu_wieght").encode(), "guests[0].cpu_wieght: there is no such field"),
        (SCENARIO.replace('"0"', '"99"').encode(), "has no CPU 99"),
    ],
    ids=["bytes", "cut", "line", "empty", "unit", "spelling", "cpu"],
)
def test_a_bad_file_is_refused_with_its_place(call, scenario, text, message):
    scenario.write_bytes(text)
    assert message in refused(call("run", scenario))


def test_what_cannot_be_observed_is_refused_before_anything_is_run(call, scenario):
    scenario.write_text(SCENARIO.replace('name = "b"', 'name = "b"\nstack = "kvm"'))
    assert "can only be simulated" in refused(call("run", scenario, "--in", "real"))


def test_a_file_that_cannot_be_written_is_refused(call, scenario, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root writes everywhere")
    (tmp_path / "locked").mkdir(mode=0o500)
    assert "is not writable" in refused(call("run", scenario, "--save", "locked/x.jsonl"))


def run_python(code, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env={**os.environ, **environment}
    )


def test_without_the_extra_it_says_what_to_install():
    code = "import sys; sys.modules['typer'] = None; import runpy; runpy.run_module('virtsim', run_name='__main__')"
    result = run_python(code)
    assert result.returncode == 2
    expected = "virtsim: error: the command line needs the package 'typer'; run: pip install 'virtsim[cli]'\n"
    assert (result.stdout, result.stderr) == ("", expected)


def test_an_interrupt_ends_it_with_a_line(scenario):
    """The interrupt comes while the model runs."""
    code = (
        "import sys, virtsim.machine as machine\n"
        "def interrupted(*arguments, **options): raise KeyboardInterrupt\n"
        "machine.simulate = interrupted\n"
        "from virtsim.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    result = run_python(code, "run", str(scenario))
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "virtsim: interrupted\n")


def test_a_reader_that_goes_away_is_no_traceback(scenario):
    command = f"{sys.executable} -m virtsim models hosts epyc-guest-linux-6.18 | true"
    result = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert "Traceback" not in result.stderr
