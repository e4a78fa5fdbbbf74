"""Malformed files: each is accepted or refused with one line that names file and field; nothing else happens."""

import contextlib
import copy
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.properties.scenario_documents import JUNK, documents, spoilt_documents, spoilt_files, spots
from virtsim.core.errors import SpecError
from virtsim.core.spec import dump_toml, load_toml, read_toml
from virtsim.platform.host import HostCard
from virtsim.platform.stack import Stack, StackCard
from virtsim.scenario.scenario import Scenario

MANY = settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
CARDS = Path(__file__).parents[2] / "models"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


def check_refusal(problem, path):
    """One printable line: the file, then where, then why."""
    text = str(problem)
    assert text.startswith(f"{path}: ")
    assert text.isprintable()
    assert len(text) < 1500
    assert len(text) > len(f"{path}: ") + 10


@settings(MANY, max_examples=150)
@given(documents())
def test_valid_documents_are_accepted_and_survive(folder, document):
    scenario = Scenario.from_builtins(document)
    path = folder / "valid.toml"
    scenario.save(path)
    back = Scenario.load(path)
    assert back == scenario
    assert back.digest == scenario.digest
    assert scenario.checked() == scenario


@MANY
@given(spoilt_files(spoilt_documents()))
def test_500_malformed_scenario_files(folder, data):
    path = folder / "scenario.toml"
    path.write_bytes(data)
    try:
        scenario = Scenario.load(path)
    except SpecError as problem:
        check_refusal(problem, path)
    else:
        assert Scenario.from_builtins(scenario.to_builtins()) == scenario
        for thing in [*scenario.guests, *scenario.groups, *(t for g in scenario.guests for t in g.workload.tasks)]:
            assert SAFE_NAME.fullmatch(thing.name)
    assert [entry.name for entry in folder.iterdir() if entry.name != "valid.toml"] == ["scenario.toml"]


@pytest.mark.parametrize(
    "name",
    [
        "../../x",
        "..",
        ".",
        "a/b",
        "/",
        "a\0b",
        "a\n",
        "\n",
        "a b",
        "",
        "-a",
        "a" * 64,
        "ä",
        "a\\b",
        "a:b",
        "~",
        ".hidden",
    ],
)
@pytest.mark.parametrize("where", ["guests[0].name", "groups[0].name", "name", "host", "guests[0].stack", "task"])
def test_names_that_could_be_paths_are_refused(name, where):
    task = {"name": "t", "program": [{"op": "exit"}]}
    document = {
        "duration": "1s",
        "groups": [{"name": "g"}],
        "guests": [{"name": "a", "workload": {"tasks": [task]}}],
    }
    if where == "task":
        task["name"], where = name, "guests[0].workload.tasks[0].name"
    elif where.startswith(("guests", "groups")):
        document[where[:6]][0][where.rpartition(".")[2]] = name
    else:
        document[where] = name
    with pytest.raises(SpecError) as caught:
        Scenario.from_builtins(document, "x.toml")
    assert caught.value.path == f"x.toml: {where}"
    assert caught.value.reason.startswith("expected a name: 1 to 63 letters")


def spoilt_cards(folder):
    """Shipped cards with one to three changes."""
    cards = [read_toml(path) for path in sorted((CARDS / folder).glob("*.toml"))]
    assert cards

    @st.composite
    def spoil(draw):
        card = copy.deepcopy(draw(st.sampled_from(cards)))
        for _ in range(draw(st.integers(1, 3))):
            places = spots(card)
            if not places:
                break
            node, key = places[draw(st.integers(0, len(places) - 1))]
            action = draw(st.sampled_from(["replace", "delete", "add"]))
            if action == "replace":
                node[key] = draw(JUNK)
            elif action == "delete":
                del node[key]
            elif isinstance(node, dict):
                node[draw(st.sampled_from(["extra", "", "\n", "valeu", "name"]))] = draw(JUNK)
        return card

    return spoilt_files(spoil())


@settings(MANY, max_examples=250)
@given(spoilt_cards("hosts"))
def test_malformed_host_cards(folder, data):
    path = folder / "scenario.toml"
    path.write_bytes(data)
    try:
        card = load_toml(path, HostCard)
    except SpecError as problem:
        check_refusal(problem, path)
    else:
        path.write_text(dump_toml(card), encoding="utf-8")
        assert load_toml(path, HostCard) == card


@settings(MANY, max_examples=250)
@given(spoilt_cards("stacks"))
def test_malformed_stack_cards(folder, data):
    path = folder / "scenario.toml"
    path.write_bytes(data)
    try:
        card = load_toml(path, StackCard)
    except SpecError as problem:
        check_refusal(problem, path)
        return
    with contextlib.suppress(SpecError):
        Stack(card)
