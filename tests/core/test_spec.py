"""Strict data: what is accepted, in both forms, and what errors say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtsim.core import spec as spec_module
from virtsim.core.errors import SpecError
from virtsim.core.spec import (
    CpuMax,
    CpuSet,
    Duration,
    Frequency,
    Rate,
    Size,
    Spec,
    decode_json,
    dump_toml,
    encode_json,
    from_builtins,
    load_toml,
    read_toml,
)


class Part(Spec, frozen=True, kw_only=True):
    wait: Duration
    size: Size = Size(0)


class Whole(Spec, frozen=True, kw_only=True):
    parts: list[Part]
    rate: Rate | None = None
    clock: Frequency | None = None
    cpu: CpuMax | None = None
    cpus: CpuSet | None = None
    notes: dict[str, int] = {}

    def _check(self) -> None:
        if len(self.parts) > 3:
            raise SpecError("parts", "at most 3")


WHOLES = st.builds(
    Whole,
    parts=st.lists(
        st.builds(Part, wait=st.integers(0, 2**62).map(Duration), size=st.integers(0, 2**62).map(Size)), max_size=3
    ),
    rate=st.none() | st.floats(1e-6, 1e9).map(Rate),
    clock=st.none() | st.integers(0, 10**11).map(Frequency),
    cpu=st.none() | st.builds(CpuMax, st.integers(1000, 10**6).map(lambda us: us * 1000), st.just(10**8)),
    cpus=st.none() | st.sets(st.integers(0, 200), min_size=1).map(CpuSet),
    notes=st.dictionaries(st.text(max_size=5), st.integers(-(2**62), 2**62), max_size=3),
)


@given(WHOLES)
def test_specs_survive_builtins_json_and_toml(tmp_path_factory, whole):
    assert Whole.from_builtins(whole.to_builtins()) == whole
    assert decode_json(encode_json(whole), Whole) == whole
    path = tmp_path_factory.getbasetemp() / "whole.toml"
    path.write_bytes(dump_toml(whole).encode())
    assert load_toml(path, Whole) == whole


def test_python_and_text_forms_are_equal():
    text = Whole(parts=[Part(wait="2ms", size="4KiB")], cpu="30%", cpus="0,2-3", rate="8/s", clock="2GHz")
    number = Whole(
        parts=[Part(wait=2_000_000, size=4096)],
        cpu=CpuMax(30_000_000, 10**8),
        cpus=CpuSet([3, 0, 2]),
        rate=8,
        clock=2 * 10**9,
    )
    assert text == number
    assert type(text.parts[0].wait) is Duration
    assert encode_json(text) == encode_json(number)
    assert hash(text.cpu) == hash(number.cpu)
    assert (str(text.cpus), list(text.cpus), len(text.cpus)) == ("0,2-3", [0, 2, 3], 3)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"parts": [{"wait": "2 parsecs"}]}, "f.toml: parts[0].wait: '2 parsecs' has the unknown unit 'parsecs'"),
        ({"parts": [{"wait": 2}]}, "f.toml: parts[0].wait: expected text with a unit, got int"),
        ({"parts": [{}]}, "f.toml: parts[0].wait: the field is required"),
        ({"parts": [{"wait": "1s", "wiat": 1}]}, "f.toml: parts[0].wiat: there is no such field"),
        ({}, "f.toml: parts: the field is required"),
        ({"parts": {}}, "f.toml: parts: Expected `array`, got `object`"),
        ([], "f.toml: document: Expected `object`, got `array`"),
        ({"parts": [{"wait": "1s"}] * 4}, "f.toml: parts: at most 3"),
        ({"parts": [], "notes": {"a": "b"}}, "f.toml: notes.a: Expected `int`, got `str`"),
        ({"parts": [], "cpu": "5"}, "f.toml: cpu: '5' is not a CPU bandwidth"),
        ({"parts": [], "": 1}, "f.toml: '': there is no such field"),
        ({"parts": [], "x\ny\x1b": 1}, "f.toml: x\\x0ay\\x1b: there is no such field"),
    ],
)
def test_errors_name_file_field_and_reason(data, message):
    with pytest.raises(SpecError) as caught:
        from_builtins(data, Whole, "f.toml")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_deep_documents_are_refused():
    data: object = 1
    for _ in range(5000):
        data = [data]
    with pytest.raises(SpecError, match="nested deeper"):
        from_builtins({"parts": data}, Whole, "f.toml")


def test_bad_quantities_in_python_name_their_field():
    with pytest.raises(SpecError, match=r"^wait: 'x' is not a duration"):
        Part(wait="x")
    with pytest.raises(SpecError, match=r"^cpus: "):
        Whole(parts=[], cpus=5)


def test_specs_are_frozen_and_replaceable():
    part = Part(wait="1s")
    with pytest.raises(AttributeError):
        part.wait = 5
    assert part.replace(size=Size(7)).size == 7


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff\xfe", "not UTF-8 text (byte 0)"),
        (b"a = ", "not TOML"),
        (b"a = 1\na = 2", "not TOML"),
        (b"a = " + b"[" * 5000, "not TOML"),
        (b"a = " + b"9" * 5000, "not TOML"),
        (b"parts = []\n\x00", "not TOML"),
        (b"parts = [\n{wait = 2020-01-01}\n]", "parts[0].wait: expected text with a unit, got date"),
    ],
)
def test_files_that_are_no_specs(tmp_path, content, reason):
    path = tmp_path / "f.toml"
    path.write_bytes(content)
    with pytest.raises(SpecError) as caught:
        load_toml(path, Whole)
    assert str(caught.value).startswith(f"{path}: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path, monkeypatch):
    with pytest.raises(SpecError, match="cannot be read"):
        read_toml(tmp_path / "none.toml")
    with pytest.raises(SpecError, match="cannot be read"):
        read_toml(tmp_path)
    with pytest.raises(SpecError, match="cannot be read"):
        read_toml("a\0b")
    monkeypatch.setattr(spec_module, "MAX_FILE_BYTES", 10)
    (tmp_path / "big.toml").write_text("a = 1\n" * 10)
    with pytest.raises(SpecError, match="larger than"):
        read_toml(tmp_path / "big.toml")


@pytest.mark.parametrize("data", ["{", '{"parts": [}', "nul", '{"parts": []} x', b"\xff", '{"parts": "\\ud800"}'])
def test_json_that_is_none(data):
    with pytest.raises(SpecError, match=r"^f\.json: ") as caught:
        decode_json(data, Whole, "f.json")
    assert "\n" not in str(caught.value)


def test_long_junk_is_cut_from_messages():
    with pytest.raises(SpecError) as caught:
        from_builtins({"parts": [], "x" * 10_000: 1}, Whole, "f")
    assert len(str(caught.value)) < 1200
