import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtsim.core.errors import SpecError
from virtsim.core.parameter import Parameter
from virtsim.core.spec import decode_json, encode_json, from_builtins

GOOD = {"value": 2.0, "unit": "ns", "low": 1.0, "high": 3.0, "source": "fit: least squares", "date": "2024-05-01"}
FINITE = st.floats(-1e12, 1e12)


@given(FINITE, st.floats(0, 1e6), st.floats(0, 1e6))
def test_a_parameter_survives_json(value, below, above):
    parameter = Parameter(value=value, unit="ns", low=value - below, high=value + above, source="x", date="2024")
    assert decode_json(encode_json(parameter), Parameter) == parameter


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"value": 9.0}, "does not hold the value"),
        ({"low": None}, "both low and high"),
        ({"value": None}, "no value exactly when"),
        ({"status": "unknown"}, "no value exactly when"),
        ({"value": float("nan"), "low": None, "high": None}, "not a finite number"),
        ({"value": float("inf"), "low": None, "high": None}, "not a finite number"),
        ({"high": float("inf")}, "not a finite number"),
        ({"date": "yesterday"}, "date"),
        ({"source": ""}, "source"),
        ({"unit": ""}, "unit"),
        ({"colour": "red"}, "colour"),
        ({"status": "guessed"}, "status"),
        ({"value": "2"}, "value"),
    ],
)
def test_bad_parameters_are_refused(change, reason):
    data = {key: value for key, value in {**GOOD, **change}.items() if value is not None or key == "value"}
    with pytest.raises(SpecError, match=reason) as caught:
        from_builtins(data, Parameter, "card.toml")
    assert str(caught.value).startswith("card.toml: ")


def test_an_unknown_value_says_why():
    parameter = Parameter(value=None, unit="ns", source="not identifiable", date="2024", status="unknown")
    with pytest.raises(SpecError, match=r"prices\.exit: the value is unknown \(not identifiable\)"):
        parameter.known("prices.exit")
    assert "unknown" in parameter._repr_html_()


def test_interval_and_html():
    assert from_builtins(GOOD, Parameter).interval == (1.0, 3.0)
    exact = Parameter(value=5.0, unit="ns", source="definition", date="2024", status="exact")
    assert exact.interval == (5.0, 5.0)
    assert exact.known("x") == 5.0
    assert "[1, 3] ns" in from_builtins(GOOD, Parameter)._repr_html_()
