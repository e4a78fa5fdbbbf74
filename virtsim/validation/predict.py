"""A prediction with an interval: replications of the model, each on a host drawn from the card's intervals.

What makes one run differ from the next is in three places, and each replication draws all of them: the
streams of the scenario (random work, phases of ticks and periods, timers), the prices (their intervals
are those of a single run on the calibrated machine), and the share of the CPU that others take. What no
repetition shows is drawn as well: how far the kernel's prices err on work they were not measured on.
"""

from __future__ import annotations

import msgspec

from virtsim.calibration.card import Z_90
from virtsim.core.parameter import Parameter
from virtsim.core.streams import Streams
from virtsim.machine import simulate
from virtsim.platform.host import HostCard, load_host
from virtsim.results.run import Run
from virtsim.scenario.scenario import Scenario


def predict(
    scenario: Scenario, *, n: int = 20, seed: int = 0, host: HostCard | None = None, timeline: bool = False
) -> list[Run]:
    """Replicate a scenario in the model with all that is uncertain drawn anew.

    Parameters
    ----------
    scenario : Scenario
    n : int
        Replications; the first runs on the card's best values.
    seed : int
        Root seed; programs draw the same in every replication, as repeated real runs do.
    host : HostCard, optional
        The card that the scenario names if absent.
    timeline : bool
        Keep the first replication's slices.
    """
    card = host if host is not None else load_host(scenario.host)
    runs = []
    for replication in range(n):
        drawn = card if replication == 0 else drawn_card(card, Streams(seed, replication))
        run = simulate(scenario, seed=seed, host=drawn, phases=replication, timeline=timeline and replication == 0)
        runs.append(run)
    return runs


def drawn_card(card: HostCard, streams: Streams) -> HostCard:
    """The card with every price and delay drawn from its interval (a normal with two half-widths).

    What makes a run slow (neighbours in the caches, the clock) makes all of the kernel's work slow, so its
    prices are drawn together; user code and each delay by themselves.
    """
    kernel, user = (_normal(streams, purpose) for purpose in ("kernel", "compute"))
    carried = 1.0
    if card.discrepancy is not None:
        carried += _normal(streams, "discrepancy") / Z_90 * card.discrepancy.interval[1]
    prices = {
        name: _draw(price, user) if name == "compute" else _draw(price, kernel, carried)
        for name, price in card.prices.items()
    }
    delays = {
        name: _draw(delay, _normal(streams, name))
        for name in card.timing.__struct_fields__
        if isinstance(delay := getattr(card.timing, name), Parameter)
    }
    return card.replace(prices=prices, timing=card.timing.replace(**delays))


def _normal(streams: Streams, purpose: str) -> float:
    return float(streams.generator("host card", purpose).standard_normal())


def _draw(parameter: Parameter, z: float, factor: float = 1.0) -> Parameter:
    """The parameter at ``z`` standard deviations, times ``factor``; assumed ones stay."""
    if parameter.value is None or parameter.low is None or parameter.high is None or parameter.status == "assumed":
        return parameter
    width = (parameter.high - parameter.value) if z > 0 else (parameter.value - parameter.low)
    value = max(0.0, factor * (parameter.value + z / Z_90 * width))
    return msgspec.structs.replace(
        parameter, value=value, low=min(value, parameter.low), high=max(value, parameter.high)
    )
