"""Power of a server against its load: cards of eleven measured points, and the exact arithmetic on them.

References
----------
SPECpower_ssj2008 results of the servers named in ``models/power``: watts at 0, 10, ..., 100 % load.
L. A. Barroso, U. Hölzle, "The case for energy-proportional computing", IEEE Computer 40(12), 2007.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from virtsim.core.data import card_names, find_card
from virtsim.core.errors import ModelError, SpecError
from virtsim.core.parameter import Parameter
from virtsim.core.spec import Duration, Spec, load_toml

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Watts = Annotated[float, Meta(ge=0, le=1e5)]


class PowerCard(Spec, frozen=True, kw_only=True):
    """What a server draws from the wall.

    Parameters
    ----------
    name, description, source : str
        Which server, and where the points come from.
    date : str
        Year of the measurement.
    watts : list of float, W
        Power at 0, 10, ..., 100 % load; between the points it is linear.
    asleep, off : Parameter, W
        Power in the sleep state and switched off.
    boot, resume, suspend, shutdown : Duration
        How long the state changes take; the server draws its full-load power while it boots or resumes and
        its idle power while it suspends or shuts down.
    """

    name: str
    description: str
    source: str
    date: str
    watts: Annotated[list[Watts], Meta(min_length=11, max_length=11)]
    asleep: Parameter
    off: Parameter
    boot: Duration
    resume: Duration
    suspend: Duration
    shutdown: Duration
    delays_source: str

    def _check(self) -> None:
        if any(low > high for low, high in zip(self.watts, self.watts[1:])):
            raise SpecError("watts", "power must not fall as the load grows")
        if not self.watts[-1] > 0:
            raise SpecError("watts", "a server at full load draws more than 0 W")

    @property
    def idle_watts(self) -> float:
        """Power of the server when it is on and has nothing to do, W."""
        return float(self.watts[0])

    @property
    def peak_watts(self) -> float:
        """Power at full load, W."""
        return float(self.watts[-1])

    def watts_at(self, utilisation: float) -> float:
        """Power at a load between 0 and 1, W: linear between the card's points.

        Raises
        ------
        ModelError
            If the load is not within [0, 1].
        """
        if not 0 <= utilisation <= 1:
            raise ModelError(f"power card {self.name!r}: a load of {utilisation!r} is outside 0 to 1")
        return interpolate(self.watts, utilisation)

    def curve(self) -> NDArray[np.float64]:
        """The eleven points as an array, W."""
        import numpy as np

        return np.array(self.watts, dtype=float)


def interpolate(watts: list[float], utilisation: float) -> float:
    """Piecewise linear power, in the order of operations that the reference simulator has (its ties depend on it)."""
    tenths = utilisation * 10
    low, high = math.floor(tenths), math.ceil(tenths)
    return watts[low] + (watts[high] - watts[low]) / 10 * (utilisation - low / 10) * 100


@cache
def load_power(name: str) -> PowerCard:
    """The card called ``name`` in the user's folder or ``models/power``.

    Raises
    ------
    SpecError
        If there is none; the message lists the known ones.
    """
    return load_toml(find_card("power", name, "power card"), PowerCard)


def power_cards() -> list[str]:
    """Names of all power cards."""
    return card_names("power")
