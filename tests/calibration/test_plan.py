"""The plan of micro-workloads: its rows are the expansion's, and it can tell the prices apart."""

from __future__ import annotations

from virtsim.calibration.fit import Row, fit
from virtsim.calibration.plan import PREFIX, micro_workloads
from virtsim.machine import simulate
from virtsim.platform.host import reference_card
from virtsim.platform.primitives import PRIMITIVES

CARD = reference_card()
PLAN = micro_workloads(CARD)


def test_all_names_are_marked_and_differ():
    names = [micro.scenario.name for micro in PLAN]
    assert len(set(names)) == len(names)
    assert all(name.startswith(PREFIX) for name in names)


def test_every_price_that_is_said_to_be_measurable_is_identified():
    """Simulated measurements on a known card give the card's own prices back."""
    totals = {micro.name: micro.counted(waits=1.2, switches=2.0) for micro in PLAN}
    made = [Row(name, counts, [_cost(counts)]) for name, counts in totals.items()]
    wanted = [name for name, primitive in PRIMITIVES.items() if primitive.measured_by]
    known = {name: price.value for name, price in CARD.prices.items() if price.value is not None}
    found = fit(made, wanted, known, resamples=2)
    assert set(found.unknown) <= {"clock_read", "futex_wake_service", "futex_wait_service"}
    for name, price in found.prices.items():
        assert abs(price.value - CARD.price(name)) <= 0.02 * CARD.price(name) + 0.5


def _cost(totals):
    return sum(count * CARD.price(name) for name, count in totals.items())


def test_the_machine_charges_what_the_row_says():
    """Model and design matrix are one: a simulated micro-workload costs its row, to rounding."""
    for micro in PLAN:
        if micro.name.endswith("two-cpus") or micro.name in ("sleep", "exec", "fork"):
            continue
        run = simulate(micro.scenario, host=CARD)
        cost = sum(task.cpu_time_ns for task in run.tasks) / micro.repetitions
        waits, forced = (
            sum(getattr(task, f"{kind}_switches") for task in run.tasks) / micro.repetitions
            for kind in ("voluntary", "involuntary")
        )
        once = CARD.price("runner_step") + 3_000  # the loop's own step, and the first switch
        row = _cost(micro.counted(waits, waits + forced))
        assert abs(cost - row) <= 1 + once / micro.repetitions + 0.001 * cost, micro.name
