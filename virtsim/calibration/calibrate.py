"""Calibrate the host card of this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from virtsim.calibration.card import machine_card, with_fit
from virtsim.calibration.cold import measure_cold
from virtsim.calibration.fit import Fit, Row, fit
from virtsim.calibration.measure import Samples, measure
from virtsim.calibration.plan import Micro, micro_workloads
from virtsim.calibration.timing import idle_answer_ns, measure_timers
from virtsim.core.files import write_whole
from virtsim.core.spec import dump_toml
from virtsim.platform.host import HostCard, reference_card, this_card
from virtsim.platform.primitives import PRIMITIVES

#: Rounds of all micro-workloads, and of the timers, quick and full.
ROUNDS = {True: (4, 3), False: (15, 10)}
#: Priced from the ping-pong across CPUs although no operation of its own shows it.
CROSSING = "ipi_send"

Progress = Callable[[Iterable[int], str], Iterable[int]]


@dataclass
class Calibration:
    """What a calibration found.

    Attributes
    ----------
    card : HostCard
        The host card ``this``.
    fit : Fit
        Prices, what stayed unknown, and residuals.
    samples : dict of str to Samples
        The measurements by micro-workload.
    path : Path or None
        Where the card was written.
    """

    card: HostCard
    fit: Fit
    samples: dict[str, Samples]
    path: Path | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def median_residual(self) -> float:
        """Median of the rows' relative errors, without sign."""
        errors = sorted(abs(error) for error in self.fit.residuals.values())
        return errors[len(errors) // 2]

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{name}</td><td>{price.value:.4g}</td><td>{price.low:.4g} to {price.high:.4g}</td>"
            f"<td>{PRIMITIVES[name].unit}</td></tr>"
            for name, price in self.fit.prices.items()
        )
        head = "<tr><th>primitive</th><th>price</th><th>90 % interval</th><th>unit</th></tr>"
        return f"<b>{self.card.description}</b><table>{head}{rows}</table>"


def calibrate(
    *,
    quick: bool = False,
    out: Path | str | None = None,
    save: bool = True,
    progress: Progress | None = None,
) -> Calibration:
    """Measure this machine and write its host card.

    Parameters
    ----------
    quick : bool
        Fewer rounds: under a minute instead of under five, with wider intervals.
    out : path, optional
        Where to write the card; the user's config folder if absent, where ``host = "this"`` finds it.
    save : bool
        Whether to write it at all.
    progress : callable, optional
        Wraps an iterable with a label, as tqdm does.

    Returns
    -------
    Calibration

    Raises
    ------
    BackendUnavailable
        If this machine cannot observe containers; says what is missing.
    CalibrationError
        If a measurement did not finish.
    """
    start = machine_card(reference_card())
    rounds, timer_rounds = ROUNDS[quick]
    plan = micro_workloads(start)
    samples = measure(plan, rounds, progress)
    fitted = fit(_rows(plan, samples), _wanted(start), _known(start))
    priced = with_fit(start, fitted)
    cold = measure_cold(priced, timer_rounds)
    priced = priced.replace(timing=priced.timing.replace(cold=cold))
    latency = measure_timers(priced, timer_rounds, lambda: None)
    crossing = next((micro for micro in plan if micro.name.endswith("two-cpus")), None)
    answers = idle_answer_ns(priced, crossing, samples[crossing.name].wall_ns) if crossing is not None else []
    deviations = [value for collected in samples.values() for value in collected.deviations()]
    rounds_ns = [value for collected in samples.values() for value in collected.round_ns]
    card = with_fit(priced, fitted, latency, answers, _foreign_shares(plan, samples), deviations, rounds_ns)
    found = Calibration(card, fitted, samples, warnings=_warnings(fitted, samples))
    if save:
        found.path = Path(out) if out is not None else this_card()
        found.path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(found.path, dump_toml(card).encode())
    return found


def _rows(plan: list[Micro], samples: dict[str, Samples]) -> list[Row]:
    rows = []
    for micro in plan:
        found = samples[micro.name]
        rows.append(Row(micro.name, micro.counted(median(found.waits), median(found.switches)), found.cpu_ns))
    return rows


def _foreign_shares(plan: list[Micro], samples: dict[str, Samples]) -> list[float]:
    """What others took of the CPU in each run of a task that never waits."""
    return [lost for micro in plan if micro.never_waits for lost in samples[micro.name].lost]


def _wanted(card: HostCard) -> list[str]:
    wanted = [name for name, primitive in PRIMITIVES.items() if primitive.measured_by]
    return wanted + ([CROSSING] if card.topology.cpus > 1 else [])


def _known(card: HostCard) -> dict[str, float]:
    return {name: parameter.value for name, parameter in card.prices.items() if parameter.value is not None}


def _warnings(fitted: Fit, samples: dict[str, Samples]) -> list[str]:
    found = [f"{name}: unknown, {reason}" for name, reason in fitted.unknown.items()]
    for name, collected in samples.items():
        if collected.spread > 0.10:
            found.append(f"{name}: runs differ by {collected.spread:.0%}; the machine is noisy")
    for name, error in fitted.residuals.items():
        if abs(error) > 0.05:
            found.append(f"{name}: the fit misses it by {error:+.0%}")
    return found
