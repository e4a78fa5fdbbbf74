"""A parameter is data: value, unit, interval, source, date."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from virtsim.core.errors import SpecError
from virtsim.core.spec import Text

Number = float


class Parameter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A number with its provenance.

    Parameters
    ----------
    value : float or None
        The best estimate. ``None`` means *unknown*, and ``source`` says why.
    unit : str
        Unit of ``value``, ``low`` and ``high``.
    low, high : float, optional
        90 % interval of the value. Absent only for values that are exact or assumed.
    source : str
        Publication with table or section, ``"fit: <method>"``, or ``"assumed: <reason>"``.
    date : str
        When it was measured or published, ISO 8601 (a year is enough).
    status : str
        ``measured``, ``published``, ``assumed``, ``exact`` or ``unknown``.
    """

    value: Number | None
    unit: Text
    source: Text
    date: Annotated[str, Meta(pattern=r"^\d{4}(-\d{2}(-\d{2})?)?$")]
    low: Number | None = None
    high: Number | None = None
    status: Literal["measured", "published", "assumed", "exact", "unknown"] = "measured"

    def __post_init__(self) -> None:
        if (self.value is None) != (self.status == "unknown"):
            raise ValueError("a parameter has no value exactly when its status is 'unknown'")
        if (self.low is None) != (self.high is None):
            raise ValueError("give both low and high, or neither")
        bounded = self.low is not None and self.high is not None and self.value is not None
        if bounded and not self.low <= self.value <= self.high:  # type: ignore[operator]
            raise ValueError(f"the interval [{self.low}, {self.high}] does not hold the value {self.value}")
        for name in ("value", "low", "high"):
            number = getattr(self, name)
            if number is not None and not -1e300 < number < 1e300:
                raise ValueError(f"{name} is not a finite number")

    def known(self, path: str) -> float:
        """The value, or an error that says where it is missing and why."""
        if self.value is None:
            raise SpecError(
                path, f"the value is unknown ({self.source}); calibrate the host or give a card that has it"
            )
        return self.value

    def at(self, value: float) -> Parameter:
        """The same parameter with another value and no interval, marked as assumed."""
        return Parameter(value=value, unit=self.unit, source=self.source, date=self.date, status="assumed")

    @property
    def interval(self) -> tuple[float, float]:
        """``(low, high)``; the value twice where no interval is stated."""
        if self.low is None or self.high is None:
            value = self.known("parameter")
            return value, value
        return self.low, self.high

    def _repr_html_(self) -> str:
        value = "unknown" if self.value is None else f"{self.value:.6g}"
        interval = "" if self.low is None else f" [{self.low:.6g}, {self.high:.6g}]"
        return f"<b>{value}</b>{interval} {self.unit} <i>({self.status}; {self.source}, {self.date})</i>"
